//! The contract between kernel, agent and operator: the maps' names, sizes, and the types
//! of their keys and values. `docs/maps.md` is its text for people.
//!
//! Every type is plain: fixed layout, no padding, no enum or bool across the boundary.
//! Fields are private; numbers are in the host's byte order, addresses in the network's.
//! A change of any layout or meaning raises [`SCHEMA`]. `docs/maps.md` gets its number, and the rows of `counters`, from a
//! test (`datapath/document.rs` of router-userspace).

mod admission;
mod blocks;
mod flow;
mod listener;
mod nodes;
mod queue;
mod slot;
mod sources;

pub use self::{
    admission::{Admission, AnsweredBy, BUCKETS, Bucket, Limit, PerSource, Pressure, SOURCE_PORT_WORDS, SourcePorts},
    blocks::{BLOCK_TOTALS, BLOCKS_CAPACITY, BLOCKS_MAX, Block, BlockAction, BlockHits, BlockKey},
    flow::{Flow, Origin},
    listener::{Listener, ListenerKey, Listens, Port},
    nodes::{
        AssignedNode, DEVICES_MAX, NODE_ASSIGNMENT_SIZE, NODE_NUMBERS, NODES_MAX, NewConnections, Node, NodeCounters,
        NodePath, NodePlace, NodeState,
    },
    queue::{Local, LocalKey, LocalKind, Queue, SocketPlace},
    slot::{Hop, Slot, SlotCounters, SlotState},
    sources::{SOURCES_MAX, SketchCell, SourceCount, SourceKey},
};
pub use crate::{
    admission::TokenKeys,
    connection_id::{CidConfig, CidKeys, ConnectionId as FlowKey},
    reason::Counters,
    tunnel::TunnelKeys,
};
use crate::{
    connection_id::ROTATIONS,
    identifiers::{GenerationId, NodeId, SlotId},
    reason::Reason,
};

/// Version of this contract; stands in the map `settings`.
///
/// One more reason is one more field of `counters`, and so the next version by itself: 5 was that of 24 reasons. Any other
/// change raises the 6; where a reason goes, it rises so that the sum does.
pub const SCHEMA: u32 = 6 + (Reason::ALL.len() as u32 - 24);

/// The maps' names, as they are pinned and as `bpftool` shows them.
pub mod names {
    /// [`Settings`](super::Settings)
    pub const SETTINGS: &str = "settings";
    /// [`ListenerKey`](super::ListenerKey) to [`Listener`](super::Listener)
    pub const LISTENERS: &str = "listeners";
    /// UDP port to [`Port`](super::Port)
    pub const PORTS: &str = "ports";
    /// Rotation to [`CidConfig`](super::CidConfig)
    pub const CID_CONFIGS: &str = "cid_configs";
    /// Rotation to [`CidKeys`](super::CidKeys)
    pub const CID_KEYS: &str = "cid_keys";
    /// Slot to [`Slot`](super::Slot)
    pub const SLOTS: &str = "slots";
    /// [`Assigned::index`](super::Assigned::index) to [`Assigned`](super::Assigned)
    pub const ASSIGNMENT: &str = "assignment";
    /// [`FlowKey`](super::FlowKey) to [`Flow`](super::Flow)
    pub const FLOWS: &str = "flows";
    /// [`Stage`](super::Stage) to [`Counters`](super::Counters), per CPU
    pub const COUNTERS: &str = "counters";
    /// Slot to [`SlotCounters`](super::SlotCounters), per CPU
    pub const SLOT_COUNTERS: &str = "slot_counters";
    /// [`Secrets`](super::Secrets)
    pub const SECRETS: &str = "secrets";
    /// [`Listener::socket_index`](super::Listener::socket_index) to a UDP socket
    pub const SOCKETS: &str = "sockets";
    /// CPU to its queue in the CPU map
    pub const CPUS: &str = "cpus";
    /// [`Queue::index`](super::Queue::index) to [`Queue`](super::Queue)
    pub const QUEUES: &str = "queues";
    /// [`LocalKey`](super::LocalKey) to [`Local`](super::Local)
    pub const LOCAL_ADDRESSES: &str = "local_addresses";
    /// [`Queue::index`](super::Queue::index) to an AF_XDP socket
    pub const XSKS: &str = "xsks";

    /// [`SourcePorts::index`](super::SourcePorts::index) to [`SourcePorts`](super::SourcePorts)
    pub const SOURCE_PORTS: &str = "source_ports";
    /// [`Admission`](super::Admission)
    pub const ADMISSION: &str = "admission";
    /// Kind to [`Bucket`](super::Bucket)
    pub const BUCKETS: &str = "buckets";
    /// [`LocalKey`](super::LocalKey) to [`Local`](super::Local)
    pub const BROADCAST_ADDRESSES: &str = "broadcast_addresses";

    /// [`Program`](super::Program) to a program that `steer` goes on with
    pub const PROGRAMS: &str = "programs";
    /// [`BlockKey`](super::BlockKey) behind its length to [`Block`](super::Block)
    pub const BLOCKS: &str = "blocks";
    /// [`Block::id`](super::Block::id) to [`BlockHits`](super::BlockHits), per CPU
    pub const BLOCK_HITS: &str = "block_hits";
    /// [`BlockAction`](super::BlockAction) to [`BlockHits`](super::BlockHits), per CPU
    pub const BLOCK_TOTALS: &str = "block_totals";

    /// [`TokenKeys`](super::TokenKeys)
    pub const TOKEN_KEYS: &str = "token_keys";
    /// Cell to [`SketchCell`](super::SketchCell)
    pub const SKETCH: &str = "sketch";
    /// [`SourceKey`](super::SourceKey) to [`SourceCount`](super::SourceCount)
    pub const SOURCES: &str = "sources";

    /// Place to [`Node`](super::Node)
    pub const NODES: &str = "nodes";
    /// Node number to [`NodePlace`](super::NodePlace)
    pub const NODE_PLACES: &str = "node_places";
    /// Place to [`NodeCounters`](super::NodeCounters), per CPU
    pub const NODE_COUNTERS: &str = "node_counters";
    /// [`AssignedNode::index`](super::AssignedNode::index) to [`AssignedNode`](super::AssignedNode)
    pub const NODE_ASSIGNMENT: &str = "node_assignment";
    /// [`TunnelKeys`](super::TunnelKeys)
    pub const TUNNEL_KEYS: &str = "tunnel_keys";
    /// Interface to the device that nodes are reached by
    pub const DEVICES: &str = "devices";

    /// All of them.
    pub const ALL: [&str; 33] = [
        SETTINGS,
        LISTENERS,
        PORTS,
        CID_CONFIGS,
        CID_KEYS,
        SLOTS,
        ASSIGNMENT,
        FLOWS,
        COUNTERS,
        SLOT_COUNTERS,
        SECRETS,
        SOCKETS,
        CPUS,
        QUEUES,
        LOCAL_ADDRESSES,
        XSKS,
        SOURCE_PORTS,
        ADMISSION,
        BUCKETS,
        BROADCAST_ADDRESSES,
        PROGRAMS,
        TOKEN_KEYS,
        BLOCKS,
        BLOCK_HITS,
        BLOCK_TOTALS,
        SKETCH,
        SOURCES,
        NODES,
        NODE_PLACES,
        NODE_COUNTERS,
        NODE_ASSIGNMENT,
        TUNNEL_KEYS,
        DEVICES,
    ];
}

/// Slots of a node: 0 to 255.
pub const SLOTS: u32 = 256;

/// Listeners of a node.
pub const LISTENERS_MAX: u32 = 64;

/// Entries of one half of the assignment: a prime, so that Maglev's permutations work, and
/// 64 times the slots, so that shares are even within 1.6 %.
pub const ASSIGNMENT_SIZE: u32 = 16_381;

/// Receive queues that a node can know of, over all its interfaces: a power of two.
pub const QUEUES_MAX: u32 = 4_096;

/// Addresses of the host that a node can know of, and as many broadcast addresses of its subnets. What comes to one
/// beyond takes the kernel's stack.
pub const LOCAL_ADDRESSES_MAX: u32 = 1_024;

/// Octets of the largest frame that goes to an AF_XDP socket: a chunk of memory less the kernel's
/// headroom. What is larger takes the kernel's stack.
pub const SOCKET_FRAME_MAX: usize = 2_048 - 256;

/// Configurations of connection IDs, by rotation.
pub const CID_CONFIGS: u32 = ROTATIONS as u32;

/// Flow-table entries per connection: eight connection IDs issued at a time, the
/// client-chosen one, and one being replaced.
pub const FLOWS_PER_CONNECTION: u32 = 10;

/// Keys of the map `counters`: the stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Stage {
    /// The XDP program.
    Xdp = 0,
    /// The `sk_reuseport` program.
    Select = 1,
    /// The XDP program, for what comes to the tunnel's port: the packet within, once it is out.
    Unwrap = 2,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::Select, Self::Unwrap];
}

/// Keys of the map `programs`: what `steer` hands a packet over to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Program {
    /// Decides about what neither the flow table nor its connection ID places.
    FirstFlight = 0,
    /// Answers with Version Negotiation.
    Negotiate = 1,
    /// Answers with a Retry what has no token.
    Challenge = 2,
    /// Sends a packet on to another node.
    Forward = 3,
    /// Takes a packet out of the tunnel, and decides about it.
    Unwrap = 4,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::FirstFlight, Self::Negotiate, Self::Challenge, Self::Forward, Self::Unwrap];
}

/// Entries of the map `programs`. Those that no [`Program`] has are free: the size is part of the contract.
pub const PROGRAMS_MAX: u32 = 6;

/// Value of `settings` (one entry): what holds for the whole node.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    schema: u32,
    node_id: u32,
    cid_length: u32,
    assignment_half: u32,
    select_accounts: u32,
    blocks: u32,
    nodes: u32,
    new_connections: u32,
    generation: u64,
}

const _: () = assert!(size_of::<Settings>() == 40);

impl Settings {
    /// Settings of a node whose assignment's first half is in force.
    pub fn new(node_id: u16, cid_length: u8, generation: GenerationId) -> Self {
        let (node_id, cid_length) = (node_id.into(), cid_length.into());
        Self { schema: SCHEMA, node_id, cid_length, generation: generation.get(), ..Self::default() }
    }

    /// The contract's version.
    pub fn schema(&self) -> u32 {
        self.schema
    }

    /// This host's node ID.
    #[inline(always)]
    pub fn node_id(&self) -> u16 {
        self.node_id as u16
    }

    /// Octets of the connection IDs this node issues.
    #[inline(always)]
    pub fn cid_length(&self) -> usize {
        self.cid_length as usize
    }

    /// The same, of a generation that comes after the one which has `running` in force: until it
    /// flips, the same half of the assignment is.
    pub fn after(self, running: Self) -> Self {
        let Self { assignment_half, select_accounts, blocks, nodes, new_connections, .. } = running;
        Self { assignment_half, select_accounts, blocks, nodes, new_connections, ..self }
    }

    /// Which half of the assignment is in force, 0 or 1.
    #[inline(always)]
    pub fn assignment_half(&self) -> u32 {
        self.assignment_half & 1
    }

    /// The same with the other half in force: the one write that changes the assignment.
    pub fn flipped(self) -> Self {
        Self { assignment_half: 1 - self.assignment_half(), ..self }
    }

    /// Whether `select` keeps the flow entries' packets and peers, there being no XDP program.
    #[inline(always)]
    pub fn select_accounts(&self) -> bool {
        self.select_accounts != 0
    }

    /// The same with [`select_accounts`](Self::select_accounts) as given.
    pub fn with_select_accounts(self, yes: bool) -> Self {
        Self { select_accounts: yes.into(), ..self }
    }

    /// Entries of the block list; 0: nothing is looked up there.
    #[inline(always)]
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The same with so many entries in the block list.
    pub fn with_blocks(self, blocks: u32) -> Self {
        Self { blocks, ..self }
    }

    /// Other nodes that this one knows of; 0: no connection ID is another node's.
    #[inline(always)]
    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// The same with so many other nodes.
    pub fn with_nodes(self, nodes: u32) -> Self {
        Self { nodes, ..self }
    }

    /// Which new connections go to other nodes.
    #[inline(always)]
    pub fn new_connections(&self) -> NewConnections {
        NewConnections::of_word(self.new_connections)
    }

    /// The same with others.
    pub fn with_new_connections(self, new: NewConnections) -> Self {
        Self { new_connections: new.word(), ..self }
    }

    /// This node.
    #[inline(always)]
    pub fn node(&self) -> NodeId {
        NodeId::new(self.node_id as u16)
    }

    /// The run of the agent that wrote this.
    pub fn generation(&self) -> GenerationId {
        GenerationId::new(self.generation)
    }
}

/// Value of `assignment`: the slot that gets the new connections whose hash falls here.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assigned {
    slot: u32,
}

impl Assigned {
    /// No slot.
    pub const NONE: Self = Self { slot: u32::MAX };

    /// `slot`
    pub fn to(slot: SlotId) -> Self {
        Self { slot: slot.into() }
    }

    /// The slot, if there is one.
    #[inline(always)]
    pub fn slot(&self) -> Option<SlotId> {
        (self.slot < SLOTS).then_some(SlotId::new(self.slot as u8))
    }

    /// The index in the map `assignment` of `hash` in `half`.
    #[inline(always)]
    pub fn index(half: u32, hash: u64) -> u32 {
        // Multiply and shift, not a remainder: every index of the half, none beyond it.
        let within = ((hash >> 32) * ASSIGNMENT_SIZE as u64) >> 32;
        (half & 1) * ASSIGNMENT_SIZE + within as u32
    }
}

/// Value of `secrets` (one entry), for root's eyes only.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Secrets {
    hash_seed: [u64; 2],
}

impl Secrets {
    /// The seed of the hash that places new connections.
    pub fn new(hash_seed: [u64; 2]) -> Self {
        Self { hash_seed }
    }

    /// The seed of the hash that places new connections.
    #[inline(always)]
    pub fn hash_seed(&self) -> [u64; 2] {
        self.hash_seed
    }
}
