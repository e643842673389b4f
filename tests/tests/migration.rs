//! Does a connection live on when its client moves to another path on purpose, with a new
//! connection ID, in the middle of a transfer?

use std::time::Duration;

use anyhow::Result;
use router_tests::lab::{Lab, Running, peers::QuicGo};

#[test]
fn a_hundred_downloads() -> Result<()> {
    let lab = Lab::new().start()?;
    let clients = lab.quic_go().get(&format!("/bytes/{BODY}"));
    expect_all_to_survive(&lab, clients)
}

#[test]
fn a_hundred_uploads() -> Result<()> {
    let lab = Lab::new().start()?;
    let clients = lab.quic_go().post("/sink", BODY);
    expect_all_to_survive(&lab, clients)
}

#[test]
fn a_hundred_raw_streams_both_ways() -> Result<()> {
    let lab = Lab::new().start()?;
    let clients = lab.quic_go().echo(BODY);
    expect_all_to_survive(&lab, clients)
}

#[test]
fn another_connection_id_on_the_same_path() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.aioquic("/bytes/20000").connections(20).requests(6).changing_id().succeed()?;
    lab.expect_no_packet_astray()
}

/// A hundred at once, each of which migrates in the middle of its body. Right octets, the
/// flow table saw both addresses of each, and no packet took a wrong way.
fn expect_all_to_survive(lab: &Running, clients: QuicGo<'_>) -> Result<()> {
    let clients = clients.connections(100).migrating_at(BODY / 2).holding(HOLD).start()?;
    let seen = lab.watch_flows(&clients)?;
    clients.succeed()?;
    // A few of the first addresses may have come and gone between two looks.
    lab.expect_moved(&seen, |seen| seen.peers.len() >= 190)?;
    lab.expect_no_packet_astray()
}

const BODY: u64 = 400_000;
/// Connections stay open so long after their transfer, so that the flow table can be seen.
const HOLD: Duration = Duration::from_secs(2);
