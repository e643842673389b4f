//! Does a cluster keep every connection, whatever the route in front of it does, and do its nodes' counters close in one sum?

use std::time::Duration;

use anyhow::{Result, ensure};
use router_tests::lab::{
    ENGINES,
    cluster::{Cluster, Ecmp, Family, Running},
};

/// Point 1: every node gets a share; bodies are right; what all nodes forward is what all unwrap, also by pair.
#[test]
fn three_hundred_connections_close_the_sums() -> Result<()> {
    let cluster = Cluster::new().start()?;
    let before = cluster.counts()?;
    let clients = cluster.quic_go().get("/bytes/100000").connections(240).rebinding_at(50_000).start()?;
    let others = cluster.aioquic("/bytes/20000").connections(30).requests(2).start()?;
    let by_ipv6 = cluster.quic_go_by(Family::V6).get("/bytes/100000").connections(30).rebinding_at(50_000).start()?;
    for clients in [clients, others, by_ipv6] {
        clients.succeed()?;
    }
    expect_all_accepted(&cluster, 300)?;
    // Two in three of those that rebind come to another node than theirs.
    cluster.expect_forwarded(&before, 100)?;
    cluster.expect_nothing_lost()
}

/// Point 2: all flows of a node that leaves the route come to others, and are forwarded to it.
#[test]
fn a_node_that_leaves_the_route_keeps_its_connections() -> Result<()> {
    for ecmp in [Ecmp::Plain, Ecmp::Resilient] {
        let mut cluster = Cluster::new().ecmp(ecmp).start()?;
        let clients = cluster.talk(300)?;
        let before = cluster.counts()?;
        let accepted = cluster.node(1).control().status()?.totals.accepted;
        ensure!(accepted > 0, "node 2 has no connection");
        cluster.route([0, 2])?;
        // Each of its connections has sent some packets by another node.
        clients.run_until(|| Ok(cluster.counts()?.since(&before).unwrapped(2) > 8 * accepted))?;
        clients.succeed()?;
        cluster.expect_nothing_lost()?;
    }
    Ok(())
}

/// However often the route changes its mind.
#[test]
fn a_hundred_changes_of_the_route_lose_no_connection() -> Result<()> {
    let mut cluster = Cluster::new().start()?;
    let before = cluster.counts()?;
    let clients = cluster.talk(300)?;
    let routes: [&[u8]; 6] = [&[0, 1], &[0, 1, 2], &[2], &[1, 2], &[0], &[0, 2]];
    for route in routes.iter().cycle().take(100) {
        cluster.route(route.iter().copied())?;
        // Not a wait for something to happen: the changes' rhythm.
        ensure!(!clients.ends_within(Duration::from_millis(100)), "the clients ended: {}", clients.said());
    }
    clients.succeed()?;
    expect_all_accepted(&cluster, 300)?;
    cluster.expect_forwarded(&before, 1_000)?;
    cluster.expect_nothing_lost()
}

/// Point 5: a NAT rebinding brings most connections to another node, which may have another engine.
#[test]
fn rebindings_across_engines_lose_no_connection() -> Result<()> {
    let cluster = Cluster::new().nodes(4).engines(&ENGINES).start()?;
    let before = cluster.counts()?;
    for family in Family::BOTH {
        let get = || cluster.quic_go_by(family).get("/bytes/200000").connections(50).rebinding_at(100_000);
        let post = || cluster.quic_go_by(family).post("/sink", 200_000).connections(50).rebinding_at(100_000);
        let echo = || cluster.quic_go_by(family).echo(100_000).connections(50).requests(2).rebinding_at(100_000);
        let clients = [get().start()?, post().start()?, echo().start()?];
        clients.into_iter().try_for_each(|clients| clients.succeed().map(drop))?;
    }
    expect_all_accepted(&cluster, 300)?;
    cluster.expect_forwarded(&before, 1_000)?;
    cluster.expect_nothing_lost()
}

/// New connections by hash: whichever node gets a packet, the same one takes the connection.
#[test]
fn new_connections_by_hash_do_not_follow_the_route() -> Result<()> {
    let mut cluster = Cluster::new().set("new_connections", "\"hash\"").start()?;
    let before = cluster.counts()?;
    // All come to one node, which passes most of them on.
    cluster.route([0])?;
    cluster.quic_go().get("/bytes/20000").connections(150).succeed()?;
    expect_all_accepted(&cluster, 150)?;
    let counts = cluster.counts()?.since(&before);
    ensure!(counts.forwarded(1) > 0, "the first node kept all: {counts:#?}");
    cluster.expect_nothing_lost()
}

/// So many connections were accepted by all nodes together, and some by each.
fn expect_all_accepted(cluster: &Running, connections: u64) -> Result<()> {
    let each = cluster.nodes().iter().map(|node| Ok(node.control().status()?.totals.accepted));
    let each: Vec<u64> = each.collect::<Result<_>>()?;
    ensure!(each.iter().sum::<u64>() == connections && each.iter().all(|&share| share > 0), "accepted: {each:?}");
    Ok(())
}
