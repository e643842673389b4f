//! Does a cluster whose nodes come from etcd serve whatever becomes of etcd, and know who is gone?

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    cluster::{Cluster, Node, Running},
    peers::{Clients, Curl},
    until,
};
use router_userspace::agent::api::{self, NodeState};

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

/// It forgets all that it knew. The nodes put it back, as it was, and whoever joins then is none of them.
#[test]
fn connections_outlive_an_etcd_that_is_wiped() -> Result<()> {
    let mut cluster = Cluster::new().etcd().set("dead_after", "\"3s\"").start()?;
    let clients = cluster.talk(90)?;
    be_without(&mut cluster, &clients, Running::wipe_etcd, Running::start_etcd)?;
    (0..3).try_for_each(|index| await_records(&cluster, index))?;
    ensure!(numbers(&cluster)? == [1, 2, 3], "nodes have other numbers: {:?}", numbers(&cluster)?);
    let index = cluster.add_node()?;
    cluster.node_mut(index).start()?;
    cluster.await_together()?;
    ensure!(numbers(&cluster)? == [1, 2, 3, 4], "a node that joins has a number of another: {:?}", numbers(&cluster)?);
    (1..=4).try_for_each(|number| cluster.await_state(number, NodeState::Up))?;
    cluster.route(0..=index)?;
    cluster.talk(60)?.succeed()?;
    ensure!(cluster.node(index).control().status()?.totals.accepted > 0, "the new node has no connection");
    clients.succeed()?;
    expect_no_reset(&cluster)?;
    cluster.expect_nothing_lost()
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

/// Point 7: keys are rotated while one node cannot reach etcd. It has to know the new ones before others issue by them,
/// though its lease is long gone.
#[test]
fn a_rotation_waits_for_a_node_that_is_cut_off_from_etcd() -> Result<()> {
    let mut cluster = Cluster::new().etcd().set("dead_after", "\"3s\"").start()?;
    let old = cluster.talk(90)?;
    cluster.node(1).wiring().cut_etcd()?;
    cluster.node(0).cli(&["cid", "rotate"])?.succeeded()?;
    [0, 2].into_iter().try_for_each(|index| await_waiting(&cluster, index))?;
    [0, 2].into_iter().try_for_each(|index| await_reason(&cluster, index, 2, "although its lease has ended"))?;
    go_on(&old, LEASE_AND_MORE)?;
    [0, 2].into_iter().try_for_each(|index| await_waiting(&cluster, index))?;
    (0..3).try_for_each(|index| cluster.await_issued(index, 0))?;
    let again = cluster.node(2).cli(&["cid", "rotate"])?;
    ensure!(again.succeeded().is_err(), "a second configuration was announced before the first was issued");
    let still_old = cluster.talk(30)?;
    cluster.node(1).wiring().mend_etcd()?;
    (0..3).try_for_each(|index| cluster.await_issued(index, 1))?;
    (0..3).try_for_each(|index| await_no_problem(&cluster, index))?;
    let new = cluster.talk(60)?;
    ensure!(connections(&cluster, 0)? == 120, "{} connections of 120 by the old one", connections(&cluster, 0)?);
    ensure!(connections(&cluster, 1)? == 60, "{} connections of 60 by the new one", connections(&cluster, 1)?);
    let before = cluster.counts()?;
    for route in [&[0, 2][..], &[1], &[0, 1, 2]] {
        cluster.route(route.iter().copied())?;
        go_on(&new, Duration::from_secs(1))?;
    }
    cluster.expect_forwarded(&before, 100)?;
    [old, still_old, new].into_iter().try_for_each(|clients| clients.succeed().map(drop))?;
    expect_no_reset(&cluster)?;
    cluster.expect_nothing_lost()
}

/// The same, where no agent that runs has seen a record of the node: that of the rotation names it. Packets of its
/// connections are forwarded to where it was last.
#[test]
fn a_rotation_waits_for_a_node_that_nobody_remembers() -> Result<()> {
    let mut cluster = Cluster::new().etcd().set("dead_after", "\"3s\"").start()?;
    cluster.route([1])?;
    let clients = cluster.talk(30)?;
    cluster.node(1).wiring().cut_etcd()?;
    cluster.node(0).cli(&["cid", "rotate"])?.succeeded()?;
    [0, 2].into_iter().try_for_each(|index| await_reason(&cluster, index, 2, "although its lease has ended"))?;
    [0, 2].into_iter().try_for_each(|index| cluster.node_mut(index).restart())?;
    let before = cluster.counts()?;
    cluster.route([0, 2])?;
    go_on(&clients, Duration::from_secs(1))?;
    cluster.expect_forwarded(&before, 50)?;
    for index in [0, 2] {
        await_reason(&cluster, index, 2, "although its lease has ended")?;
        let shown = cluster.node(index).cli(&["nodes", "show", "2"])?;
        ensure!(shown.stdout.contains("although its lease has ended"), "{}", shown.stdout);
        await_waiting(&cluster, index)?;
    }
    go_on(&clients, LEASE_AND_MORE)?;
    [0, 2].into_iter().try_for_each(|index| await_waiting(&cluster, index))?;
    (0..3).try_for_each(|index| cluster.await_issued(index, 0))?;
    cluster.node(1).wiring().mend_etcd()?;
    (0..3).try_for_each(|index| cluster.await_issued(index, 1))?;
    (0..3).try_for_each(|index| await_no_problem(&cluster, index))?;
    cluster.route(0..3)?;
    go_on(&clients, Duration::from_secs(1))?;
    cluster.talk(30)?.succeed()?;
    clients.succeed()?;
    expect_no_reset(&cluster)?;
    cluster.expect_nothing_lost()
}

/// Point 3: a node that dies loses its lease, and is not heard: two witnesses. No operator has to say anything. Once it is
/// back, none of its new connections is answered for.
#[test]
fn a_node_that_dies_is_gone_by_two_witnesses() -> Result<()> {
    let mut cluster = Cluster::new().etcd().start()?;
    let clients = cluster.talk(90)?;
    let lost = cluster.node(1).control().status()?.totals.accepted;
    let died = Instant::now();
    cluster.kill(1)?;
    cluster.expect_resets(clients, lost, died + TO_BE_TOLD)?;
    let before = cluster.reset_for_others()?;
    cluster.mend(1)?;
    cluster.route([1])?;
    cluster.node_mut(1).start()?;
    let first = cluster.talk(30)?;
    cluster.route([0, 2])?;
    go_on(&first, Duration::from_secs(1))?;
    await_taking_new(&cluster, 1)?;
    cluster.route([1])?;
    let accepted = cluster.node(1).control().status()?.totals.accepted;
    let more = cluster.talk(30)?;
    let now = cluster.node(1).control().status()?.totals.accepted;
    ensure!(now == accepted + 30, "it keeps {} of 30 new connections", now - accepted);
    cluster.route([0, 2])?;
    go_on(&more, Duration::from_millis(500))?;
    [first, more].into_iter().try_for_each(|clients| clients.succeed().map(drop))?;
    let reset = cluster.reset_for_others()? - before;
    ensure!(reset == 0, "{reset} packets of its new connections were answered by others");
    Ok(())
}

/// The operator's word is enough: neither the end of the lease nor that of the silence is waited for. What waited for the
/// node goes on, and its number is never given again: should it come back, it is another node.
#[test]
fn a_node_that_is_forgotten_is_gone_at_once() -> Result<()> {
    let admin = format!("[admin]\naddress = \"{ADMIN}\"\n");
    let cluster =
        Cluster::new().etcd().set("dead_after", "\"120s\"").config(|config| config.rest.insert_str(0, &admin));
    let mut cluster = cluster.start()?;
    let clients = cluster.talk(90)?;
    let lost = cluster.node(1).control().status()?.totals.accepted;
    cluster.kill(1)?;
    cluster.node(0).cli(&["cid", "rotate"])?.succeeded()?;
    [0, 2].into_iter().try_for_each(|index| await_waiting(&cluster, index))?;
    expect_no_reset(&cluster)?;
    let names = cluster.names_in_etcd()?;
    ensure!(names.contains(&"nodes/2".to_owned()), "its lease has not ended: {names:?}");
    let forgotten = Instant::now();
    cluster.node(2).cli(&["nodes", "forget", "2"])?.succeeded()?;
    cluster.expect_resets(clients, lost, forgotten + AT_ONCE)?;
    cluster.await_state(2, NodeState::Gone)?;
    [0, 2].into_iter().try_for_each(|index| cluster.await_issued(index, 1))?;
    let names = cluster.names_in_etcd()?;
    let of_kind = |kind: &str| names.iter().filter_map(|name| name.strip_prefix(kind)).collect::<Vec<_>>();
    ensure!(of_kind("nodes/") == ["1", "3"] && of_kind("orders/") == ["2"], "{names:?}");
    ensure!(of_kind("ids/").len() == 2, "an incarnation still has the number: {names:?}");

    cluster.mend(1)?;
    cluster.node_mut(1).start()?;
    cluster.await_state(4, NodeState::Up)?;
    ensure!(numbers(&cluster)? == [1, 4, 3], "the one that came back is another: {:?}", numbers(&cluster)?);
    let index = cluster.add_node()?;
    cluster.node_mut(index).start()?;
    cluster.await_state(5, NodeState::Up)?;
    ensure!(numbers(&cluster)? == [1, 4, 3, 5], "a number was given twice: {:?}", numbers(&cluster)?);
    cluster.await_state(2, NodeState::Gone)?;
    cluster.route([1])?;
    let new = cluster.talk(30)?;
    ensure!(connections(&cluster, 1)? == 30, "{} connections of 30 by the new keys", connections(&cluster, 1)?);
    cluster.route(0..=index)?;
    new.succeed()?;
    ensure!(cluster.node(1).control().status()?.totals.accepted == 30, "the one that came back has not all of them");
    a_node_that_lives_and_is_forgotten_takes_nothing_new(&mut cluster, index)
}

/// It says so itself, keeps what it has, and sends what is new to the others.
fn a_node_that_lives_and_is_forgotten_takes_nothing_new(cluster: &mut Running, index: u8) -> Result<()> {
    await_taking_new(cluster, index)?;
    cluster.route([index])?;
    let kept = cluster.talk(20)?;
    let accepted = |cluster: &Running| Ok::<_, anyhow::Error>(cluster.node(index).control().status()?.totals.accepted);
    let before = accepted(cluster)?;
    cluster.node(0).cli(&["nodes", "forget", "5"])?.succeeded()?;
    until(|| cluster.node(index).control().cluster(), |seen| seen.forgotten.is_some())?;
    // By its hellos and theirs, longer than silence would be noticed.
    for pause in [0, 4] {
        go_on(&kept, Duration::from_secs(pause))?;
        let new = cluster.talk(20)?;
        ensure!(accepted(cluster)? == before, "it has taken {} more connections", accepted(cluster)? - before);
        new.succeed()?;
    }
    kept.succeed()?;
    await_reason(cluster, 0, 5, "an operator said `forget`, but it was heard")?;
    let health = Curl::over("--http1.1", cluster.node(index).wiring().namespace(), &format!("http://{ADMIN}/healthz"));
    let health = health.option("--write-out").option("%{http_code}").succeed()?;
    ensure!(health.split_whitespace().eq(["forgotten", "503"]), "{health}");
    let status = cluster.node(index).cli(&["cluster", "status"])?;
    ensure!(status.status.code() == Some(1) && status.stdout.contains("restart it"), "{status:?}");
    let problems = cluster.node(index).control().status()?.problems;
    ensure!(problems.iter().any(|problem| problem.contains("this node was forgotten by an operator")), "{problems:?}");
    let log = cluster.node(index).home().log();
    let said = log.lines().filter(|line| line.contains("forgotten by an operator")).count();
    ensure!(said == 1 && log.matches("not the number that this node was given").count() == 0, "{said} times: {log}");
    let names = cluster.names_in_etcd()?;
    ensure!(!names.contains(&"nodes/5".to_owned()), "it has put its record back: {names:?}");
    cluster.node_mut(index).restart()?;
    cluster.await_state(6, NodeState::Up)?;
    ensure!(numbers(cluster)? == [1, 4, 3, 6], "{:?}", numbers(cluster)?);
    await_taking_new(cluster, index)
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

/// Something becomes of etcd for longer than a lease lasts, or as long as `QUIC_ROUTER_ETCD_AWAY_SECONDS` says, and is
/// mended. No connection is lost, reset or drained, and in the end all nodes follow it again.
fn outlive(spoil: impl Fn(&mut Running) -> Result<()>, mend: impl Fn(&mut Running) -> Result<()>) -> Result<()> {
    let mut cluster = Cluster::new().etcd().set("dead_after", "\"3s\"").start()?;
    let clients = cluster.talk(90)?;
    be_without(&mut cluster, &clients, spoil, mend)?;
    clients.succeed()?;
    expect_no_reset(&cluster)?;
    cluster.expect_nothing_lost()
}

/// The same, while `clients` go on, and after it.
fn be_without(
    cluster: &mut Running,
    clients: &Clients,
    spoil: impl Fn(&mut Running) -> Result<()>,
    mend: impl Fn(&mut Running) -> Result<()>,
) -> Result<()> {
    spoil(cluster)?;
    (0..3).try_for_each(|index| await_live(cluster, index, Live::No))?;
    go_on(clients, away()?)?;
    expect_no_reset(cluster)?;
    (1..=3).try_for_each(|number| cluster.await_state(number, NodeState::Up))?;
    cluster.route([0, 2])?;
    go_on(clients, Duration::from_secs(1))?;
    cluster.talk(30)?.succeed()?;
    (1..=3).try_for_each(|number| cluster.await_state(number, NodeState::Up))?;
    mend(cluster)?;
    (0..3).try_for_each(|index| await_live(cluster, index, Live::Yes))?;
    go_on(clients, LEASE_AND_MORE)?;
    (1..=3).try_for_each(|number| cluster.await_state(number, NodeState::Up))
}

/// How long etcd is away: not shorter than a lease lasts.
fn away() -> Result<Duration> {
    let seconds = env::var("QUIC_ROUTER_ETCD_AWAY_SECONDS").map_or(Ok(0), |text| text.parse());
    let seconds = seconds.context("QUIC_ROUTER_ETCD_AWAY_SECONDS is a number of seconds")?;
    Ok(LEASE_AND_MORE.max(Duration::from_secs(seconds)))
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

/// All other nodes have records again, of their own and not only kept for a while, and are heard.
fn await_records(cluster: &Running, index: u8) -> Result<()> {
    let all_are_there = |seen: &api::Cluster| {
        let mut others = seen.nodes.iter().filter(|node| !node.this);
        seen.nodes.len() == 3 && others.all(|node| node.why.starts_with("heard ") && !node.why.contains("although"))
    };
    until(|| cluster.node(index).control().cluster(), all_are_there).map(drop)
}

/// The numbers of all nodes, as each knows its own.
fn numbers(cluster: &Running) -> Result<Vec<u16>> {
    cluster.nodes().iter().map(|node| Ok(node.control().cluster()?.node)).collect()
}

/// What a node says of another has these words.
fn await_reason(cluster: &Running, index: u8, number: u16, words: &str) -> Result<()> {
    let has_words =
        |seen: &api::Cluster| seen.nodes.iter().any(|node| node.number == number && node.why.contains(words));
    until(|| cluster.node(index).control().cluster(), has_words).map(drop)
}

/// A node takes new connections itself.
fn await_taking_new(cluster: &Running, index: u8) -> Result<()> {
    let takes = |seen: &api::Cluster| seen.nodes.iter().any(|node| node.this && node.takes_new_connections);
    until(|| cluster.node(index).control().cluster(), takes).map(drop)
}

/// A node says for whom the rotation waits.
fn await_waiting(cluster: &Running, index: u8) -> Result<()> {
    let words = "connection IDs: configuration 1 waits until nodes 2 decode by it";
    let says_so = |problems: &Vec<String>| problems.iter().any(|problem| problem == words);
    until(|| Ok(cluster.node(index).control().status()?.problems), says_so).map(drop)
}

fn await_no_problem(cluster: &Running, index: u8) -> Result<()> {
    until(|| Ok(cluster.node(index).control().status()?.problems), Vec::is_empty).map(drop)
}

/// Connections of all nodes that were accepted while the configuration `rotation` was issued.
fn connections(cluster: &Running, rotation: u8) -> Result<u64> {
    let of_node = |node: &Node| {
        let all = node.control().cid_configurations()?;
        Ok(all.iter().filter(|one| one.rotation == rotation).map(|one| one.connections).sum::<u64>())
    };
    cluster.nodes().iter().map(of_node).sum()
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

const ADMIN: &str = "127.0.0.1:9180";
/// What takes neither a lease (ten seconds) nor `dead_after`.
const AT_ONCE: Duration = Duration::from_secs(5);
/// A lease lasts ten seconds.
const LEASE_AND_MORE: Duration = Duration::from_secs(15);
/// A lease and `dead_after`, ten seconds each, end at about the same time; clients ask more and more seldom.
const TO_BE_TOLD: Duration = Duration::from_secs(20);
