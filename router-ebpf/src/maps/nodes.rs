//! The other nodes of the cluster.

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use router_common::{
    identifiers::NodeId,
    maps::{AssignedNode, NODE_ASSIGNMENT_SIZE, NODE_NUMBERS, NODES_MAX, Node, NodePlace},
    tunnel::TunnelKeys,
};

#[btf_map(name = "nodes")]
static NODE: Array<Node, { NODES_MAX as usize }> = Array::new();
#[btf_map(name = "node_places")]
static NODE_PLACE: Array<NodePlace, { NODE_NUMBERS as usize }> = Array::new();
#[btf_map(name = "node_assignment")]
static NODE_ASSIGNMENT: Array<AssignedNode, { 2 * NODE_ASSIGNMENT_SIZE as usize }> = Array::new();
#[btf_map(name = "tunnel_keys")]
static TUNNEL_KEYS: Array<TunnelKeys, 1> = Array::new();

/// Another node.
#[inline(always)]
pub(crate) fn node(number: u32) -> Option<&'static Node> {
    // Where the agent writes it meanwhile, a mix of old and new plain numbers is read: the packet is lost then at worst.
    let node = NODE.get(place(number)?)?;
    (node.number()? == NodeId::new(number as u16)).then_some(node)
}

/// Where it is in `nodes` and `node_counters`.
#[inline(always)]
pub(super) fn place(number: u32) -> Option<u32> {
    NODE_PLACE.get(number)?.index()
}

/// Which node a new connection with this hash is for, by this half of the table.
#[inline(always)]
pub(super) fn assigned(half: u32, hash: u64) -> Option<NodeId> {
    NODE_ASSIGNMENT.get(AssignedNode::index(half, hash))?.node()
}

/// What vouches for packets that nodes send on to each other.
#[inline(always)]
pub(crate) fn tunnel_keys() -> Option<&'static TunnelKeys> {
    TUNNEL_KEYS.get(0)
}
