//! Does a node that starts while etcd is away issue connection IDs only where nothing can have overtaken it?

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    cluster::{Cluster, Node, Running},
    peers::Curl,
    until,
};
use router_userspace::agent::api::{self, NodeState};
use serde_json::{Value, json};

/// All nodes restart, one after the other: each has the word of those that were there before.
#[test]
fn nodes_restart_while_etcd_is_away() -> Result<()> {
    let mut cluster = Cluster::new().etcd().set("dead_after", "\"3s\"").start()?;
    cluster.stop_etcd()?;
    (0..3).try_for_each(|index| await_live(&cluster, index, Live::No))?;
    for index in 0..3 {
        let rest = (0..3).filter(|other| *other != index);
        cluster.route(rest)?;
        drop(cluster.node_mut(index).take_agent()?.terminate()?);
        // It is of a time that says nothing any more.
        make_older(cluster.node(index), 3 * LIFETIME)?;
        cluster.node_mut(index).start()?;
        cluster.await_together()?;
        await_taking(&cluster, index, Taking::Yes)?;
        cluster.route(0..3)?;
        cluster.talk(60)?.succeed()?;
        ensure!(accepted(&cluster, index)? > 0, "node {} has no connection", index + 1);
    }
    cluster.start_etcd()?;
    (0..3).try_for_each(|index| await_live(&cluster, index, Live::Yes))?;
    (1..=3).try_for_each(|number| cluster.await_state(number, NodeState::Up))?;
    cluster.talk(60)?.succeed()?;
    cluster.expect_nothing_lost()
}

/// Nobody is there who could say that nothing has changed: the age of what was noted decides.
#[test]
fn a_node_that_is_alone_goes_by_the_age_of_what_it_noted() -> Result<()> {
    let admin = format!("[admin]\naddress = \"{ADMIN}\"\n");
    let mut cluster = Cluster::new().nodes(1).etcd().config(|config| config.rest.insert_str(0, &admin)).start()?;
    cluster.stop_etcd()?;
    await_live(&cluster, 0, Live::No)?;
    drop(cluster.node_mut(0).take_agent()?.terminate()?);
    cluster.node_mut(0).start()?;
    await_live(&cluster, 0, Live::No)?;
    await_taking(&cluster, 0, Taking::Yes)?;
    ensure!(health(&cluster)? == "ok 200", "of a moment ago: {}", health(&cluster)?);
    cluster.talk(20)?.succeed()?;

    drop(cluster.node_mut(0).take_agent()?.terminate()?);
    make_older(cluster.node(0), LIFETIME + Duration::from_secs(1))?;
    cluster.node_mut(0).start()?;
    await_taking(&cluster, 0, Taking::No)?;
    ensure!(health(&cluster)? == "unconfirmed 503", "of long ago: {}", health(&cluster)?);
    let problems = cluster.node(0).control().status()?.problems;
    let words = "no new connections until the engine can be asked: what is known is from 36";
    ensure!(problems.iter().any(|problem| problem.contains(words)), "{problems:?}");
    let refused = cluster.quic_go().get("/bytes/1000").connections(5).run()?;
    ensure!(refused.errors.values().sum::<u64>() == 5 && accepted(&cluster, 0)? == 0, "not refused: {refused:?}");
    ensure!(issued(&cluster, 0)? == 0, "{} connection IDs were issued", issued(&cluster, 0)?);

    cluster.start_etcd()?;
    await_live(&cluster, 0, Live::Yes)?;
    await_taking(&cluster, 0, Taking::Yes)?;
    ensure!(health(&cluster)? == "ok 200", "confirmed: {}", health(&cluster)?);
    cluster.talk(20)?.succeed().map(drop)
}

/// The others have rotated while it was down, and it cannot reach etcd. What it noted a moment ago they decode yet, and it
/// goes on by that; but it says that it is no node to send to. What it noted long ago they may not.
#[test]
fn a_node_that_was_overtaken_is_not_ready() -> Result<()> {
    let mut cluster = Cluster::new().etcd().set("dead_after", "\"3s\"").start()?;
    cluster.node_mut(1).take_agent()?.kill()?;
    cluster.route([0, 2])?;
    cluster.await_state(2, NodeState::Gone)?;
    cluster.node(0).cli(&["cid", "rotate"])?.succeeded()?;
    [0, 2].into_iter().try_for_each(|index| cluster.await_issued(index, 1))?;

    cluster.node(1).wiring().cut_etcd()?;
    cluster.route([1])?;
    cluster.node_mut(1).start()?;
    let clients = cluster.talk(30)?;
    let before = cluster.counts()?;
    cluster.route([0, 2])?;
    await_outdated(&cluster, 1)?;
    cluster.await_issued(1, 0)?;
    // It is gone no more: it is heard, without a record.
    cluster.await_state(2, NodeState::Silent)?;
    ensure!(accepted(&cluster, 1)? == 30, "it sends new connections to nodes whose keys it lacks");
    ensure!(!clients.ends_within(Duration::from_secs(2)), "the clients ended: {}", clients.said());
    cluster.expect_forwarded(&before, 100)?;
    clients.succeed()?;
    let reset = cluster.reset_for_others()?;
    ensure!(reset == 0, "{reset} packets of its connections were answered by nodes that had yet to hear it");

    drop(cluster.node_mut(1).take_agent()?.terminate()?);
    make_older(cluster.node(1), 2 * LIFETIME)?;
    cluster.node_mut(1).start()?;
    await_outdated(&cluster, 1)?;
    cluster.route([1])?;
    let refused = cluster.quic_go().get("/bytes/1000").connections(5).run()?;
    ensure!(refused.errors.values().sum::<u64>() == 5 && accepted(&cluster, 1)? == 0, "not refused: {refused:?}");
    ensure!(issued(&cluster, 1)? == 0, "{} connection IDs were issued", issued(&cluster, 1)?);

    cluster.node(1).wiring().mend_etcd()?;
    await_live(&cluster, 1, Live::Yes)?;
    await_taking(&cluster, 1, Taking::Yes)?;
    cluster.await_issued(1, 1)?;
    cluster.talk(20)?.succeed()?;
    ensure!(accepted(&cluster, 1)? == 20, "it takes no new connections");
    Ok(())
}

/// The next generation goes on as the one before, however long etcd has been away.
#[test]
fn an_upgrade_needs_no_etcd() -> Result<()> {
    let mut cluster = Cluster::new().nodes(1).etcd().start()?;
    cluster.stop_etcd()?;
    await_live(&cluster, 0, Live::No)?;
    make_older(cluster.node(0), 3 * LIFETIME)?;
    let clients = cluster.talk(20)?;
    cluster.node(0).upgrade(None)?;
    await_live(&cluster, 0, Live::No)?;
    await_taking(&cluster, 0, Taking::Yes)?;
    cluster.talk(20)?.succeed()?;
    clients.succeed().map(drop)
}

/// A host is told before its agent starts what stands in its way, and nothing changes by that.
#[test]
fn join_check_names_what_stands_in_the_way() -> Result<()> {
    let mut cluster = Cluster::new().nodes(2).etcd().start()?;
    drop(cluster.node_mut(1).take_agent()?.terminate()?);
    until(|| cluster.names_in_etcd(), |names| !names.contains(&"nodes/2".to_owned()))?;
    let names = cluster.names_in_etcd()?;

    ensure!(join_check(&cluster, 1)?.is_empty(), "a node that was there before: {:?}", join_check(&cluster, 1)?);
    // Its agent is told apart from others.
    ensure!(join_check(&cluster, 0)?.is_empty(), "a node whose agent runs: {:?}", join_check(&cluster, 0)?);
    cluster.node_mut(1).reconfigure(|config| config.set_connection_id("length", "12"));
    let failed = join_check(&cluster, 1)?;
    ensure!(
        matches!(&failed[..], [one] if one.starts_with("connection_id: connection_id.length is 12 here")),
        "{failed:?}"
    );
    // So does the agent say, which does not start.
    let refused = cluster.node_mut(1).start().expect_err("it has another length");
    ensure!(format!("{refused:#}").contains("connection_id.length"), "{refused:#}");
    cluster.node_mut(1).reconfigure(|config| config.set_connection_id("length", "17"));
    cluster.stop_etcd()?;
    let failed = join_check(&cluster, 1)?;
    ensure!(matches!(&failed[..], [one] if one.starts_with("engine: ")), "{failed:?}");

    cluster.start_etcd()?;
    ensure!(cluster.names_in_etcd()? == names, "it has changed something: {:?}", cluster.names_in_etcd()?);
    cluster.node_mut(1).start()?;
    cluster.await_state(2, NodeState::Up)
}

/// The same where a file lists the nodes.
#[test]
fn join_check_looks_for_a_host_in_the_list() -> Result<()> {
    let mut cluster = Cluster::new().nodes(2).start()?;
    drop(cluster.node_mut(1).take_agent()?.terminate()?);
    ensure!(join_check(&cluster, 1)?.is_empty(), "{:?}", join_check(&cluster, 1)?);
    cluster.change_members(|nodes| nodes.truncate(1))?;
    // The configuration itself is wrong then, for an agent as well.
    let refused = cluster.node(1).cli_by_config(&["cluster", "join-check"])?;
    let own = cluster.node(1).wiring().tunnel().ip();
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(refused.stderr.contains(&format!("has no node with the address {own}\ntry: [[node]]")), "{refused:?}");
    Ok(())
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

/// Whether a node is ready for new connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taking {
    Yes,
    No,
}

fn await_taking(cluster: &Running, index: u8, taking: Taking) -> Result<()> {
    let is_so = taking == Taking::Yes;
    until(|| cluster.node(index).control().cluster(), |seen| seen.unconfirmed.is_none() == is_so).map(drop)
}

/// A node has heard of keys that it lacks.
fn await_outdated(cluster: &Running, index: u8) -> Result<()> {
    let says_so = |seen: &api::Cluster| {
        seen.unconfirmed.as_ref().is_some_and(|why| why.starts_with("out of date: node ") && !seen.live)
    };
    until(|| cluster.node(index).control().cluster(), says_so).map(drop)
}

/// Connections that a node has accepted in this run.
fn accepted(cluster: &Running, index: u8) -> Result<u64> {
    Ok(cluster.node(index).control().status()?.totals.accepted)
}

/// Connection IDs that a node has issued in this run.
fn issued(cluster: &Running, index: u8) -> Result<u64> {
    Ok(cluster.node(index).control().cid_configurations()?.iter().map(|one| one.issued).sum())
}

/// What a node that does not run has noted of the cluster is older by now.
fn make_older(node: &Node, by: Duration) -> Result<()> {
    let path = node.home().path("state").join("cluster-snapshot");
    let mut noted: Value = serde_json::from_slice(&fs::read(&path).with_context(|| path.display().to_string())?)?;
    let then = SystemTime::now().duration_since(UNIX_EPOCH)? - by;
    noted["confirmed"] = json!(then.as_secs());
    Ok(fs::write(&path, noted.to_string())?)
}

/// What `cluster join-check` says of a host that fails: the theme and the finding of each. By its exit code, too.
fn join_check(cluster: &Running, index: u8) -> Result<Vec<String>> {
    let said = cluster.node(index).cli_by_config(&["cluster", "join-check", "--json"])?;
    let findings: Value =
        serde_json::from_str(&said.stdout).with_context(|| format!("{}{}", said.stdout, said.stderr))?;
    let findings = findings["findings"].as_array().context("no findings")?;
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let failed = findings.iter().filter(|one| text(one, "level") == "fail");
    let failed: Vec<_> = failed.map(|one| format!("{}: {}", text(one, "theme"), text(one, "finding"))).collect();
    ensure!(said.status.code() == Some(i32::from(!failed.is_empty())), "{:?}: {failed:?}", said.status);
    Ok(failed)
}

/// What the admin listener of the first node says to load balancers, and its status.
fn health(cluster: &Running) -> Result<String> {
    let (node, url) = (cluster.node(0).wiring().namespace(), format!("http://{ADMIN}/healthz"));
    let said = Curl::over("--http1.1", node, &url).option("--write-out").option(" %{http_code}").succeed()?;
    Ok(said.replace('\n', ""))
}

const ADMIN: &str = "127.0.0.1:9180";
/// `connection_id.lifetime`, by default.
const LIFETIME: Duration = Duration::from_secs(3_600);
