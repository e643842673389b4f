//! Do connections stay while nodes of a cluster join, drain, are upgraded, die, or cannot hear each other?

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use router_tests::lab::{
    Program, Towards, binary, binary_before,
    cluster::{Cluster, MemberState, Node, Pair, Running, TUNNEL_PORT},
    datagram::{Datagram, End},
    peers::Clients,
    signal, until,
};
use router_userspace::agent::api::NodeState;

/// Point 4: with plain ECMP a node that joins takes flows of all others, which it forwards; new connections are its own.
#[test]
fn a_node_that_joins_under_load_costs_no_connection() -> Result<()> {
    let mut cluster = Cluster::new().nodes(2).start()?;
    let before = cluster.counts()?;
    let clients = cluster.talk(100)?;
    let index = cluster.add_node()?;
    cluster.change_members(|_| {})?;
    cluster.node_mut(index).start()?;
    cluster.await_together()?;
    cluster.route(0..=index)?;
    let joined = Instant::now();
    let more = cluster.talk(100)?;
    let first = joined.elapsed();
    let accepted = cluster.node(index).control().status()?.totals.accepted;
    ensure!(accepted > 0 && first < TO_TAKE_PART, "after {first:?} the new node has {accepted} connections");
    clients.succeed()?;
    more.succeed()?;
    cluster.expect_forwarded(&before, 100)?;
    cluster.expect_nothing_lost()
}

/// It keeps its connections, and what the router still sends it of new ones, others take: where the list says that it
/// drains, and where it is told to stop.
#[test]
fn a_draining_node_keeps_its_connections_and_gets_no_new_ones() -> Result<()> {
    let mut cluster = Cluster::new().config(|config| config.set_router("drain_timeout", "\"60s\"")).start()?;
    let clients = cluster.talk(90)?;
    cluster.change_members(|nodes| nodes[1].state = MemberState::Draining)?;
    let kept = cluster.node(1).control().status()?.totals.accepted;
    cluster.await_state(2, NodeState::Draining)?;
    let more = cluster.talk(90)?;
    let now = cluster.node(1).control().status()?.totals.accepted;
    ensure!(kept > 0 && now == kept, "it had {kept} connections, and has taken {} more", now - kept);
    cluster.change_members(|nodes| nodes[1].state = MemberState::Up)?;
    cluster.await_state(2, NodeState::Up)?;
    cluster.talk(90)?.succeed()?;
    let now = cluster.node(1).control().status()?.totals.accepted;
    ensure!(now > kept, "it is up again, and has taken none");
    let kept = now;
    signal(cluster.node(1).agent()?.pid()?.try_into()?, Signal::SIGTERM)?;
    let takes = || Ok(cluster.node(0).control().cluster()?.nodes[1].takes_new_connections);
    until(takes, |takes| !takes)?;
    cluster.talk(90)?.succeed()?;
    let now = cluster.node(1).control().status()?.totals.accepted;
    ensure!(now == kept, "it stops, and has taken {} more", now - kept);
    cluster.expect_nothing_lost()?;
    clients.succeed()?;
    more.succeed()?;
    Ok(())
}

/// The router learns by BGP which nodes have the addresses: each node's routing daemon announces what its agent says, in a
/// routing table.
#[test]
fn a_node_that_takes_no_new_connections_is_announced_no_more() -> Result<()> {
    let mut cluster = announcing(Cluster::new().etcd()).start()?;
    cluster.announce_by_bgp(TABLE)?;
    cluster.await_learned(&[0, 1, 2])?;
    let clients = cluster.talk(90)?;
    cluster.node(0).cli(&["nodes", "drain", "2"])?.succeeded()?;
    cluster.await_learned(&[0, 2])?;
    let status = cluster.node(1).cli(&["cluster", "status"])?.stdout;
    let row = "announced        no, routing table 100; this node takes no new connections\n";
    ensure!(status.contains(row), "{status}");
    let kept = cluster.node(1).control().status()?.totals.accepted;
    let more = cluster.talk(60)?;
    let now = cluster.node(1).control().status()?.totals.accepted;
    ensure!(kept > 0 && now == kept, "it had {kept} connections, and has taken {} more", now - kept);
    cluster.node(0).cli(&["nodes", "undrain", "2"])?.succeeded()?;
    cluster.await_learned(&[0, 1, 2])?;
    let status = cluster.node(1).cli(&["status"])?.stdout;
    ensure!(status.contains("\nannounced: yes, routing table 100: 10.80.0.1, fd80::1\n"), "{status}");
    cluster.talk(60)?.succeed()?;
    let now = cluster.node(1).control().status()?.totals.accepted;
    ensure!(now > kept, "it is in the route again, and has taken none");
    [clients, more].into_iter().try_for_each(|clients| clients.succeed().map(drop))?;
    cluster.expect_nothing_lost()
}

/// The routes for the routing daemon through the life of agents, one after the other.
#[test]
fn what_is_announced_outlives_an_upgrade_and_a_kill_and_no_stop() -> Result<()> {
    let both = ["10.80.0.1 100", "fd80::1 100"];
    let mut cluster = announcing(Cluster::new().nodes(1)).start()?;
    let namespace = cluster.node(0).wiring().namespace();
    // Not ours, and so left alone: the first keeps a route of ours away.
    namespace.ip("route add blackhole 10.80.0.1 table 101\nroute add blackhole 10.80.0.9 table 100 proto static\n")?;
    cluster.node(0).await_announced(&both)?;
    let mut command = namespace.command("ip");
    let monitor = Program::start("ip monitor", command.args(["monitor", "route"]))?;
    // It listens.
    until(
        || {
            namespace.ip("route add blackhole 10.80.0.7 table 100\nroute del blackhole 10.80.0.7 table 100\n")?;
            Ok(monitor.said())
        },
        |said| !said.is_empty(),
    )?;
    cluster.node(0).upgrade(None)?;
    until(|| Ok(cluster.node(0).control().status()?.generations.len()), |generations| *generations == 1)?;
    cluster.node(0).await_announced(&both)?;
    // The last that is seen is this; nothing of what was there has changed before.
    namespace.ip("route add blackhole 10.80.0.8 table 100\n")?;
    monitor.await_line("blackhole 10.80.0.8 ", Duration::from_secs(5))?;
    let (said, ours) = (monitor.said(), ["10.80.0.1 ", "fd80::1 "]);
    ensure!(!ours.iter().any(|address| said.contains(address)), "the upgrade has changed routes: {said}");
    // A table that has a route of somebody else's to the address.
    cluster.node_mut(0).reload(|config| config.rest = config.rest.replace("table = 100", "table = 101"))?;
    cluster.node(0).await_announced(&["fd80::1 101"])?;
    let status = cluster.node(0).cli(&["status"])?.stdout;
    let said = "announced: no, routing table 101: fd80::1; no route to 10.80.0.1: File exists (os error 17)";
    ensure!(status.contains(said), "{status}");
    cluster.node(0).wiring().namespace().ip("route del blackhole 10.80.0.1 table 101\n")?;
    cluster.node(0).await_announced(&["10.80.0.1 101", "fd80::1 101"])?;
    // Killed, it leaves them; the next one takes them over but for what it does not want.
    cluster.node_mut(0).take_agent()?.kill()?;
    cluster.node_mut(0).reconfigure(|config| config.listeners = vec!["10.80.0.1:443".into()]);
    ensure!(cluster.node(0).announced()?.len() == 2, "a killed agent has removed routes");
    cluster.node_mut(0).start()?;
    cluster.node(0).await_announced(&["10.80.0.1 101"])?;
    cluster.node_mut(0).take_agent()?.terminate()?;
    cluster.node(0).await_announced(&[])?;
    // Killed for good.
    cluster.node_mut(0).start()?;
    cluster.node(0).await_announced(&["10.80.0.1 101"])?;
    cluster.node_mut(0).take_agent()?.kill()?;
    let detached = cluster.node(0).cli_by_config(&["detach"])?.succeeded()?.stdout;
    ensure!(detached.contains("removed the route to 10.80.0.1 in routing table 101\n"), "{detached}");
    cluster.node(0).await_announced(&[])
}

/// It may change no routes: it says so, and serves all the same.
#[test]
fn a_node_that_may_not_announce_serves() -> Result<()> {
    let cluster = announcing(Cluster::new().nodes(1).engines(&["userspace"])).config(|config| {
        let without = ["setpriv", "--inh-caps", "-net_admin", "--bounding-set", "-net_admin"];
        config.under = without.map(str::to_owned).into();
    });
    let cluster = cluster.start()?;
    let refused = ["10.80.0.1", "fd80::1"].map(|to| format!("no route to {to}: Operation not permitted (os error 1)"));
    let said = format!("announced: no, routing table 100; {}\n", refused.join(", "));
    until(|| Ok(cluster.node(0).cli(&["status"])?.stdout), |status| status.contains(&said))?;
    cluster.talk(10)?.succeed()?;
    let log = cluster.node(0).home().log();
    ensure!(log.matches("announce_table: routing table 100: no route to").count() == 1, "{log}");
    Ok(())
}

/// With listeners on the addresses that the nodes share, which are announced by [`TABLE`].
fn announcing(cluster: Cluster) -> Cluster {
    let cluster = cluster.set("announce_table", &TABLE.to_string());
    cluster.config(|config| config.listeners = vec!["10.80.0.1:443".into(), "[fd80::1]:443".into()])
}

/// Point 14: one node after the other is replaced, while packets cross between those that are and those that are not, each
/// way between any two. What is replaced is an earlier version, if the tests are run with one.
#[test]
fn upgrades_node_by_node_lose_no_connection() -> Result<()> {
    let mut cluster = of_before(Cluster::new())?.start()?;
    let before = cluster.counts()?;
    let clients = cluster.talk(90)?;
    for index in 0..3 {
        cluster.node_mut(index).upgrade_to(&binary()?)?;
        cluster.await_together()?;
        let mut silent: BTreeSet<_> = pairs(&cluster.pairs()?).into_keys().collect();
        for only in 0..3 {
            let before = pairs(&cluster.pairs()?);
            cluster.route([only])?;
            // Not a wait for something to happen: the changes' rhythm.
            clients_go_on_for(&clients, Duration::from_millis(300))?;
            let now = pairs(&cluster.pairs()?);
            silent.retain(|pair| now[pair].iter().zip(before[pair]).any(|(now, before)| *now <= before));
        }
        ensure!(silent.is_empty(), "with node {} upgraded, nothing crosses from and to {silent:?}", index + 1);
    }
    cluster.expect_forwarded(&before, 100)?;
    clients.succeed().map(drop)
}

/// The same with etcd: what one version writes there, or to a file, the other reads. Keys are rotated and nodes are drained at
/// the word of either. One node is replaced not by an upgrade, but while it is stopped, and starts while etcd is away.
#[test]
fn keys_are_rotated_and_nodes_drained_while_they_are_upgraded() -> Result<()> {
    let mut cluster = of_before(Cluster::new().etcd().engines(&["reuseport", "xdp", "xdp"]))?.start()?;
    drain_and_undrain(&cluster, 0)?;
    cluster.node_mut(2).take_agent()?.terminate()?;
    cluster.stop_etcd()?;
    cluster.node_mut(2).install(&binary()?)?;
    cluster.node_mut(2).start()?;
    cluster.await_together()?;
    let unconfirmed = cluster.node(2).control().cluster()?.unconfirmed;
    ensure!(unconfirmed.is_none(), "it goes by what it noted a moment ago: {unconfirmed:?}");
    cluster.start_etcd()?;
    expect_no_problem(&cluster)?;
    let clients = cluster.talk(60)?;
    for (index, rotation) in (0..3).zip(1..) {
        cluster.node(index).cli(&["cid", "rotate"])?.succeeded()?;
        (0..3).try_for_each(|node| cluster.await_issued(node, rotation))?;
        drain_and_undrain(&cluster, index)?;
        cluster.route([0, 1, 2].into_iter().filter(|other| *other != index))?;
        cluster.talk(30)?.succeed()?;
        cluster.route(0..3)?;
        expect_no_problem(&cluster)?;
        if index < 2 {
            cluster.node_mut(index).install(&binary()?)?;
            // The agent is still of the version before.
            VERBS.iter().try_for_each(|verb| cluster.node(index).cli(verb)?.succeeded().map(drop))?;
            cluster.node_mut(index).upgrade_to(&binary()?)?;
            cluster.await_together()?;
        }
    }
    ensure!(cluster.reset_for_others()? == 0, "a living node's connections were reset");
    clients.succeed().map(drop)
}

/// Each node follows etcd, and has nothing to say against the others.
fn expect_no_problem(cluster: &Running) -> Result<()> {
    let problems = || {
        let of_node = |node: &Node| {
            let seen = node.control().cluster()?;
            let mut problems = node.control().status()?.problems;
            problems.extend(seen.why);
            let others = seen.nodes.iter().filter(|other| !other.this && other.same_listeners != Some(true));
            problems.extend(others.map(|other| format!("other listeners, says node {}, has {other:?}", seen.node)));
            Ok(problems)
        };
        cluster.nodes().iter().map(of_node).collect::<Result<Vec<_>>>().map(|all| all.concat())
    };
    until(problems, Vec::is_empty).map(drop)
}

/// One node has the next drained, and up again: the others place nothing there meanwhile.
fn drain_and_undrain(cluster: &Running, index: u8) -> Result<()> {
    let drained = (index + 1) % 3;
    let number = cluster.node(drained).number();
    let order = |verb: &str| cluster.node(index).cli(&["nodes", verb, &number.to_string()])?.succeeded().map(drop);
    order("drain")?;
    cluster.await_state(number, NodeState::Draining)?;
    let accepted = || cluster.node(drained).control().status().map(|status| status.totals.accepted);
    let more = || {
        let before = accepted()?;
        cluster.talk(30)?.succeed()?;
        Ok(accepted()? - before)
    };
    // The node itself may hear of it last, and takes some until then.
    until(more, |more| *more == 0).with_context(|| format!("node {number} takes new connections"))?;
    order("undrain")?;
    cluster.await_state(number, NodeState::Up)
}

/// Nodes that run the version which is replaced in tests of upgrades, and keep connections as long as these last.
fn of_before(cluster: Cluster) -> Result<Cluster> {
    let cluster = cluster.installed(binary_before()?);
    Ok(cluster.config(|config| config.set_router("drain_timeout", "\"300s\"")))
}

/// What crossed from one node to another, at either end, by their numbers.
fn pairs(pairs: &[Pair]) -> BTreeMap<[u16; 2], [u64; 2]> {
    pairs.iter().map(|pair| ([pair.from, pair.to], [pair.forwarded, pair.unwrapped])).collect()
}

/// The rotation of connection IDs by hand: all nodes decode the new ones before any issues them.
#[test]
fn connection_ids_are_rotated_node_by_node() -> Result<()> {
    let mut cluster = Cluster::new().start()?;
    let clients = cluster.talk(60)?;
    for [announced, issuing] in [["[1, 2]", "1"], ["[1, 2]", "2"]] {
        cluster.announce(announced, issuing)?;
        cluster.route([0, 2])?;
        clients_go_on(&clients)?;
        cluster.route([1])?;
        clients_go_on(&clients)?;
        cluster.route(0..3)?;
        cluster.talk(30)?.succeed()?;
    }
    clients.succeed()?;
    // Nobody has a connection ID of the first one any more.
    cluster.announce("[2]", "2")?;
    cluster.talk(30)?.succeed()?;
    cluster.expect_nothing_lost()
}

/// Point 3: when the operator's list says that it is gone, and it is silent, others tell its clients so.
#[test]
fn connections_of_a_node_that_dies_are_reset_by_the_others() -> Result<()> {
    let mut cluster = Cluster::new().start()?;
    let clients = cluster.talk(90)?;
    let lost = cluster.node(1).control().status()?.totals.accepted;
    let died = Instant::now();
    cluster.kill(1)?;
    cluster.change_members(|nodes| nodes.retain(|node| node.number != 2))?;
    cluster.expect_resets(clients, lost, died + TO_BE_TOLD)
}

/// Point 9: hellos are lost, and nothing else. The node cannot be told from a dead one, and lives.
#[test]
fn a_node_that_is_not_heard_keeps_its_connections() -> Result<()> {
    let is_cut = Arc::new(AtomicBool::new(false));
    let cut = is_cut.clone();
    let cluster = Cluster::new().set("dead_after", "\"2s\"").relay(1, move |_: Towards, frame| {
        if cut.load(Ordering::Relaxed) && is_hello(frame) { Vec::new() } else { vec![frame.to_vec()] }
    });
    let mut cluster = cluster.start()?;
    let clients = cluster.talk(90)?;
    is_cut.store(true, Ordering::Relaxed);
    cluster.await_state(2, NodeState::Unreachable)?;
    // As long again as it takes to be given up, were it for the silence alone.
    ensure!(!clients.ends_within(Duration::from_secs(4)), "the clients ended: {}", clients.said());
    ensure!(cluster.reset_for_others()? == 0, "a living node's connections were reset");
    is_cut.store(false, Ordering::Relaxed);
    cluster.await_state(2, NodeState::Up)?;
    cluster.route([0, 2])?;
    clients_go_on(&clients)?;
    clients.succeed()?;
    ensure!(cluster.reset_for_others()? == 0, "a living node's connections were reset");
    cluster.expect_nothing_lost()
}

/// Whether a frame has what nodes tell each other: a control message of GUE, version 0.
fn is_hello(frame: &[u8]) -> bool {
    let mut frame = frame.to_vec();
    let Some(datagram) = Datagram::of(&mut frame) else { return false };
    datagram.port(End::Destination) == TUNNEL_PORT && datagram.payload()[0] & 0xe0 == 0x20
}

fn clients_go_on(clients: &Clients) -> Result<()> {
    clients_go_on_for(clients, Duration::from_millis(500))
}

fn clients_go_on_for(clients: &Clients, time: Duration) -> Result<()> {
    ensure!(!clients.ends_within(time), "the clients ended: {}", clients.said());
    Ok(())
}

/// `[cluster] announce_table`
const TABLE: u32 = 100;
/// What an operator looks at.
const VERBS: [&[&str]; 5] =
    [&["status"], &["cluster", "status"], &["nodes", "list"], &["workers", "list"], &["cid", "list"]];
/// How soon a node that joins has to have some of 100 new connections.
const TO_TAKE_PART: Duration = Duration::from_secs(2);
/// `dead_after` is ten seconds; clients ask more and more seldom.
const TO_BE_TOLD: Duration = Duration::from_secs(15);
