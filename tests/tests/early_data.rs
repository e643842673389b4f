//! Is a request served in 0-RTT, and does the server behind know?

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use router_tests::lab::{Lab, Running, peers::Summary};

/// One after another, each with the session of the one before: a session is good for one, and the
/// next one's comes when the handshake is complete.
fn ask(lab: &Running) -> Result<Summary> {
    lab.quic_go()
        .get("/field/early-data")
        .holding(Duration::from_millis(200))
        .connections(4)
        .at_once(1)
        .requests(1)
        .flag("resume")
        .flag("bodies")
        .succeed()
}

#[test]
fn where_it_is_on() -> Result<()> {
    let lab = Lab::new().config(|config| config.listener_keys = "early_data = true\n".into()).start()?;
    let summary = ask(&lab)?;
    assert_eq!((summary.resumed, summary.zero_rtt), (3, 3), "all but the first: {summary:?}");
    // The first one was not early, and the server behind is told so of the others.
    assert_eq!(summary.bodies, BTreeMap::from([("1".to_owned(), 3), ("none".to_owned(), 1)]));
    let totals = lab.control().status()?.totals;
    assert_eq!((totals.accepted, totals.handshakes_failed, totals.handshakes_now), (4, 0, 0));
    // What is not safe waits for the handshake, and nobody is told then.
    let posts = lab
        .quic_go()
        .post("/echo", 1_000)
        .holding(Duration::from_millis(200))
        .connections(4)
        .at_once(1)
        .requests(1)
        .flag("resume");
    assert_eq!(posts.succeed()?.requests_ok, 4);
    // After a reload they still are known; another process knows none of them.
    lab.control().reload()?;
    assert_eq!(ask(&lab)?.zero_rtt, 3);
    lab.agent()?.upgrade(None)?;
    assert_eq!(ask(&lab)?.zero_rtt, 3, "its own");
    Ok(())
}

#[test]
fn where_it_is_off() -> Result<()> {
    let lab = Lab::new().start()?;
    let summary = ask(&lab)?;
    assert_eq!((summary.resumed, summary.zero_rtt), (3, 0), "{summary:?}");
    assert_eq!(summary.bodies, BTreeMap::from([("none".to_owned(), 4)]));
    Ok(())
}
