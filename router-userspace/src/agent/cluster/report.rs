//! The cluster, for people.

use std::time::{Instant, SystemTime};

use router_cluster::{
    confirmation::Standing,
    hello::WayReport,
    membership::{Freshness, Member, NodeNumber, NodeState},
};
use router_common::{
    maps::{self, NodeCounters},
    reason::Reason,
};

use super::{
    Cluster,
    component::difference,
    orders,
    others::{Other, id},
    table::node_state,
};
use crate::{
    agent::{
        api::{self, SCHEMA},
        node::Node,
    },
    config::{self, NewConnections},
    worker::TunnelCounts,
};

/// All that is known of it; none where there is no cluster.
pub(in crate::agent) fn describe(node: &Node) -> Option<api::Cluster> {
    let config = node.serving.config();
    let (cluster, config) = (node.cluster.as_ref()?, config.cluster.as_ref()?);
    let view = cluster.view();
    let list = node.steering.tables().nodes();
    let counts = cluster.tunnel().counts();
    let mut nodes = others(node, cluster, &counts);
    nodes.push(own(cluster, node, config));
    nodes.sort_by_key(|node| node.number);
    let awaited = orders::awaited(cluster);
    let by_sockets = counts.received.get(Reason::TunnelForged);
    Some(api::Cluster {
        schema: SCHEMA,
        name: config.name.clone(),
        engine: config.engine.name().to_owned(),
        members: config.engine.members().map(|members| members.display().to_string()),
        node: cluster.own().get(),
        tunnel: config.tunnel().to_string(),
        live: view.freshness.is_live(),
        synced_age_seconds: view.freshness.age_seconds(SystemTime::now()),
        why: match &view.freshness {
            Freshness::Live => None,
            Freshness::LastKnown { why, .. } | Freshness::Unread { why } => Some(why.clone()),
        },
        unconfirmed: unconfirmed(cluster).map(|standing| standing.to_string()),
        forgotten: cluster.forgotten().map(str::to_owned),
        revision: view.state.revision,
        rotation_waits_for: awaited.into_iter().flat_map(|(_, nodes)| nodes).map(NodeNumber::get).collect(),
        new_connections: match config.new_connections {
            NewConnections::Local => "local".to_owned(),
            NewConnections::Hash => "hash".to_owned(),
        },
        max_udp_payload_size_ipv4: list.max_udp_payload_size(true),
        max_udp_payload_size_ipv6: list.max_udp_payload_size(false),
        nodes,
        announced: cluster.announcer().describe(),
        forged: by_sockets + node.steering.tunnel_forged(),
    })
}

/// Why clients are better off elsewhere, in a sentence; none if they are not.
pub(in crate::agent) fn why_not_ready(node: &Node) -> Option<String> {
    let cluster = node.cluster.as_ref()?;
    if let Some(why) = cluster.forgotten() {
        return Some(format!("cluster: no new connections: {why}"));
    }
    let standing = unconfirmed(cluster)?;
    let what = if standing.may_issue() { "not ready" } else { "no new connections" };
    Some(format!("cluster: {what} until the engine can be asked: what is known is {standing}"))
}

/// How it stands where the engine has yet to say whether what is known is of now.
fn unconfirmed(cluster: &Cluster) -> Option<Standing> {
    Some(cluster.standing()).filter(|standing| !standing.is_ready() && *standing != Standing::Forgotten)
}

fn others(node: &Node, cluster: &Cluster, counts: &TunnelCounts) -> Vec<api::ClusterNode> {
    let (others, judgements, reports) = (cluster.others(), cluster.judgements(), cluster.reports());
    let list = node.steering.tables().nodes();
    let state = cluster.view().state.clone();
    let own = state.node(cluster.own()).and_then(|own| own.record.as_ref()?.run.as_ref());
    let describe = |(number, other): (NodeNumber, &Other)| {
        let judgement = judgements.get(&number)?;
        let (counters, report) = (counters(node, number, counts), reports.get(&number));
        let run = other.record.as_ref().and_then(|record| record.run.as_ref());
        let differing = own.zip(run).and_then(|(own, other)| difference(own, other));
        let path = list.nodes.get(&id(number)).and_then(maps::Node::interface);
        let described = api::ClusterNode {
            state: word(node_state(judgement)),
            why: judgement.reason.to_string(),
            // Nothing new goes where only the last place is known.
            takes_new_connections: judgement.takes_new_connections && other.record.is_some(),
            by: Some(if path.is_some() { "xdp" } else { "relay" }.to_owned()),
            mtu: cluster.mtu(number),
            same_listeners: own.zip(run).map(|(own, other)| own.listeners == other.listeners),
            lacks_listeners: differing.iter().flat_map(|one| &one.here).map(ToString::to_string).collect(),
            has_other_listeners: differing.iter().flat_map(|one| &one.there).map(ToString::to_string).collect(),
            ..counted(number, other, &counters)
        };
        Some(report.map_or(described.clone(), |report| heard(described, report)))
    };
    others.iter().filter_map(describe).collect()
}

fn own(cluster: &Cluster, node: &Node, config: &config::Cluster) -> api::ClusterNode {
    let state = cluster.view().state.clone();
    let member = state.node(cluster.own()).cloned().unwrap_or_default();
    let is_draining = Member::state(&member) == Some(NodeState::Draining);
    let (seen, why) = match (cluster.forgotten(), is_draining) {
        (Some(_), _) => (api::NodeState::Gone, "this node, which was forgotten: restart it"),
        (None, true) => (api::NodeState::Draining, "this node"),
        (None, false) => (api::NodeState::Up, "this node"),
    };
    let takes = !is_draining && !node.roster.is_stopping() && cluster.standing().may_issue() && !cluster.sends_away();
    let other = Other { tunnel: config.tunnel(), record: member.record };
    api::ClusterNode {
        this: true,
        state: seen,
        why: why.to_owned(),
        takes_new_connections: takes,
        weight: other.record.as_ref().map_or(config.weight, |record| record.weight),
        ..counted(cluster.own(), &other, &NodeCounters::default())
    }
}

/// A node with what was counted between it and this one, and nothing else yet.
fn counted(number: NodeNumber, node: &Other, counters: &NodeCounters) -> api::ClusterNode {
    let run = node.record.iter().filter_map(|record| record.run.as_ref());
    api::ClusterNode {
        number: number.get(),
        this: false,
        address: node.tunnel.to_string(),
        state: api::NodeState::Unknown,
        why: String::new(),
        takes_new_connections: false,
        weight: node.record.as_ref().map_or(0, |record| record.weight),
        by: None,
        mtu: None,
        longest_heard: [0; 2],
        heard_ms_ago: None,
        hears_us: false,
        does_not_hear: run.flat_map(|run| &run.unheard).map(|number| number.get()).collect(),
        same_listeners: None,
        lacks_listeners: Vec::new(),
        has_other_listeners: Vec::new(),
        round_trip_us: None,
        clock_ahead_ms: None,
        forwarded_packets: counters.forwarded_packets,
        forwarded_octets: counters.forwarded_octets,
        unwrapped_packets: counters.unwrapped_packets,
        unwrapped_octets: counters.unwrapped_octets,
        forged: counters.forged,
        too_long: counters.too_long,
    }
}

fn heard(node: api::ClusterNode, report: &WayReport) -> api::ClusterNode {
    let milliseconds = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    api::ClusterNode {
        longest_heard: [report.longest_heard, report.longest_heard_there],
        heard_ms_ago: report.heard_at.map(milliseconds),
        hears_us: report.hears_us,
        round_trip_us: report.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        clock_ahead_ms: report.clock_ahead.map(|nanoseconds| nanoseconds / 1_000_000),
        ..node
    }
}

/// What kernel programs and the tunnel's socket have counted.
fn counters(node: &Node, number: NodeNumber, counts: &TunnelCounts) -> NodeCounters {
    let number = id(number);
    let in_kernel = node.steering.node_counters(number).inspect_err(|e| tracing::warn!("cluster: {e}"));
    let mut sum = in_kernel.unwrap_or_default();
    counts.nodes.get(&number).into_iter().for_each(|counters| sum.add(counters));
    sum
}

fn word(state: maps::NodeState) -> api::NodeState {
    match state {
        maps::NodeState::Up => api::NodeState::Up,
        maps::NodeState::Draining => api::NodeState::Draining,
        maps::NodeState::Silent => api::NodeState::Silent,
        maps::NodeState::Unreachable => api::NodeState::Unreachable,
        maps::NodeState::Gone => api::NodeState::Gone,
    }
}
