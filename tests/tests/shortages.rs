//! Does a node that has run out of descriptors say so once, blame no server, and go on when it has some again?

use std::net::TcpStream;

use anyhow::Result;
use router_tests::lab::{Lab, PORT, Running, until};

/// Connections that ask nothing take all descriptors. What had been seen: servers ejected for it, the control
/// socket dead, a gigabyte of log in half a minute.
#[test]
fn of_descriptors() -> Result<()> {
    let lab = Lab::new().workers(2).limit("max_connections_per_ip", "10_000").config(|config| {
        config.listener_keys = "tcp = true\n".into();
        config.under = ["prlimit", &format!("--nofile={DESCRIPTORS}"), "--"].map(Into::into).into();
    });
    let lab = lab.start()?;
    let router = lab.wire().router(PORT);
    let greedy = lab
        .wire()
        .namespace()
        .enter(|| Ok((0..2 * DESCRIPTORS).map_while(|_| TcpStream::connect(router).ok()).collect::<Vec<_>>()))?;
    until(|| Ok(lab.home().log().matches(SAID).count()), |&said| said > 0)?;
    // No server can be reached for want of descriptors: that is no failure of theirs.
    let refused = lab.quic_go().get("/bytes/1000").connections(3).run()?;
    assert_eq!((refused.connections_ok, refused.requests_ok), (3, 0), "{refused:?}");
    drop(greedy);
    until(|| Ok(lab.quic_go().get("/bytes/1000").connections(3).run()?.requests_ok), |&served| served == 3)?;
    assert_eq!(failures(&lab)?, 0);
    let lines = lab.home().log().matches(SAID).count();
    assert!(lines <= 12, "{lines} lines about one shortage");
    Ok(())
}

fn failures(lab: &Running) -> Result<u64> {
    Ok(lab.control().status()?.upstreams.iter().map(|server| server.failures_total).sum())
}

/// More than an idle node of two workers has open.
const DESCRIPTORS: usize = 160;

const SAID: &str = "Too many open files";
