//! Does a connection live on when its client's port and address change under it, in the
//! middle of a transfer, without either end having asked for it?

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
fn to_another_address() -> Result<()> {
    let lab = Lab::new().start()?;
    let [old, new] = lab.wire().client4();
    let clients = lab.quic_go().get(&format!("/bytes/{BODY}")).option("local", old).option("rebind-to", new);
    let clients = clients.connections(100).rebinding_at(BODY / 2).holding(HOLD).start()?;
    let seen = lab.watch_flows(&clients)?;
    clients.succeed()?;
    lab.expect_moved(&seen, |seen| seen.peers.iter().filter(|peer| peer.ip() == new).count() == 100)?;
    lab.expect_no_packet_astray()
}

#[test]
fn all_at_once_because_their_nat_moved() -> Result<()> {
    let lab = Lab::new().start()?;
    let clients = lab.quic_go().get("/bytes/200000").connections(50).requests(6);
    let clients = clients.option("pause", "200ms").start()?;
    // In the middle: of each six requests, some are answered and some are not yet made.
    lab.await_accepted(&clients, 50)?;
    lab.wire().move_clients(1)?;
    let seen = lab.watch_flows(&clients)?;
    clients.succeed()?;
    let new = lab.wire().client4()[1];
    lab.expect_moved(&seen, |seen| seen.peers.iter().filter(|peer| peer.ip() == new).count() >= 50)?;
    lab.expect_no_packet_astray()
}

#[test]
fn aioquic() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.aioquic("/bytes/300000").connections(20).rebinding_at(100_000).succeed()?;
    lab.expect_no_packet_astray()
}

/// A hundred at once, each rebound in the middle of its body. Right octets, the flow table saw
/// every one move, and no packet took a wrong way.
fn expect_all_to_survive(lab: &Running, clients: QuicGo<'_>) -> Result<()> {
    let clients = clients.connections(100).rebinding_at(BODY / 2).holding(HOLD).start()?;
    let seen = lab.watch_flows(&clients)?;
    clients.succeed()?;
    // Not twice as many peers: a port that one client gives up may be the next one's new port.
    lab.expect_moved(&seen, |seen| seen.changed.len() >= 100 && seen.peers.len() > 150)?;
    lab.expect_no_packet_astray()
}

const BODY: u64 = 400_000;
/// Connections stay open so long after their transfer, so that the flow table can be seen.
const HOLD: Duration = Duration::from_secs(2);
