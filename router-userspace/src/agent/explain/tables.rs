//! The node's tables as they are now, to be looked at without changing anything.

use router_common::{
    admission::{Challenge, Limited, Listed, TokenKeys},
    connection_id::ConnectionId,
    frame::{Address, Endpoint},
    identifiers::{ConfigRotation, NodeId, SlotId},
    maps::{CidConfig, LocalKind, Queue, Settings, Slot},
    steer::Tables,
    tunnel::TunnelKeys,
};

use crate::{
    agent::{levels::SourceLevel, node::Node},
    clock::monotonic_now,
    worker::{HostKeys, Placement, View},
};

/// The node's tables with the kernel's flow table in front.
pub(super) struct LiveTables<'a> {
    pub(super) node: &'a Node,
    view: View<'a>,
    arrival: Option<Queue>,
    token_keys: Option<TokenKeys>,
}

impl<'a> LiveTables<'a> {
    /// For a frame that comes in on a queue which a worker has, or on any other.
    pub(super) fn new(node: &'a Node, arrival: Option<Queue>) -> Self {
        let view = node.steering.tables().view(Placement::Assignment);
        Self { node, view, arrival, token_keys: node.steering.token_keys() }
    }

    /// What the prefix of `source` may send now; none if that is not limited, or cannot be read.
    fn source_level(&self, source: &Address) -> Option<SourceLevel> {
        self.node.steering.source_level(source).ok().flatten()
    }
}

impl Tables for LiveTables<'_> {
    type Flow = ();
    type Keys = HostKeys;

    fn settings(&self) -> Option<Settings> {
        self.view.settings()
    }

    fn listens(&self, destination: &Endpoint) -> bool {
        self.view.listens(destination)
    }

    fn flow(&self, cid: &ConnectionId) -> Option<((), SlotId)> {
        let in_kernel = self.node.steering.kernel().and_then(|kernel| kernel.flows.get(cid));
        in_kernel.map(|flow| ((), flow.slot())).or_else(|| self.view.flow(cid))
    }

    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig> {
        self.view.cid_config(rotation)
    }

    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&HostKeys> {
        self.view.cid_keys(rotation)
    }

    fn slot(&self, slot: SlotId) -> Option<Slot> {
        self.view.slot(slot)
    }

    fn assigned(&self, hash: u64) -> Option<SlotId> {
        self.view.assigned(hash)
    }

    fn hash_seed(&self) -> Option<[u64; 2]> {
        self.view.hash_seed()
    }

    fn queue(&self) -> Option<&Queue> {
        self.arrival.as_ref()
    }

    fn is_local(&self, address: &Address) -> bool {
        self.node.local_addresses.kind(address) == Some(LocalKind::Own)
    }

    fn is_broadcast(&self, address: &Address) -> bool {
        self.node.local_addresses.kind(address) == Some(LocalKind::Broadcast)
    }

    /// It only looks.
    fn listed(&self, source: &Address) -> Listed {
        self.node.steering.tables().listed(*source)
    }

    fn refuses_port(&self, port: u16) -> bool {
        self.view.refuses_port(port)
    }

    /// It only looks.
    fn admits(&self, kind: Limited) -> bool {
        let now = monotonic_now();
        let limit = self.node.steering.admission(kind).ok();
        let limit = limit.and_then(|(admission, word)| Some((admission.rate_at(kind, now)?, word)));
        limit.is_none_or(|(rate, word)| rate.room(word, now) > 0)
    }

    /// It only looks.
    fn admits_from(&self, source: &Address) -> bool {
        self.source_level(source).is_none_or(|level| level.unasked > 0)
    }

    /// It only looks.
    fn admits_validated(&self, source: &Address) -> bool {
        self.source_level(source).is_none_or(|level| level.validated > 0)
    }

    fn challenge(&self) -> Challenge {
        self.view.challenge()
    }

    fn token_keys(&self) -> Option<&TokenKeys> {
        self.token_keys.as_ref()
    }

    fn unix_seconds(&self) -> u64 {
        self.view.unix_seconds()
    }

    fn is_tunnel(&self, destination: &Endpoint) -> bool {
        self.view.is_tunnel(destination)
    }

    fn node(&self, node: NodeId) -> Option<&router_common::maps::Node> {
        self.view.node(node)
    }

    fn assigned_node(&self, hash: u64) -> Option<NodeId> {
        self.view.assigned_node(hash).or_else(|| self.node.steering.assigned_node(hash))
    }

    fn tunnel_keys(&self) -> Option<&TunnelKeys> {
        self.view.tunnel_keys()
    }

    fn answers(&self) -> bool {
        let steering = &self.node.steering;
        steering.kernel().is_some()
            && steering.admission(Limited::VersionNegotiation).is_ok_and(|(admission, _)| admission.answers())
    }
}
