//! The contract between kernel, agent and operator: the maps' names, sizes, and the types
//! of their keys and values. `docs/maps.md` is its text for people.
//!
//! Every type is plain: fixed layout, no padding, no enum or bool across the boundary.
//! Fields are private; numbers are in the host's byte order, addresses in the network's.
//! A change of any layout or meaning raises [`SCHEMA`].

use crate::{
    connection_id::{Layout, UNROUTABLE},
    frame::{Address, Endpoint},
};

pub use crate::{connection_id::ConnectionId as FlowKey, reason::Counters};

/// Version of this contract; stands in the map `settings`.
pub const SCHEMA: u32 = 1;

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

    /// All of them.
    pub const ALL: [&str; 12] = [
        SETTINGS,
        LISTENERS,
        PORTS,
        CID_CONFIGS,
        SLOTS,
        ASSIGNMENT,
        FLOWS,
        COUNTERS,
        SLOT_COUNTERS,
        SECRETS,
        SOCKETS,
        CPUS,
    ];
}

/// Slots of a node: 0 to 255.
pub const SLOTS: u32 = 256;

/// Listeners of a node.
pub const LISTENERS_MAX: u32 = 64;

/// Entries of one half of the assignment: a prime, so that Maglev's permutations work, and
/// 64 times the slots, so that shares are even within 1.6 %.
pub const ASSIGNMENT_SIZE: u32 = 16_381;

/// Configurations of connection IDs, by rotation.
pub const CID_CONFIGS: u32 = UNROUTABLE as u32;

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
}

impl Stage {
    /// Both, in the order a packet meets them.
    pub const ALL: [Self; 2] = [Self::Xdp, Self::Select];
}

/// Value of `settings` (one entry): what holds for the whole node.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    schema: u32,
    node_id: u32,
    cid_length: u32,
    assignment_half: u32,
    select_accounts: u32,
    reserved: u32,
    generation: u64,
}

const _: () = assert!(size_of::<Settings>() == 32);

impl Settings {
    /// Settings of a node whose assignment's first half is in force.
    pub fn new(node_id: u16, cid_length: u8, generation: u64) -> Self {
        Self { schema: SCHEMA, node_id: node_id.into(), cid_length: cid_length.into(), generation, ..Self::default() }
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

    /// The run of the agent that wrote this.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Key of `listeners`: an address and port; the unspecified address matches every one of its family.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerKey {
    address: [u8; 16],
    port: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<ListenerKey>() == 24);

impl ListenerKey {
    /// The key for exactly this endpoint.
    #[inline(always)]
    pub fn exact(endpoint: &Endpoint) -> Self {
        Self { address: endpoint.address.octets().0, port: endpoint.port.into(), reserved: 0 }
    }

    /// The key for any address of this endpoint's family.
    pub fn wildcard(endpoint: &Endpoint) -> Self {
        Self::exact(&Endpoint { address: endpoint.address.unspecified(), port: endpoint.port })
    }

    /// Address (IPv4 mapped into IPv6) and port.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { address: Address::new(self.address), port: self.port as u16 }
    }
}

/// Value of `listeners`: its number, in the order of the configuration.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listener {
    id: u32,
}

impl Listener {
    /// The listener with this number, below [`LISTENERS_MAX`].
    pub fn new(id: u16) -> Self {
        Self { id: id.into() }
    }

    /// Its number.
    #[inline(always)]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The index of `slot`'s socket for this listener in the map `sockets`.
    #[inline(always)]
    pub fn socket_index(&self, slot: u8) -> u32 {
        self.id * SLOTS + u32::from(slot)
    }
}

/// Value of `ports`, by UDP port: which destinations on it are listeners'. Nearly every
/// packet that is not ours is told by this one look-up, and so is every packet for a
/// listener on all addresses.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Port {
    any_ipv4: u8,
    any_ipv6: u8,
    some: u8,
    reserved: u8,
}

const _: () = assert!(size_of::<Port>() == 4);

/// Whether a destination is a listener's, as far as its port tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listens {
    /// Yes, whatever the address.
    Yes,
    /// If `listeners` has this very address.
    IfListed,
    /// No.
    No,
}

impl Port {
    /// The same with one more listener.
    pub fn with(mut self, key: &ListenerKey) -> Self {
        let address = key.endpoint().address;
        match (address == address.unspecified(), address.is_ipv4()) {
            (true, true) => self.any_ipv4 = 1,
            (true, false) => self.any_ipv6 = 1,
            (false, _) => self.some = 1,
        }
        self
    }

    /// Whether an address on this port is a listener's.
    #[inline(always)]
    pub fn listens(&self, address: Address) -> Listens {
        let any = if address.is_ipv4() { self.any_ipv4 } else { self.any_ipv6 };
        match (any, self.some) {
            (0, 0) => Listens::No,
            (0, _) => Listens::IfListed,
            _ => Listens::Yes,
        }
    }
}

/// Value of `cid_configs`, by rotation: how to decode its connection IDs.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CidConfig {
    /// 0 unused, 1 in clear.
    encoding: u32,
    length: u32,
}

const _: () = assert!(size_of::<CidConfig>() == 8);

impl CidConfig {
    /// `layout`, in clear.
    pub fn clear(layout: Layout) -> Self {
        Self { encoding: ENCODING_CLEAR, length: layout.length().into() }
    }

    /// How to decode a connection ID of `rotation`; `None` while it is not in use.
    #[inline(always)]
    pub fn layout(&self, rotation: u8) -> Option<Layout> {
        if self.encoding != ENCODING_CLEAR {
            return None;
        }
        Layout::new(rotation, self.length as u8)
    }
}

const ENCODING_CLEAR: u32 = 1;

/// What a slot is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// Nobody's.
    Free,
    /// Its worker gets new connections.
    Active,
    /// Its worker keeps the connections it has.
    Draining,
}

/// Value of `slots`, by slot.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot {
    state: u32,
    cpu: u32,
    shares_cpu: u32,
    reserved: u32,
    generation: u64,
}

const _: () = assert!(size_of::<Slot>() == 24);

impl Slot {
    /// A slot whose worker is pinned to `cpu`.
    pub fn new(state: SlotState, cpu: u32, generation: u64) -> Self {
        let state = match state {
            SlotState::Free => 0,
            SlotState::Active => 1,
            SlotState::Draining => 2,
        };
        Self { state, cpu, generation, ..Self::default() }
    }

    /// What it is doing.
    #[inline(always)]
    pub fn state(&self) -> SlotState {
        match self.state {
            1 => SlotState::Active,
            2 => SlotState::Draining,
            _ => SlotState::Free,
        }
    }

    /// Whether a worker is there, active or draining.
    #[inline(always)]
    pub fn is_taken(&self) -> bool {
        self.state == 1 || self.state == 2
    }

    /// The CPU its worker is pinned to.
    #[inline(always)]
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Whether another slot's worker is pinned to the same CPU, so that their packets have
    /// to be kept apart before GRO merges them.
    #[inline(always)]
    pub fn shares_cpu(&self) -> bool {
        self.shares_cpu != 0
    }

    /// The same with [`shares_cpu`](Self::shares_cpu) as given.
    pub fn with_shares_cpu(self, yes: bool) -> Self {
        Self { shares_cpu: yes.into(), ..self }
    }

    /// The run of the agent that took it.
    pub fn generation(&self) -> u64 {
        self.generation
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
    pub fn to(slot: u8) -> Self {
        Self { slot: slot.into() }
    }

    /// The slot, if there is one.
    #[inline(always)]
    pub fn slot(&self) -> Option<u8> {
        (self.slot < SLOTS).then_some(self.slot as u8)
    }

    /// The index in the map `assignment` of `hash` in `half`.
    #[inline(always)]
    pub fn index(half: u32, hash: u64) -> u32 {
        // Multiply and shift, not a remainder: every index of the half, none beyond it.
        let within = ((hash >> 32) * ASSIGNMENT_SIZE as u64) >> 32;
        (half & 1) * ASSIGNMENT_SIZE + within as u32
    }
}

/// Where an entry of the flow table comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// We issued the connection ID.
    Issued,
    /// The client chose it for its first flight.
    Chosen,
}

/// Value of `flows`, by connection ID.
///
/// The agent writes `slot`, `origin` and `created`; the kernel the rest. Times are
/// nanoseconds of CLOCK_MONOTONIC, coarse (a tick).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    slot: u32,
    origin: u32,
    created: u64,
    packets: u64,
    bytes: u64,
    last_seen: u64,
    peer: [u8; 16],
    peer_port: u32,
    peer_changes: u32,
}

const _: () = assert!(size_of::<Flow>() == 64);

impl Flow {
    /// A flow of `slot`, written at `now`.
    pub fn new(slot: u8, origin: Origin, now: u64) -> Self {
        let origin = match origin {
            Origin::Issued => 0,
            Origin::Chosen => 1,
        };
        Self { slot: slot.into(), origin, created: now, ..Self::default() }
    }

    /// The slot its packets go to.
    #[inline(always)]
    pub fn slot(&self) -> u8 {
        self.slot as u8
    }

    /// Who made the connection ID.
    pub fn origin(&self) -> Origin {
        if self.origin == 0 { Origin::Issued } else { Origin::Chosen }
    }

    /// When the agent wrote it.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// Packets seen.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Octets of UDP payload in them.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the last packet was seen; 0 before the first.
    pub fn last_seen(&self) -> u64 {
        self.last_seen
    }

    /// Where the last packet came from; `None` before the first.
    pub fn peer(&self) -> Option<Endpoint> {
        (self.packets > 0).then_some(Endpoint { address: Address::new(self.peer), port: self.peer_port as u16 })
    }

    /// How often the peer changed.
    pub fn peer_changes(&self) -> u32 {
        self.peer_changes
    }

    /// Accounts one packet of `bytes` octets from `peer` at `now`.
    ///
    /// Plain stores: a flow's packets arrive on one CPU at a time, because receive-side
    /// scaling goes by the 4-tuple. Where a client's address changes while packets of both
    /// addresses are in flight, two CPUs may for a moment lose a count to each other.
    #[inline(always)]
    pub fn account(&mut self, bytes: usize, peer: &Endpoint, now: u64) {
        let known = self.peer_port == u32::from(peer.port) && Address::new(self.peer) == peer.address;
        if !known {
            if self.packets > 0 {
                self.peer_changes = self.peer_changes.wrapping_add(1);
            }
            self.peer = peer.address.octets().0;
            self.peer_port = peer.port.into();
        }
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u64);
        self.last_seen = now;
    }
}

/// Value of `slot_counters`, by slot, one per CPU: what the kernel stages gave it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotCounters {
    xdp_local: u64,
    xdp_redirected: u64,
    xdp_unredirected: u64,
    selected: u64,
    unselected: u64,
}

const _: () = assert!(size_of::<SlotCounters>() == 40);

/// How a packet went to its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// XDP: it already was on the slot's CPU.
    Local,
    /// XDP: through the CPU map.
    Redirected,
    /// XDP: the CPU map had no entry for the slot's CPU; the kernel carries on where the packet is.
    Unredirected,
    /// `select`: to the slot's socket.
    Selected,
    /// `select`: the slot had no socket for the listener; the kernel chose one.
    Unselected,
}

impl SlotCounters {
    /// Packets that went by `hop`.
    pub fn get(&self, hop: Hop) -> u64 {
        match hop {
            Hop::Local => self.xdp_local,
            Hop::Redirected => self.xdp_redirected,
            Hop::Unredirected => self.xdp_unredirected,
            Hop::Selected => self.selected,
            Hop::Unselected => self.unselected,
        }
    }

    /// Counts one packet.
    #[inline(always)]
    pub fn count(&mut self, hop: Hop) {
        let counter = match hop {
            Hop::Local => &mut self.xdp_local,
            Hop::Redirected => &mut self.xdp_redirected,
            Hop::Unredirected => &mut self.xdp_unredirected,
            Hop::Selected => &mut self.selected,
            Hop::Unselected => &mut self.unselected,
        };
        *counter = counter.wrapping_add(1);
    }

    /// Adds another CPU's counters.
    pub fn add(&mut self, other: &Self) {
        self.xdp_local += other.xdp_local;
        self.xdp_redirected += other.xdp_redirected;
        self.xdp_unredirected += other.xdp_unredirected;
        self.selected += other.selected;
        self.unselected += other.unselected;
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
