//! Does a client whose connection died with the agent learn so at once, from the next one?

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use router_common::{
    frame,
    quic::{self, Kind},
};
use router_tests::lab::{
    Lab, Running,
    peers::Clients,
    wire::{Capture, Direction},
};

/// Fifty connections of the configuration that is issued, fifty of the one before: the first
/// packet of each to the new agent is answered with a reset that it believes.
#[test]
fn after_a_crash() -> Result<()> {
    let mut lab = Lab::new().start()?;
    // Those that come first have to wait for the others, too.
    let old = between_requests(&lab, 50, PAUSE * 2)?;
    lab.control().rotate()?;
    let new = between_requests(&lab, 50, PAUSE)?;
    let capture = Capture::start(lab.wire().namespace(), "router0")?;
    lab.take_agent()?.kill()?;
    lab.start_agent()?;
    expect_resets(capture, vec![old, new])
}

/// Slots 2 and 3 have no worker any more: whoever gets the packet has to tell.
#[test]
fn with_fewer_workers_than_before() -> Result<()> {
    let mut lab = Lab::new().workers(4).start()?;
    let clients = between_requests(&lab, 100, PAUSE)?;
    let capture = Capture::start(lab.wire().namespace(), "router0")?;
    lab.take_agent()?.kill()?;
    lab.reconfigure(|config| config.set_router("workers", "2"));
    lab.start_agent()?;
    expect_resets(capture, vec![clients])
}

/// Without a kernel in between, and in clear.
#[test]
fn in_userspace_and_in_clear() -> Result<()> {
    let mut lab = Lab::new().engine("userspace").connection_id("encryption", "\"none\"").start()?;
    let clients = between_requests(&lab, 50, PAUSE)?;
    let capture = Capture::start(lab.wire().namespace(), "router0")?;
    lab.take_agent()?.kill()?;
    lab.start_agent()?;
    expect_resets(capture, vec![clients])
}

/// Connections that have had one answer, and ask again after a pause.
fn between_requests(lab: &Running, count: u64, pause: Duration) -> Result<Clients> {
    let before = lab.control().status()?.totals.accepted;
    let clients = lab.quic_go().get("/bytes/1000").connections(count).requests(2).pausing(pause).start()?;
    lab.await_accepted(&clients, before + count)?;
    // Until they have their answers, and all that was sent is acknowledged.
    let mut seen = 0;
    loop {
        let now = lab.control().status()?.totals.datagrams_received;
        if now == seen {
            return Ok(clients);
        }
        seen = now;
        ensure!(!clients.ends_within(QUIET), "the clients ended too soon");
    }
}

fn expect_resets(capture: Capture, crowds: Vec<Clients>) -> Result<()> {
    let mut resets = 0;
    for clients in crowds {
        let summary = clients.finish()?;
        let told: u64 = summary.errors.iter().filter(|(e, _)| e.contains("stateless reset")).map(|(_, n)| n).sum();
        ensure!(told == summary.connections_ok && told > 0, "not all were told: {summary:?}");
        resets += told;
    }
    let frames = capture.stop()?;
    let (mut sent, mut answered) = (BTreeMap::<u16, u32>::new(), BTreeMap::<u16, u32>::new());
    for (direction, frame) in &frames {
        let Ok(datagram) = frame::parse(&frame[..]) else { continue };
        match direction {
            Direction::Out if answered.contains_key(&datagram.source.port) => {}
            Direction::Out => {
                let header = quic::classify(&frame[..], datagram.payload, 17).ok().context("a client's packet")?;
                ensure!(header.kind == Kind::OneRtt, "not of an old connection: {header:?}");
                *sent.entry(datagram.source.port).or_default() += 1;
            }
            Direction::In => *answered.entry(datagram.destination.port).or_default() += 1,
        }
    }
    ensure!(answered.len() as u64 == resets, "{} clients were answered, {resets} told", answered.len());
    // One flight: a request, and what goes with it. The first packet of a client is answered, or the client
    // would send again at each probe timeout (RFC 9002 section 6.2), as would all others like it. That is some
    // 30 ms here: where the CPUs are shared, a few answers may take longer than this.
    let again: Vec<_> = sent.iter().filter(|(_, count)| **count > ONE_FLIGHT).collect();
    ensure!(again.len() as u64 * 20 <= resets, "these sent more than one flight before they were told: {again:?}");
    let late: Vec<_> = again.iter().filter(|(_, count)| **count > 2 * ONE_FLIGHT).collect();
    ensure!(late.is_empty(), "these sent more than two flights before they were told: {late:?}");
    Ok(())
}

/// Longer than an agent takes to start.
const PAUSE: Duration = Duration::from_secs(4);
/// Longer than an acknowledgement is delayed, and than a lost one is waited for.
const QUIET: Duration = Duration::from_millis(300);
const ONE_FLIGHT: u32 = 2;
