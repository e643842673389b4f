//! Is a request served in 0-RTT where `early_data` is on, and is the upstream told (`Early-Data`, RFC 8470)?

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
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
fn zero_rtt_requests_are_served_and_marked() -> Result<()> {
    let lab = Lab::new().config(|config| config.listener_keys = "early_data = true\n".into()).start()?;
    // A request whose handshake is complete by the time it is served is early no more: on a busy
    // machine that happens, but not each time.
    let mut told = 0;
    let mut rounds = 0;
    while told == 0 && rounds < 10 {
        let summary = ask(&lab)?;
        assert_eq!((summary.resumed, summary.zero_rtt), (3, 3), "all but the first: {summary:?}");
        let times = |said: &str| summary.bodies.get(said).copied().unwrap_or(0);
        told += times("1");
        assert_eq!(times("1") + times("none"), 4, "{:?}", summary.bodies);
        ensure!(times("none") >= 1, "the first one was not early: {:?}", summary.bodies);
        rounds += 1;
    }
    ensure!(told > 0, "no server was told in {rounds} rounds");
    let totals = lab.control().status()?.totals;
    assert_eq!((totals.accepted, totals.handshakes_failed, totals.handshakes_now), (4 * rounds, 0, 0));
    // What is not safe waits for the handshake, and no server is told then.
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

/// Clients send 0-RTT by the limits that they remember. Under lower ones it is refused, and the request
/// comes when the handshake is complete: cloudflare/quiche#2627, aws/s2n-quic#3195.
#[test]
fn zero_rtt_under_lower_limits_is_refused_and_served_later() -> Result<()> {
    let mut lab = Lab::new().config(|config| config.listener_keys = "early_data = true\n".into()).start()?;
    let clients = lab
        .quic_go()
        .get("/field/early-data")
        .holding(Duration::from_secs(3))
        .connections(4)
        .at_once(1)
        .requests(1)
        .flag("resume")
        .start()?;
    lab.await_accepted(&clients, 2)?;
    lab.reload(|config| {
        config.set_limit("max_header_bytes", "8192");
        config.rest += "\n[transport]\nmax_streams = 10\nstream_window = 20_000\nconnection_window = 40_000\n";
    })?;
    let summary = clients.succeed()?;
    // The second one under the old limits, the fourth under the new ones.
    assert_eq!((summary.connections_ok, summary.requests_ok, summary.zero_rtt), (4, 4, 2), "{summary:?}");
    Ok(())
}

#[test]
fn zero_rtt_is_refused_where_early_data_is_off() -> Result<()> {
    let lab = Lab::new().start()?;
    let summary = ask(&lab)?;
    assert_eq!((summary.resumed, summary.zero_rtt), (3, 0), "{summary:?}");
    assert_eq!(summary.bodies, BTreeMap::from([("none".to_owned(), 4)]));
    Ok(())
}
