//! The other nodes of the cluster, as workers know of them.

use std::collections::BTreeMap;

use router_common::{
    frame::Endpoint,
    identifiers::NodeId,
    maps::{AssignedNode, Node},
    tunnel::TunnelKeys,
};

/// The other nodes, and what is between them and this one. Empty where there is no cluster.
///
/// It has no `Debug`, so that the keys come into no log.
#[derive(Clone)]
pub struct NodeList {
    /// By number.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Which of them new connections are for; none: this node keeps what it gets. Only where workers look at packets
    /// first: what an XDP program let through is this node's.
    pub assignment: Option<Box<[AssignedNode]>>,
    /// What vouches for forwarded packets.
    pub keys: TunnelKeys,
    /// Where the tunnel ends on this node.
    pub tunnel: Option<Endpoint>,
}

impl NodeList {
    /// Nobody.
    pub const EMPTY: Self = Self { nodes: BTreeMap::new(), assignment: None, keys: TunnelKeys::NONE, tunnel: None };
}

impl Default for NodeList {
    fn default() -> Self {
        Self::EMPTY
    }
}
