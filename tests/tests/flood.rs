//! Are clients served while a flood of packets that are no QUIC comes in as fast as a machine can send it, and is each of
//! these dropped by XDP and counted?

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use router_tests::lab::{Flood, Lab, Moved, OnWire, Peak, Running, open_sums, peers::QuicGo, until};
use router_userspace::agent::api::{Counters, Stage};

#[test]
fn packets_that_are_no_quic_end_before_af_xdp_sockets() -> Result<()> {
    ends_at_the_interface("af_xdp")
}

#[test]
fn packets_that_are_no_quic_end_before_the_stack() -> Result<()> {
    ends_at_the_interface("xdp")
}

/// A datagram of two octets.
fn ends_at_the_interface(engine: &str) -> Result<()> {
    // A client's CONNECTION_CLOSE may be among what the wire has no room for.
    let lab = Lab::new().engine(engine).limit("idle_timeout", "\"10s\"").start()?;
    assert_eq!(lab.control().status()?.interfaces[0].engine.as_str(), engine);
    // What it takes to serve at all is taken before.
    serve(&lab)?;
    let peak = Peak::begin(&lab)?;
    let sent = flood_while_serving(&lab, SMALLEST)?;
    let grown = peak.grown()?;
    println!("{engine}: {} KiB more at the peak", grown >> 10);
    ensure!(grown < SLACK, "it took {grown} octets");

    let totals = lab.await_status(|status| status.totals.connections_now == 0)?.totals;
    assert_eq!((totals.accepted, totals.handshakes_now), (SERVED + BEGUN + SERVED, 0), "{totals:?}");
    // What the wire has carried, XDP has dropped: to the last packet, and nothing else was dropped anywhere.
    let all_of_it = Moved::from([("xdp.truncated".into(), sent.carried)]);
    let is_so = |counters: &Counters| dropped(counters) == all_of_it && open_sums(counters).is_empty();
    until(|| lab.control().counters(), is_so)?;
    let client = lab.wire().client4()[0];
    let others =
        lab.control().flows()?.flows.into_iter().filter(|flow| flow.peer.is_some_and(|peer| peer.ip() != client));
    assert_eq!(others.count(), 0, "flows of the flood's");
    Ok(())
}

/// Has connections begin before a flood and in it; all of them get what they ask for while it lasts.
fn flood_while_serving(lab: &Running, octets: u16) -> Result<OnWire> {
    let begun = patient(lab).get("/bytes/30000").connections(BEGUN).requests(30).pausing(SHORT).start()?;
    lab.await_busy(&begun, usize::try_from(BEGUN)?)?;
    let (since, flood) = (Instant::now(), Flood::start(lab.wire(), octets, MOST)?);
    until(|| flood.so_far(), |sent| sent.carried > 0)?;
    ensure!(!begun.ends_within(Duration::ZERO), "they ended before the flood came");
    serve(lab)?;
    begun.succeed()?;
    until(|| flood.so_far(), |sent| sent.carried >= MANY)?;
    flood.goes_on()?;
    let (sent, lasted) = (flood.stop()?, since.elapsed());
    println!("{sent:?} in {lasted:?}: {:.0} a second", sent.carried as f64 / lasted.as_secs_f64());
    Ok(sent)
}

/// [`SERVED`] new connections.
fn serve(lab: &Running) -> Result<()> {
    patient(lab).get("/bytes/300000").connections(SERVED / 2).succeed()?;
    patient(lab).post("/sink", 300_000).connections(SERVED / 2).succeed()?;
    Ok(())
}

/// The flood takes the processors, too.
fn patient(lab: &Running) -> QuicGo<'_> {
    lab.quic_go().within(Duration::from_secs(60))
}

/// All that was dropped, by stage and reason.
fn dropped(counters: &Counters) -> Moved {
    let of_stage = |stage: &Stage| some(&stage.name, &stage.dropped);
    counters.stages.iter().flat_map(of_stage).collect()
}

/// The reasons that any packet had, each behind a word that says where.
fn some(place: &str, reasons: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let counted = reasons.iter().filter(|(_, count)| **count > 0);
    counted.map(|(reason, count)| (format!("{place}.{reason}"), *count)).collect()
}

/// The smallest that Ethernet has; `xdp-trafficgen` sends no smaller ones.
const SMALLEST: u16 = 64;
/// A flood has at least so many packets, and never more than so many.
const MANY: u64 = 1_000_000;
const MOST: u64 = 100_000_000;
const SERVED: u64 = 40;
const BEGUN: u64 = 20;
const SHORT: Duration = Duration::from_millis(100);
/// What connections may hold that wait, up to their windows: far less than the flood's octets.
const SLACK: u64 = 96 << 20;
