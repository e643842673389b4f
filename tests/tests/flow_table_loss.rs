//! Do connections live on when the flow table loses them? Their connection IDs have to lead to the worker.

use std::time::Duration;

use anyhow::Result;
use router_tests::{
    bpftool,
    lab::{Lab, Running, peers::Clients},
};

/// Two hundred transfers, each rebound in its middle, while every flow is deleted again and again.
#[test]
fn flows_deleted_under_two_hundred_transfers() -> Result<()> {
    let lab = Lab::new().start()?;
    let clients = lab.quic_go().get("/bytes/1000000").connections(200).rebinding_at(400_000).start()?;
    empty_until_done(&lab, clients, 200)
}

/// The same with uploads, whose every packet has to find its worker, and four AES blocks for each.
#[test]
fn flows_deleted_under_uploads_through_four_passes() -> Result<()> {
    let server_id = "\"hex:0102030405060708090a0b0c\"";
    let lab = Lab::new().connection_id("server_id", server_id).connection_id("length", "20").start()?;
    let clients = lab.quic_go().post("/sink", 500_000).connections(100).rebinding_at(200_000).start()?;
    empty_until_done(&lab, clients, 100)
}

fn empty_until_done(lab: &Running, clients: Clients, connections: u64) -> Result<()> {
    let before = lab.counters()?;
    let mut deleted = 0;
    while !clients.ends_within(Duration::from_millis(1)) {
        deleted += bpftool::empty(&lab.home().pins().join("flows"))?;
    }
    clients.succeed()?;
    assert!(deleted as u64 > connections, "only {deleted} flows were deleted");
    let moved = before.moved()?;
    let decoded = moved.get("xdp.cid").copied().unwrap_or(0);
    assert!(decoded > 10 * connections, "only {decoded} packets went by their connection ID: {moved:?}");
    assert_eq!(moved.get("xdp.unknown"), None, "{moved:?}");
    assert_eq!(lab.control().status()?.totals.accepted, connections);
    lab.expect_no_packet_astray()
}
