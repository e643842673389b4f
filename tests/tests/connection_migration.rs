//! Does a connection live on when its client's address changes (RFC 9000 section 9): by a NAT rebinding, which neither end
//! has asked for, and by an active migration to another path with a new connection ID?

use std::time::Duration;

use anyhow::{Result, ensure};
use router_tests::lab::{
    Lab, Link, Running, Scenario, Scene, SeenFlows,
    peers::{QuicGo, S2n},
};

#[test]
fn nat_rebinding_of_a_hundred_downloads() -> Result<()> {
    survive(Change::NatRebinding, |lab| lab.quic_go().get(&format!("/bytes/{BODY}")))
}

#[test]
fn nat_rebinding_of_a_hundred_uploads() -> Result<()> {
    survive(Change::NatRebinding, |lab| lab.quic_go().post("/sink", BODY))
}

#[test]
fn nat_rebinding_of_a_hundred_raw_streams() -> Result<()> {
    survive(Change::NatRebinding, |lab| lab.quic_go().echo(BODY))
}

#[test]
fn active_migration_of_a_hundred_downloads() -> Result<()> {
    survive(Change::ActiveMigration, |lab| lab.quic_go().get(&format!("/bytes/{BODY}")))
}

#[test]
fn active_migration_of_a_hundred_uploads() -> Result<()> {
    survive(Change::ActiveMigration, |lab| lab.quic_go().post("/sink", BODY))
}

#[test]
fn active_migration_of_a_hundred_raw_streams() -> Result<()> {
    survive(Change::ActiveMigration, |lab| lab.quic_go().echo(BODY))
}

#[test]
fn nat_rebinding_to_another_address() -> Result<()> {
    let lab = Lab::new().start()?;
    let [old, new] = lab.wire().client4();
    let clients = lab.quic_go().get(&format!("/bytes/{BODY}")).option("local", old).option("rebind-to", new);
    expect_to_survive(&lab, Change::NatRebinding.made_by(clients), |seen| {
        seen.peers.iter().filter(|peer| peer.ip() == new).count() == 100
    })
}

#[test]
fn nat_rebinding_of_all_clients_at_once() -> Result<()> {
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
fn nat_rebinding_of_aioquic_clients() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.aioquic("/bytes/300000").connections(20).rebinding_at(100_000).succeed()?;
    lab.expect_no_packet_astray()
}

/// The NAT is on the way: s2n-quic's clients know nothing of it, and would not move by themselves.
#[test]
fn nat_rebinding_of_s2n_quic_clients() -> Result<()> {
    let lab = Lab::new().start()?;
    let scenario = Scenario::Rebind { first: HALF_A_SECOND, every: HALF_A_SECOND, address: false };
    let scene = Scene::new(scenario, 0);
    let link = Link { delay: Duration::from_millis(10), rate: 100_000_000, queue: 1_000 };
    let relay = lab.distance(link, &scene)?;
    let clients = S2n::new(relay.clients(), &lab.url("/bytes/100000")).connections(20).requests(20);
    clients.keeping_alive(Duration::from_millis(100)).pausing(Duration::from_millis(50)).succeed()?;
    // Each at least twice.
    ensure!(scene.passed().rebound >= 40, "{:?}", scene.passed());
    assert_eq!(lab.control().status()?.totals.accepted, 20, "a connection was made twice");
    lab.expect_no_packet_astray()
}

/// The server has no fresh connection ID to use towards the client's new address.
#[test]
fn nat_rebinding_without_spare_connection_ids() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.aioquic("/bytes/300000").option("--no-spare").connections(20).rebinding_at(100_000).succeed()?;
    lab.expect_no_packet_astray()
}

#[test]
fn another_connection_id_on_the_same_path() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.aioquic("/bytes/20000").connections(20).requests(6).changing_id().succeed()?;
    lab.expect_no_packet_astray()
}

/// How clients come by another address in the middle of their bodies.
#[derive(Clone, Copy)]
enum Change {
    NatRebinding,
    ActiveMigration,
}

impl Change {
    fn made_by(self, clients: QuicGo<'_>) -> QuicGo<'_> {
        match self {
            Self::NatRebinding => clients.rebinding_at(BODY / 2),
            Self::ActiveMigration => clients.migrating_at(BODY / 2),
        }
    }

    /// Whether the flow table has shown all clients at both of their addresses.
    fn is_seen(self, seen: &SeenFlows) -> bool {
        match self {
            // Not twice as many peers: a port that one client gives up may be the next one's new port.
            Self::NatRebinding => seen.changed.len() >= 100 && seen.peers.len() > 150,
            // A few of the first addresses may have come and gone between two looks.
            Self::ActiveMigration => seen.peers.len() >= 190,
        }
    }
}

fn survive(change: Change, clients: impl Fn(&Running) -> QuicGo<'_>) -> Result<()> {
    let lab = Lab::new().start()?;
    expect_to_survive(&lab, change.made_by(clients(&lab)), |seen| change.is_seen(seen))
}

/// A hundred at once. Right octets, the flow table saw them move, and no packet took a wrong way.
fn expect_to_survive(lab: &Running, clients: QuicGo<'_>, are_seen: impl Fn(&SeenFlows) -> bool) -> Result<()> {
    let clients = clients.connections(100).holding(HOLD).start()?;
    let seen = lab.watch_flows(&clients)?;
    clients.succeed()?;
    lab.expect_moved(&seen, are_seen)?;
    lab.expect_no_packet_astray()
}

const BODY: u64 = 400_000;
/// Connections stay open so long after their transfer, so that the flow table can be seen.
const HOLD: Duration = Duration::from_secs(2);
const HALF_A_SECOND: Duration = Duration::from_millis(500);
