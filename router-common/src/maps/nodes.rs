//! `nodes`, `node_places`, `node_counters`, `node_assignment`: the other nodes of the cluster.
//!
//! A node's number is any; its place is low. So all that a packet looks up is in arrays.

use crate::{
    frame::{Address, Endpoint},
    identifiers::{IfIndex, NodeId},
};

/// Other nodes that a node can know of.
pub const NODES_MAX: u32 = 1_024;

/// Entries of `node_places`: all numbers of nodes.
pub const NODE_NUMBERS: u32 = 65_536;

/// Interfaces by which other nodes can be reached, other than the one that a packet came in by.
pub const DEVICES_MAX: u32 = 64;

/// Entries of one half of the assignment of new connections to nodes: a prime, so that Maglev's permutations work, and four
/// times the nodes.
pub const NODE_ASSIGNMENT_SIZE: u32 = 4_099;

/// Value of `node_places`, by node number: where the node is in `nodes` and `node_counters`.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodePlace {
    /// 1 more than that; 0: nowhere.
    place: u32,
}

impl NodePlace {
    /// Nowhere: no node has the number.
    pub const NONE: Self = Self { place: 0 };

    /// There.
    pub fn new(index: u32) -> Self {
        Self { place: index + 1 }
    }

    /// Where.
    #[inline(always)]
    pub fn index(&self) -> Option<u32> {
        self.place.checked_sub(1)
    }
}

/// Value of `nodes`, by place: another node, and the way there.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    state: u32,
    number: u32,
    place: u32,
    interface: u32,
    address: [u8; 16],
    source: [u8; 16],
    own_mac: [u8; 6],
    neighbour_mac: [u8; 6],
    port: u16,
    longest: u16,
}

const _: () = assert!(size_of::<Node>() == 64);

/// What a node is to the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeState {
    /// It takes new connections, and packets of those it has.
    Up,
    /// It takes packets of those it has.
    Draining,
    /// It has not been heard for a while: packets are forwarded all the same.
    Silent,
    /// It has not been heard for longer: packets are dropped, as they would be lost; their connections may live.
    Unreachable,
    /// It is gone for good: another node answers its connections with a stateless reset.
    Gone,
}

impl NodeState {
    /// All of them, the most useful first.
    pub const ALL: [Self; 5] = [Self::Up, Self::Draining, Self::Silent, Self::Unreachable, Self::Gone];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
            Self::Gone => "gone",
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Up => UP,
            Self::Draining => DRAINING,
            Self::Silent => SILENT,
            Self::Unreachable => UNREACHABLE,
            Self::Gone => GONE,
        }
    }
}

const UP: u32 = 1;
const DRAINING: u32 = 2;
const SILENT: u32 = 3;
const UNREACHABLE: u32 = 4;
const GONE: u32 = 5;

/// The way to a node by which a kernel program sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodePath {
    /// The interface that leads there.
    pub interface: IfIndex,
    /// Its own link address.
    pub own_mac: [u8; 6],
    /// That of the next hop.
    pub neighbour_mac: [u8; 6],
    /// The longest inner packet that fits, in octets from its IP header on.
    pub longest: u16,
}

impl Node {
    /// None: what an empty place has.
    pub const NONE: Self = Self {
        state: 0,
        number: 0,
        place: 0,
        interface: 0,
        address: [0; 16],
        source: [0; 16],
        own_mac: [0; 6],
        neighbour_mac: [0; 6],
        port: 0,
        longest: 0,
    };

    /// The node at `endpoint` (its address for other nodes, and its tunnel's port), to which this node sends from
    /// `source`. It is reached by workers' sockets only, until it has a [path](Self::with_path).
    pub fn new(state: NodeState, endpoint: Endpoint, source: Address) -> Self {
        Self {
            state: state.number(),
            address: endpoint.address.octets().0,
            source: source.octets().0,
            port: endpoint.port,
            ..Self::NONE
        }
    }

    /// The same, reached by a kernel program.
    pub fn with_path(self, path: &NodePath) -> Self {
        let &NodePath { interface, own_mac, neighbour_mac, longest } = path;
        Self { interface: interface.get(), own_mac, neighbour_mac, longest, ..self }
    }

    /// The same, as it stands at a place.
    pub fn at(self, number: NodeId, place: u32) -> Self {
        Self { number: number.into(), place, ..self }
    }

    /// The number of the node that is at this place, if one is.
    #[inline(always)]
    pub fn number(&self) -> Option<NodeId> {
        (self.state != 0).then_some(NodeId::new(self.number as u16))
    }

    /// Where it stands, and is counted.
    #[inline(always)]
    pub fn place(&self) -> u32 {
        self.place
    }

    /// The same, in another state.
    pub fn with_state(self, state: NodeState) -> Self {
        Self { state: state.number(), ..self }
    }

    /// What it is to us.
    #[inline(always)]
    pub fn state(&self) -> NodeState {
        match self.state {
            UP => NodeState::Up,
            DRAINING => NodeState::Draining,
            SILENT => NodeState::Silent,
            GONE => NodeState::Gone,
            _ => NodeState::Unreachable,
        }
    }

    /// Its address for other nodes.
    #[inline(always)]
    pub fn address(&self) -> Address {
        Address::new(self.address)
    }

    /// The address that this node sends to it from.
    #[inline(always)]
    pub fn source(&self) -> Address {
        Address::new(self.source)
    }

    /// The UDP port of its tunnel.
    #[inline(always)]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The interface that leads there; none where only workers' sockets do.
    #[inline(always)]
    pub fn interface(&self) -> Option<IfIndex> {
        (self.interface != 0).then_some(IfIndex::new(self.interface))
    }

    /// That interface's own link address.
    #[inline(always)]
    pub fn own_mac(&self) -> [u8; 6] {
        self.own_mac
    }

    /// The link address of the next hop.
    #[inline(always)]
    pub fn neighbour_mac(&self) -> [u8; 6] {
        self.neighbour_mac
    }

    /// The longest inner packet that fits, in octets from its IP header on.
    #[inline(always)]
    pub fn longest(&self) -> usize {
        self.longest.into()
    }
}

/// Value of `node_counters`, by place, one per CPU: packets to and from another node by the tunnel, as kernel programs
/// sent and took them. Octets are those of inner packets, from their IP header on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeCounters {
    /// Packets forwarded to it.
    pub forwarded_packets: u64,
    /// Their octets.
    pub forwarded_octets: u64,
    /// Packets taken that it forwarded.
    pub unwrapped_packets: u64,
    /// Their octets.
    pub unwrapped_octets: u64,
    /// Packets in its name that nothing vouches for.
    pub forged: u64,
    /// Packets for it that were longer than what fits, and dropped.
    pub too_long: u64,
}

const _: () = assert!(size_of::<NodeCounters>() == 48);

impl NodeCounters {
    /// Adds another CPU's.
    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.forwarded_packets, other.forwarded_packets),
            (&mut self.forwarded_octets, other.forwarded_octets),
            (&mut self.unwrapped_packets, other.unwrapped_packets),
            (&mut self.unwrapped_octets, other.unwrapped_octets),
            (&mut self.forged, other.forged),
            (&mut self.too_long, other.too_long),
        ] {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// Value of `node_assignment`: the node that gets the new connections whose hash falls here.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssignedNode {
    node: u32,
}

impl AssignedNode {
    /// No other node: this one takes them.
    pub const HERE: Self = Self { node: u32::MAX };

    /// Another node.
    pub fn to(node: NodeId) -> Self {
        Self { node: node.into() }
    }

    /// The other node, if it is one.
    #[inline(always)]
    pub fn node(&self) -> Option<NodeId> {
        u16::try_from(self.node).ok().map(NodeId::new)
    }

    /// The index in the map `node_assignment` of `hash` in `half`. Of its lower half: the upper one places connections
    /// among the slots of a node.
    #[inline(always)]
    pub fn index(half: u32, hash: u64) -> u32 {
        let within = ((hash & 0xffff_ffff) * NODE_ASSIGNMENT_SIZE as u64) >> 32;
        (half & 1) * NODE_ASSIGNMENT_SIZE + within as u32
    }
}

/// Which new connections go to other nodes: a word of `settings`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewConnections {
    /// None: the node that gets them keeps them.
    Local,
    /// Those that a half of `node_assignment`, 0 or 1, gives to others.
    ByHash {
        /// The half.
        half: u32,
    },
}

impl NewConnections {
    pub(super) fn word(self) -> u32 {
        match self {
            Self::Local => 0,
            Self::ByHash { half } => 1 + (half & 1),
        }
    }

    #[inline(always)]
    pub(super) fn of_word(word: u32) -> Self {
        match word {
            1 | 2 => Self::ByHash { half: word - 1 },
            _ => Self::Local,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_what_it_was_made_of() {
        let endpoint = Endpoint { address: Address::ipv4([10, 0, 0, 2]), port: 6080 };
        let source = Address::ipv4([10, 0, 0, 1]);
        let path = NodePath { interface: IfIndex::new(7), own_mac: [1; 6], neighbour_mac: [2; 6], longest: 1_456 };
        for state in NodeState::ALL {
            let node = Node::new(NodeState::Up, endpoint, source).with_state(state);
            assert_eq!((node.state(), node.interface(), node.longest()), (state, None, 0));
            let placed = node.at(NodeId::new(65_535), 1_023);
            assert_eq!((placed.number(), placed.place()), (Some(NodeId::new(65_535)), 1_023));
            let node = node.with_path(&path);
            assert_eq!((node.address(), node.port(), node.source()), (endpoint.address, 6080, source));
            assert_eq!((node.interface(), node.longest()), (Some(IfIndex::new(7)), 1_456));
            assert_eq!((node.own_mac(), node.neighbour_mac(), node.state()), ([1; 6], [2; 6], state));
        }
    }

    #[test]
    fn a_place_is_somewhere_or_nowhere() {
        assert_eq!((NodePlace::NONE.index(), NodePlace::new(0).index()), (None, Some(0)));
        assert_eq!((NodePlace::new(1_023).index(), Node::NONE.number()), (Some(1_023), None));
    }

    #[test]
    fn every_index_is_of_its_half_and_every_word_is_read_as_written() {
        for half in 0..2 {
            for hash in [0, 1, 0xffff_ffff, u64::MAX, 0xffff_ffff_0000_0000] {
                assert_eq!(AssignedNode::index(half, hash) / NODE_ASSIGNMENT_SIZE, half);
            }
            let by_hash = NewConnections::ByHash { half };
            assert_eq!(NewConnections::of_word(by_hash.word()), by_hash);
        }
        assert_eq!(NewConnections::of_word(NewConnections::Local.word()), NewConnections::Local);
        assert_eq!((AssignedNode::HERE.node(), AssignedNode::to(NodeId::new(9)).node()), (None, Some(NodeId::new(9))));
    }
}
