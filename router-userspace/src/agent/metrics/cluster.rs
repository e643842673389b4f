//! The metrics of the cluster.

use std::{fmt, time::Duration};

use super::page::{Page, Text};
use crate::agent::api::{self, ClusterNode, NodeState};

/// Writes them; of a node that is in none, their names alone.
pub(super) fn write(cluster: Option<&api::Cluster>, page: &mut Page<'_>) -> fmt::Result {
    let others = || cluster.into_iter().flat_map(|cluster| &cluster.nodes).filter(|node| !node.this);
    let states = cluster.into_iter().flat_map(|_| NodeState::ALL).map(|&state| {
        let count = others().filter(|node| node.state == state).count();
        ([("state", Text(state.as_str()))], i64::try_from(count).unwrap_or(i64::MAX))
    });
    let what = "Other nodes of the cluster that are `up`, `draining`, `silent` (not heard for some seconds), `unreachable` (for longer \
                than `cluster.dead_after`: their packets are dropped) or `gone`.";
    page.gauge("cluster_nodes", what, states)?;
    let age = cluster.and_then(|cluster| cluster.synced_age_seconds);
    let age = age.map(|age| ([], i64::try_from(age).unwrap_or(i64::MAX)));
    page.gauge(
        "cluster_synced_age_seconds",
        "Since what says which nodes there are could last be asked; 0 while it can.",
        age,
    )?;
    let numbers: Vec<_> = others().map(|node| (node.number.to_string(), node)).collect();
    let of = |count: fn(&ClusterNode) -> u64| {
        numbers.iter().map(move |(number, node)| ([("node", Text(number))], count(node)))
    };
    let what = "Packets sent on to a node that owns their connections, by XDP programs and workers.";
    page.counter("node_forwarded_packets", what, of(|node| node.forwarded_packets))?;
    let what = "Packets that a node has sent on to this one.";
    page.counter("node_unwrapped_packets", what, of(|node| node.unwrapped_packets))?;
    let what = "Packets for a node that were dropped because they do not fit into the tunnel: their clients send more than \
                `max_udp_payload_size` allows.";
    page.counter("node_too_long_packets", what, of(|node| node.too_long))?;
    let round_trips = numbers
        .iter()
        .filter_map(|(number, node)| Some(([("node", Text(number))], Duration::from_micros(node.round_trip_us?))));
    page.seconds("cluster_hello_seconds", "The way of a hello to a node and back.", round_trips)?;
    let awaited: Vec<_> =
        cluster.into_iter().flat_map(|cluster| &cluster.rotation_waits_for).map(ToString::to_string).collect();
    let awaited = awaited.iter().map(|number| ([("node", Text(number))], 1));
    let what = "1 for each node that a rotation of connection IDs waits for (`cid rotate`); else nothing.";
    page.gauge("cluster_rotation_blocked", what, awaited)?;
    let forged = cluster.map(|cluster| ([], cluster.forged));
    page.counter("tunnel_forged", "Packets to the tunnel's port that no node of the cluster made.", forged)
}
