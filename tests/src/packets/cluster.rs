//! The other nodes of the table's node, where it has any: one in each state.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use router_common::{
    frame::{ETHERNET_LENGTH, Endpoint},
    identifiers::{IfIndex, NodeId},
    maps::{AssignedNode, NODE_ASSIGNMENT_SIZE, Node, NodePath, NodeState},
    tunnel::{Header, Inner, Leaving, Outer, Receiver, TunnelKey, TunnelKeys},
};

use super::NODE_ID;

/// The other nodes: number and state. Those with an odd number are reached over IPv6.
pub const NODES: [(u16, NodeState); 6] = [
    (UP, NodeState::Up),
    (DRAINING, NodeState::Draining),
    (SILENT, NodeState::Silent),
    (UNREACHABLE, NodeState::Unreachable),
    (GONE, NodeState::Gone),
    (UP_V6, NodeState::Up),
];

/// A node that is up, reached over IPv4.
pub const UP: u16 = 2;
/// A node that drains.
pub const DRAINING: u16 = 4;
/// A node not heard for a while.
pub const SILENT: u16 = 3;
/// A node not heard for longer.
pub const UNREACHABLE: u16 = 5;
/// A node that is gone for good.
pub const GONE: u16 = 6;
/// A node that is up, reached over IPv6.
pub const UP_V6: u16 = 7;

/// The link address of each node's interface, and that of the next hop.
pub const MACS: [[u8; 6]; 2] = [[0x02, 0x99, 0, 0, 0, 1], [0x02, 0x99, 0, 0, 0, 2]];

/// The longest inner packet that fits, in octets.
pub const LONGEST: u16 = 1_456;

/// The UDP port of tunnels.
pub const TUNNEL_PORT: u16 = 6_080;

/// A cluster, as a node of it has it in its maps.
#[derive(Clone)]
pub struct Cluster {
    /// The other nodes.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Which of them new connections are for.
    pub assignment: Option<Vec<AssignedNode>>,
    /// What vouches for forwarded packets.
    pub keys: TunnelKeys,
}

impl Cluster {
    /// That of [`NODES`], in which each node keeps the new connections that it gets.
    pub fn new() -> Self {
        let node = |(number, state): (u16, NodeState)| {
            let path = NodePath {
                interface: IfIndex::new(LOOPBACK),
                own_mac: MACS[0],
                neighbour_mac: MACS[1],
                longest: LONGEST,
            };
            let endpoint = Endpoint { address: address(number).into(), port: TUNNEL_PORT };
            (NodeId::new(number), Node::new(state, endpoint, own_address(number).into()).with_path(&path))
        };
        Self { nodes: NODES.into_iter().map(node).collect(), assignment: None, keys: Self::keys() }
    }

    /// The same where new connections are every node's by turns: this one's, and each of [`NODES`].
    pub fn by_hash() -> Self {
        let all: Vec<_> = [AssignedNode::HERE]
            .into_iter()
            .chain(NODES.map(|(number, _)| AssignedNode::to(NodeId::new(number))))
            .collect();
        let assignment = (0..NODE_ASSIGNMENT_SIZE as usize).map(|index| all[index % all.len()]).collect();
        Self { assignment: Some(assignment), ..Self::new() }
    }

    /// Its keys: that of epoch 9 in use, and the next one.
    pub fn keys() -> TunnelKeys {
        let keys = TunnelKeys::new(TunnelKey::new(9, [9, 90]), TunnelKey::new(10, [10, 100]));
        keys.ending_at([own_address(UP).into(), own_address(UP_V6).into()])
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

/// The address of a node for the others.
pub fn address(node: u16) -> IpAddr {
    match node.is_multiple_of(2) {
        true => IpAddr::V4(Ipv4Addr::new(10, 99, 0, node as u8)),
        false => IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, node)),
    }
}

/// This node's address for another node.
pub fn own_address(to: u16) -> IpAddr {
    match to.is_multiple_of(2) {
        true => IpAddr::V4(Ipv4Addr::new(10, 99, 0, NODE_ID as u8)),
        false => IpAddr::V6(Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, NODE_ID)),
    }
}

/// What `sender` puts before an inner packet to this node, under the key in use: the payload of its outer datagram.
pub fn tunnelled(sender: u16, inner: &Inner, packet: &[u8]) -> Vec<u8> {
    let keys = Cluster::keys();
    let key = keys.sending().expect("there is one");
    let (is_ipv4, sender) = (packet[0] >> 4 == 4, NodeId::new(sender));
    let header = Header { is_ipv4, key: key.octet(), sender, tag: key.tag(sender, inner) };
    [&header.octets().0[..], packet].concat()
}

/// A frame as `sender` sends it on to this node, headers and all; nothing if a kernel program would leave it to a worker.
pub fn sent_on(sender: u16, frame: &[u8]) -> Option<Vec<u8>> {
    let path =
        NodePath { interface: IfIndex::new(LOOPBACK), own_mac: MACS[0], neighbour_mac: MACS[1], longest: u16::MAX };
    let here = Endpoint { address: own_address(sender).into(), port: TUNNEL_PORT };
    let here = Node::new(NodeState::Up, here, address(sender).into()).with_path(&path);
    let Leaving::Packet(packet) = Leaving::of(frame, &here) else { return None };
    let (mut outer, keys) = (Outer::EMPTY, Cluster::keys());
    let length = outer.write(&packet, NodeId::new(sender), Receiver { key: keys.sending()?, node: &here });
    Some([&outer.octets()[..length], frame.get(ETHERNET_LENGTH..ETHERNET_LENGTH + packet.length)?].concat())
}

/// The index of the loopback interface, which a program that is run without a network seems to be on.
const LOOPBACK: u32 = 1;
