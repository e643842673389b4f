//! What is known of the other nodes, made into what the kernel and the workers go by. Nothing here asks or changes anything.

use std::collections::{BTreeMap, BTreeSet};

use router_cluster::{
    distribution::distribution,
    health::{Judgement, NodeHealth},
    membership::{CidState, ClusterState, NodeNumber, NodeRecord, NodeState},
};
use router_common::{
    frame::{Address, Endpoint},
    identifiers::{IfIndex, NodeId},
    maps::{self, AssignedNode, Node, NodePath},
    tunnel::{TunnelKey, TunnelKeys, outer_length},
};

use super::routes::{Way, Ways};
use crate::{
    agent::secrets::Secrets,
    config::{self, NewConnections},
};

/// What a table is made of.
pub(super) struct Known<'a> {
    pub(super) config: &'a config::Cluster,
    pub(super) own: NodeNumber,
    pub(super) state: &'a ClusterState,
    /// The last that each other node's record said, also where it has none any more.
    pub(super) records: &'a BTreeMap<NodeNumber, NodeRecord>,
    pub(super) judgements: &'a BTreeMap<NodeNumber, Judgement>,
    pub(super) ways: &'a Ways,
    /// The interfaces that XDP programs are on, by which they can send.
    pub(super) steered: &'a BTreeSet<IfIndex>,
}

impl Known<'_> {
    /// The other nodes.
    pub(super) fn nodes(&self) -> BTreeMap<NodeId, Node> {
        let node = |(&number, judgement): (&NodeNumber, &Judgement)| {
            let record = self.records.get(&number)?;
            Some((id(number), self.node(record, judgement)))
        };
        self.judgements.iter().filter_map(node).collect()
    }

    fn node(&self, record: &NodeRecord, judgement: &Judgement) -> Node {
        let source = address(self.config.address);
        let node = Node::new(node_state(judgement), Endpoint::from(record.tunnel()), source);
        let path = self.ways.get(&id(record.number)).and_then(|way| self.path(way));
        path.map_or(node, |path| node.with_path(&path))
    }

    fn path(&self, way: &Way) -> Option<NodePath> {
        let hop = way.hop.filter(|hop| self.steered.contains(&hop.interface))?;
        let longest = self.fits(hop.mtu);
        Some(NodePath { interface: hop.interface, own_mac: hop.own, neighbour_mac: hop.neighbour, longest })
    }

    /// The longest inner packet that fits into one of `mtu` octets.
    fn fits(&self, mtu: u32) -> u16 {
        let outer = outer_length(self.config.address.is_ipv4());
        (mtu as usize).saturating_sub(outer).min(PACKET_MAX) as u16
    }

    /// The longest inner packet that fits on the way to every other node; 0 where no way is known.
    pub(super) fn longest(&self) -> u16 {
        let mtus = self.ways.values().filter_map(|way| way.mtu);
        mtus.min().map_or(0, |mtu| self.fits(mtu))
    }

    /// Which node new connections go to; none: to the one that gets them.
    pub(super) fn assignment(&self, seed: [u64; 2]) -> Option<Box<[AssignedNode]>> {
        let takes_new = !self.is_draining();
        if self.config.new_connections == NewConnections::Local && takes_new {
            return None;
        }
        let takers = self
            .judgements
            .iter()
            .filter(|(_, judgement)| judgement.state == NodeHealth::Up && judgement.takes_new_connections);
        let mut weights: BTreeMap<_, _> =
            takers.filter_map(|(&number, _)| Some((number, self.records.get(&number)?.weight))).collect();
        if takes_new {
            weights.insert(self.own, self.own_record().map_or(1, |record| record.weight));
        }
        let assigned = |node: Option<NodeNumber>| match node {
            Some(node) if node != self.own => AssignedNode::to(id(node)),
            _ => AssignedNode::HERE,
        };
        Some(distribution(&weights, seed).into_iter().map(assigned).collect())
    }

    fn own_record(&self) -> Option<&NodeRecord> {
        self.state.node(self.own)?.record.as_ref()
    }

    /// Whether this node is to take no new connections.
    pub(super) fn is_draining(&self) -> bool {
        let state = self.state.node(self.own).and_then(|member| member.state());
        state == Some(NodeState::Draining)
    }
}

/// The keys of the tunnel: each configuration of connection IDs has one with it. Packets are sent under that of the issued
/// one, and those under the next one's are taken, or under the last one's where no next one is announced.
pub(super) fn tunnel_keys(state: &ClusterState, secrets: &Secrets) -> TunnelKeys {
    let key = |number: u64| {
        // Numbers go to 2^32.
        let epoch = u32::try_from(number).unwrap_or(u32::MAX);
        TunnelKey::new(epoch, secrets.tunnel_key(epoch))
    };
    let Some(issuing) = state.issuing() else { return TunnelKeys::NONE };
    let numbers = |wanted| state.cid.values().filter(move |cid| cid.state == wanted).map(|cid| cid.announced);
    let other = numbers(CidState::Announced).min().or_else(|| numbers(CidState::Retiring).max());
    TunnelKeys::new(key(issuing.announced), other.map_or(TunnelKey::NONE, key))
}

/// A node's number as maps have it.
pub(super) fn id(number: NodeNumber) -> NodeId {
    NodeId::new(number.get())
}

/// What a node counts as, as maps have it.
pub(super) fn node_state(judgement: &Judgement) -> maps::NodeState {
    match (judgement.state, judgement.forwards) {
        (NodeHealth::Up, _) => maps::NodeState::Up,
        (NodeHealth::Draining, _) => maps::NodeState::Draining,
        (NodeHealth::Unreachable, true) => maps::NodeState::Silent,
        (NodeHealth::Unreachable, false) => maps::NodeState::Unreachable,
        (NodeHealth::Gone, _) => maps::NodeState::Gone,
    }
}

fn address(ip: std::net::IpAddr) -> Address {
    Endpoint::from(std::net::SocketAddr::new(ip, 0)).address
}

/// Octets of an IP packet, at most.
const PACKET_MAX: usize = u16::MAX as usize;
