//! Does a cluster whose nodes come from etcd serve whatever becomes of etcd, and know who is gone?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use router_tests::lab::{
    cluster::{Cluster, Running},
    peers::Clients,
    until,
};
use router_userspace::agent::api::NodeState;

/// Point 8: it is stopped for longer than any lease.
#[test]
fn connections_outlive_an_etcd_that_is_stopped() -> Result<()> {
    outlive(Running::stop_etcd, Running::start_etcd)
}

/// A watch that hangs, and says nothing of it.
#[test]
fn connections_outlive_an_etcd_that_hangs() -> Result<()> {
    outlive(|cluster| cluster.halt_etcd(), |cluster| cluster.resume_etcd())
}

/// Point 9: one node cannot reach it, loses its lease for all others, and lives.
#[test]
fn a_node_that_is_cut_off_from_etcd_keeps_its_connections() -> Result<()> {
    let mut cluster = Cluster::new().etcd().set("dead_after", "\"3s\"").start()?;
    let clients = cluster.talk(90)?;
    cluster.node(1).wiring().cut_etcd()?;
    await_live(&cluster, 1, Live::No)?;
    go_on(&clients, LEASE_AND_MORE)?;
    expect_no_reset(&cluster)?;
    cluster.route([0, 2])?;
    go_on(&clients, Duration::from_secs(1))?;
    cluster.node(1).wiring().mend_etcd()?;
    await_live(&cluster, 1, Live::Yes)?;
    cluster.await_state(2, NodeState::Up)?;
    cluster.route(0..3)?;
    clients.succeed()?;
    cluster.talk(60)?.succeed()?;
    expect_no_reset(&cluster)?;
    cluster.expect_nothing_lost()
}

/// Point 3: a node that dies loses its lease, and is not heard: two witnesses. No operator has to say anything.
#[test]
fn a_node_that_dies_is_gone_by_two_witnesses() -> Result<()> {
    let mut cluster = Cluster::new().etcd().start()?;
    let clients = cluster.talk(90)?;
    let lost = cluster.node(1).control().status()?.totals.accepted;
    let died = Instant::now();
    cluster.kill(1)?;
    until(|| cluster.reset_for_others(), |count| *count > 0)?;
    let told = died.elapsed();
    ensure!(told < TO_BE_TOLD, "the first client was told after {told:?}");
    let summary = clients.finish()?;
    ensure!(
        summary.stateless_resets() == lost && summary.errors.values().sum::<u64>() == lost,
        "the node had {lost} connections of 90: {summary:?}"
    );
    Ok(())
}

/// Point 4: a node that joins gets a number of its own, and connections.
#[test]
fn a_node_joins_by_etcd_alone() -> Result<()> {
    let mut cluster = Cluster::new().nodes(2).etcd().start()?;
    let clients = cluster.talk(60)?;
    let index = cluster.add_node()?;
    cluster.node_mut(index).start()?;
    cluster.await_together()?;
    cluster.route(0..=index)?;
    cluster.talk(60)?.succeed()?;
    ensure!(cluster.node(index).control().status()?.totals.accepted > 0, "the new node has no connection");
    clients.succeed()?;
    cluster.expect_nothing_lost()
}

/// Something becomes of etcd for longer than a lease lasts, and is mended. No connection is lost, reset or drained, and in
/// the end all nodes follow it again.
fn outlive(spoil: impl Fn(&mut Running) -> Result<()>, mend: impl Fn(&mut Running) -> Result<()>) -> Result<()> {
    let mut cluster = Cluster::new().etcd().set("dead_after", "\"3s\"").start()?;
    let clients = cluster.talk(90)?;
    spoil(&mut cluster)?;
    (0..3).try_for_each(|index| await_live(&cluster, index, Live::No))?;
    go_on(&clients, LEASE_AND_MORE)?;
    cluster.route([0, 2])?;
    go_on(&clients, Duration::from_secs(1))?;
    cluster.talk(30)?.succeed()?;
    (1..=3).try_for_each(|number| cluster.await_state(number, NodeState::Up))?;
    mend(&mut cluster)?;
    (0..3).try_for_each(|index| await_live(&cluster, index, Live::Yes))?;
    go_on(&clients, LEASE_AND_MORE)?;
    clients.succeed()?;
    (1..=3).try_for_each(|number| cluster.await_state(number, NodeState::Up))?;
    expect_no_reset(&cluster)?;
    cluster.expect_nothing_lost()
}

/// Whether what a node knows of the others is of now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Live {
    Yes,
    No,
}

fn await_live(cluster: &Running, index: u8, live: Live) -> Result<()> {
    until(|| cluster.node(index).control().cluster(), |seen| seen.live == (live == Live::Yes)).map(drop)
}

/// The clients are there for so long, and do not end.
fn go_on(clients: &Clients, time: Duration) -> Result<()> {
    ensure!(!clients.ends_within(time), "the clients ended: {}", clients.said());
    Ok(())
}

fn expect_no_reset(cluster: &Running) -> Result<()> {
    let reset = cluster.reset_for_others()?;
    ensure!(reset == 0, "{reset} packets of living nodes' connections were answered by others");
    Ok(())
}

/// A lease lasts ten seconds.
const LEASE_AND_MORE: Duration = Duration::from_secs(15);
/// A lease and `dead_after`, ten seconds each, end at about the same time; clients ask more and more seldom.
const TO_BE_TOLD: Duration = Duration::from_secs(20);
