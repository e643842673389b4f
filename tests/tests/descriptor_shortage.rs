//! Does a node that has run out of file descriptors say so once, eject no server, and go on when it has some again?

use std::{cell::Cell, fs, net::TcpStream};

use anyhow::Result;
use router_tests::lab::{Lab, PORT, Running, until};

/// Connections that ask nothing take all descriptors. What had been seen: servers ejected for it, the control
/// socket dead, a gigabyte of log in half a minute.
#[test]
fn connections_that_take_all_descriptors() -> Result<()> {
    let lab = Lab::new().workers(2).limit("max_connections_per_ip", "10_000").config(|config| {
        config.listen_on_tcp();
        config.under = ["prlimit", &format!("--nofile={DESCRIPTORS}"), "--"].map(Into::into).into();
    });
    let lab = lab.start()?;
    let router = lab.wire().router(PORT);
    let greedy = lab
        .wire()
        .namespace()
        .enter(|| Ok((0..2 * DESCRIPTORS).map_while(|_| TcpStream::connect(router).ok()).collect::<Vec<_>>()))?;
    until(|| Ok(lab.home().log().matches(SAID).count()), |&said| said > 0)?;
    // It is said when the first one is missing, and then what was open for a moment is free again.
    let full_for = Cell::new(0);
    until(
        || used(&lab),
        |&used| {
            full_for.set(if used == DESCRIPTORS { full_for.get() + 1 } else { 0 });
            full_for.get() == LOOKS
        },
    )?;
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

/// How many of the descriptors that the limit leaves the agent has. It may have inherited one beyond.
fn used(lab: &Running) -> Result<usize> {
    let open = fs::read_dir(format!("/proc/{}/fd", lab.agent()?.pid()?))?.flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|&number: &usize| number < DESCRIPTORS).count())
}

fn failures(lab: &Running) -> Result<u64> {
    Ok(lab.control().status()?.upstreams.iter().map(|server| server.failures_total).sum())
}

/// More than an idle node of two workers has open.
const DESCRIPTORS: usize = 160;

/// So often in a row all descriptors are seen in use.
const LOOKS: u32 = 40;

const SAID: &str = "Too many open files";
