//! Does a slot that is drained get no new connection, do clients that follow GOAWAY leave without loss, and are those
//! that stay closed at the drain timeout?

use std::time::Duration;

use anyhow::{Result, ensure};
use router_tests::lab::{Lab, Running, until};
use router_userspace::agent::api::Worker;

#[test]
fn clients_that_follow_goaway_lose_nothing() -> Result<()> {
    let lab = Lab::new().set("drain_timeout", "\"40s\"").start()?;
    let get = || lab.quic_go().get("/bytes/20000").following();
    let clients = get().connections(60).requests(100).pausing(SHORT).start()?;
    let slow = get().connections(60).requests(8).pausing(Duration::from_secs(1)).start()?;
    lab.await_accepted(&slow, 120)?;
    let before = lab.worker(2)?;
    assert!(before.totals.connections_now > 10, "{before:?}");
    lab.cli(&["workers", "drain", "2"])?.succeeded()?;
    let during = lab.worker(2)?;
    assert_eq!((during.state.as_str(), during.totals.accepted), ("draining", before.totals.accepted));
    assert!(during.seconds_left.is_some_and(|left| (35..40).contains(&left)), "{during:?}");
    // Long before the timeout.
    await_worker(&lab, 2, |worker| worker.totals.connections_now == 0)?;
    assert!(lab.worker(2)?.seconds_left.is_some_and(|left| left > 20));
    clients.succeed()?;
    slow.succeed()?;
    lab.quic_go().get("/bytes/1000").connections(100).succeed()?;
    assert_eq!(lab.worker(2)?.totals.accepted, before.totals.accepted, "the drained slot got new connections");

    lab.cli(&["workers", "undrain", "2"])?.succeeded()?;
    lab.quic_go().get("/bytes/1000").connections(100).succeed()?;
    let after = lab.worker(2)?;
    assert!(after.totals.accepted > before.totals.accepted, "the slot got nothing again");
    assert_eq!((after.state.as_str(), after.seconds_left), ("active", None));
    lab.expect_no_packet_lost()
}

#[test]
fn connections_left_at_the_drain_timeout_are_closed() -> Result<()> {
    let lab = Lab::new().start()?;
    let raw = lab.quic_go().echo(1_000).connections(40).until_told().pausing(SHORT).start()?;
    let deaf = lab.quic_go().get("/bytes/1000").connections(40).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&deaf, 80)?;
    let staying = lab.worker(1)?.totals.connections_now;
    assert!(staying > 5, "{staying}");
    lab.cli(&["workers", "drain", "1", "--timeout", "1s"])?.succeeded()?;
    await_worker(&lab, 1, |worker| worker.seconds_left == Some(0) && worker.totals.connections_now == 0)?;
    let (raw, deaf) = (raw.finish()?, deaf.finish()?);
    // All connections of the slot were told, and no others.
    let told = |error: &str| error.contains("0x100") || error.contains("H3_NO_ERROR") || error.contains("GOAWAY");
    for summary in [&raw, &deaf] {
        assert!(summary.errors.keys().all(|error| told(error)), "{summary:?}");
        assert_eq!(summary.connections_ok, 40, "{summary:?}");
    }
    let lost: u64 = raw.errors.values().chain(deaf.errors.values()).sum();
    assert_eq!(lost, staying, "{raw:?} {deaf:?}");
    lab.expect_no_packet_lost()
}

#[test]
fn undrain_before_the_timeout_keeps_all_connections() -> Result<()> {
    let lab = Lab::new().start()?;
    let streams = lab.quic_go().echo(1_000).connections(40).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&streams, 40)?;
    lab.cli(&["workers", "drain", "1", "--timeout", "5s"])?.succeeded()?;
    lab.cli(&["workers", "undrain", "1"])?.succeeded()?;
    // Not a wait for something to happen: until the time would be over.
    std::thread::sleep(Duration::from_secs(5));
    streams.succeed()?;
    lab.expect_no_packet_lost()
}

#[test]
fn impossible_drains_are_refused() -> Result<()> {
    let lab = Lab::new().workers(2).start()?;
    let refused = |arguments: &[&str], code: i32, says: &str| -> Result<()> {
        let refused = lab.cli(&[&["workers"], arguments].concat())?;
        ensure!(refused.status.code() == Some(code) && refused.stderr.contains(says), "{arguments:?}: {refused:?}");
        Ok(())
    };
    refused(&["drain", "7"], 1, "slot 7: no worker is there")?;
    refused(&["drain", "0", "--timeout", "soon"], 2, "\"soon\" is not a duration")?;
    lab.cli(&["workers", "drain", "0"])?.succeeded()?;
    refused(&["drain", "1"], 1, "slot 1: it is the last active one")?;
    lab.quic_go().get("/bytes/1000").connections(20).succeed()?;
    assert_eq!(lab.worker(1)?.totals.accepted, 20);
    Ok(())
}

fn await_worker(lab: &Running, slot: u8, is_so: impl Fn(&Worker) -> bool) -> Result<()> {
    until(|| lab.worker(slot), is_so).map(drop)
}

const SHORT: Duration = Duration::from_millis(20);
