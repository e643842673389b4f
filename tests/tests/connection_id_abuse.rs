//! Can a client harm others by connection IDs that it was given or has seen: by retiring many, by choosing a worker, by
//! keeping flows alive?

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use router_tests::{
    content::unhex,
    lab::{Lab, PORT, until, wire::Sender},
    packets::{Packet, quic::Quic},
};

/// Ten thousand had been retired in four seconds on one connection, and the flow table had as many entries
/// more. Others are served meanwhile.
#[test]
fn a_flood_of_retire_connection_id_closes_the_connection() -> Result<()> {
    let lab = Lab::new().workers(1).start()?;
    let others = lab.quic_go().get("/bytes/1000").connections(5).requests(20).pausing(SHORT).start()?;
    let flood = lab.aioquic("/bytes/1000").requests(2).option("--retire").option("5000").start()?.finish()?;
    ensure!(flood.errors.keys().any(|error| error.contains("0x107")), "{flood:?}");
    let entries = lab.control().flows()?.flows.len();
    ensure!(entries < 700, "{entries} entries, which were 5,000");
    others.succeed()?;
    // A client that changes now and then is none.
    let some = lab.aioquic("/bytes/1000").requests(2).option("--retire").option("90").start()?.finish()?;
    ensure!(some.requests_ok == 2 && some.errors.is_empty(), "{some:?}");
    lab.expect_no_packet_astray()
}

/// Seven of seven connections had landed on the worker that an earlier connection ID named, a draining one
/// too.
#[test]
fn a_client_cannot_choose_its_worker_by_a_connection_id_it_has_seen() -> Result<()> {
    for engine in ["xdp", "userspace"] {
        let lab = Lab::new().engine(engine).start()?;
        lab.control().drain(1)?;
        for slot in [1, 2] {
            let (before, retried) = (lab.worker(slot)?.totals.accepted, lab.control().status()?.totals.retried);
            for _ in 0..AIMED {
                let seen = unhex(&lab.control().generate(slot)?.cid);
                lab.aioquic("/bytes/1000").requests(1).beginning_with(&seen).succeed()?;
            }
            ensure!(lab.control().status()?.totals.retried - retried == AIMED, "each is sent a Retry");
            let there = lab.worker(slot)?.totals.accepted - before;
            let is_right = if slot == 1 { there == 0 } else { there < AIMED };
            ensure!(is_right, "{engine}: {there} of {AIMED} on slot {slot}");
        }
    }
    Ok(())
}

/// Junk in the name of a connection that has ended had kept its entry for as long as it came.
#[test]
fn junk_keeps_no_flow_of_a_closed_connection() -> Result<()> {
    let lab = Lab::new().workers(1).limit("idle_timeout", "\"300s\"").start()?;
    lab.quic_go().get("/bytes/1000").connections(3).succeed()?;
    lab.await_status(|status| status.totals.connections_now == 0)?;
    let used =
        || anyhow::Ok(lab.control().flows()?.flows.into_iter().filter(|flow| flow.packets > 0).collect::<Vec<_>>());
    ensure!(!used()?.is_empty(), "clients use other connection IDs than the first");
    let sender = Sender::new(lab.wire().namespace(), "router0")?;
    let from = SocketAddr::from((lab.wire().client4()[0], 4_000));
    // For a moment after its end a connection is still closing, and what comes to it is its own.
    let sending = || {
        let left = used()?;
        for flow in &left {
            let junk = Quic::short(&unhex(&flow.cid)).padded_to(60);
            sender.send(&Packet::udp(from, lab.wire().router(PORT), junk).frame())?;
        }
        anyhow::Ok(left)
    };
    until(sending, Vec::is_empty).map(drop)
}

const AIMED: u64 = 7;
const SHORT: Duration = Duration::from_millis(100);
