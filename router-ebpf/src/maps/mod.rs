//! All `unsafe` that touches maps: private statics behind verbs.
//!
//! Names, sizes and types are those of [`router_common::maps`].

#![expect(unsafe_code, reason = "map values are reached through the kernel's pointers")]

mod counting;
mod handover;
mod nodes;
mod ways;

use core::ptr::NonNull;

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, lpm_trie::Key},
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::btf_map,
    programs::XdpContext,
};
use router_common::{
    admission::{Challenge, Limited, Listed, Rate, SKETCH_CELLS, take_from_any},
    connection_id::ConnectionId,
    frame::{Address, Endpoint},
    identifiers::{ConfigRotation, IfIndex, InterfaceQueue, NodeId, QueueId, SlotId},
    maps::{
        ASSIGNMENT_SIZE, Admission, Assigned, BLOCKS_CAPACITY, BUCKETS, Block, BlockKey, Bucket, CID_CONFIGS,
        CidConfig, CidKeys, Flow, FlowKey, LISTENERS_MAX, LOCAL_ADDRESSES_MAX, Listener, ListenerKey, Listens, Local,
        LocalKey, NewConnections, Node, Port, QUEUES_MAX, Queue, SLOTS, SOURCE_PORT_WORDS, SOURCES_MAX, Secrets,
        Settings, SketchCell, Slot, SourceCount, SourceKey, SourcePorts, TokenKeys,
    },
    steer::Tables,
    tunnel::TunnelKeys,
};

pub(crate) use self::{
    counting::{count, count_hop, count_node},
    handover::{go_on_with, handover, outer, scratch},
    nodes::{node, tunnel_keys},
    ways::{has_device, is_current_cpu, redirect, redirect_to_device, redirect_to_socket, select},
};

#[btf_map(name = "settings")]
static SETTINGS: Array<Settings, 1> = Array::new();
#[btf_map(name = "listeners")]
static LISTENERS: HashMap<ListenerKey, Listener, { LISTENERS_MAX as usize }> = HashMap::new();
#[btf_map(name = "ports")]
static PORTS: Array<Port, { u16::MAX as usize + 1 }> = Array::new();
#[btf_map(name = "cid_configs")]
static CID_CONFIG: Array<CidConfig, { CID_CONFIGS as usize }> = Array::new();
#[btf_map(name = "cid_keys")]
static CID_KEYS: Array<CidKeys, { CID_CONFIGS as usize }> = Array::new();
#[btf_map(name = "slots")]
static SLOT: Array<Slot, { SLOTS as usize }> = Array::new();
#[btf_map(name = "assignment")]
static ASSIGNMENT: Array<Assigned, { 2 * ASSIGNMENT_SIZE as usize }> = Array::new();
/// The agent sets its size. Entries are allocated as they come: a node pays for the flows it has.
#[btf_map(name = "flows")]
static FLOWS: HashMap<FlowKey, Flow, 1024, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();
#[btf_map(name = "secrets")]
static SECRETS: Array<Secrets, 1> = Array::new();

#[btf_map(name = "queues")]
static QUEUES: Array<Queue, { QUEUES_MAX as usize }> = Array::new();
#[btf_map(name = "local_addresses")]
static LOCAL_ADDRESSES: HashMap<LocalKey, Local, { LOCAL_ADDRESSES_MAX as usize }> = HashMap::new();
#[btf_map(name = "broadcast_addresses")]
static BROADCAST_ADDRESSES: HashMap<LocalKey, Local, { LOCAL_ADDRESSES_MAX as usize }> = HashMap::new();
#[btf_map(name = "source_ports")]
static SOURCE_PORTS: Array<SourcePorts, SOURCE_PORT_WORDS> = Array::new();
#[btf_map(name = "admission")]
static ADMISSION: Array<Admission, 1> = Array::new();
#[btf_map(name = "buckets")]
static BUCKET: Array<Bucket, { BUCKETS as usize }> = Array::new();

#[btf_map(name = "token_keys")]
static TOKEN_KEYS: Array<TokenKeys, 1> = Array::new();
/// Entries are allocated as they come.
#[btf_map(name = "blocks")]
static BLOCK: LpmTrie<BlockKey, Block, { BLOCKS_CAPACITY as usize }> = LpmTrie::new();
#[btf_map(name = "sketch")]
static SKETCH: Array<SketchCell, { SKETCH_CELLS as usize }> = Array::new();
#[btf_map(name = "sources")]
static SOURCE: LruHashMap<SourceKey, SourceCount, { SOURCES_MAX as usize }> = LruHashMap::new();

/// The decision's view of the maps.
pub(crate) struct Maps {
    /// The receive queue that a frame came in on.
    arrival: Option<InterfaceQueue>,
}

impl Maps {
    /// For a frame. Where it came in is read at once: later on the compiler might do arithmetic with
    /// the context's address, which the verifier forbids.
    #[inline(always)]
    pub(crate) fn for_frame(ctx: &XdpContext) -> Self {
        let (interface, queue) = (IfIndex::new(ctx.ingress_ifindex() as u32), QueueId::new(ctx.rx_queue_index()));
        Self { arrival: Some(InterfaceQueue { interface, queue }) }
    }

    /// For a datagram that the stack has taken in.
    #[inline(always)]
    pub(crate) fn for_datagram() -> Self {
        Self { arrival: None }
    }

    /// Whether an XDP program was asked before. Where one interface has such a program and another has none, what came
    /// by the other counts as if it had been.
    #[inline(always)]
    fn has_passed_xdp(&self) -> bool {
        self.arrival.is_none() && !select_accounts()
    }
}

impl Tables for Maps {
    type Flow = StoredFlow;
    type Keys = CidKeys;

    #[inline(always)]
    fn settings(&self) -> Option<Settings> {
        SETTINGS.get(0).copied()
    }

    #[inline(always)]
    fn listens(&self, destination: &Endpoint) -> bool {
        let listens = PORTS.get(destination.port.into()).map(|port| port.listens(destination.address));
        match listens {
            Some(Listens::Yes) => true,
            Some(Listens::IfListed) => listener(destination).is_some(),
            Some(Listens::No) | None => false,
        }
    }

    #[inline(always)]
    fn flow(&self, cid: &ConnectionId) -> Option<(StoredFlow, SlotId)> {
        let entry = NonNull::new(FLOWS.get_ptr_mut(cid)?)?;
        // SAFETY: the kernel keeps the entry until the program ends (RCU), also if the agent deletes it.
        let slot = unsafe { entry.as_ref() }.slot();
        Some((StoredFlow(entry), slot))
    }

    #[inline(always)]
    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig> {
        CID_CONFIG.get(rotation.into())
    }

    #[inline(always)]
    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&CidKeys> {
        CID_KEYS.get(rotation.into())
    }

    #[inline(always)]
    fn slot(&self, slot: SlotId) -> Option<Slot> {
        SLOT.get(slot.into()).copied()
    }

    #[inline(always)]
    fn assigned(&self, hash: u64) -> Option<SlotId> {
        assigned(hash)
    }

    #[inline(always)]
    fn hash_seed(&self) -> Option<[u64; 2]> {
        SECRETS.get(0).map(Secrets::hash_seed)
    }

    #[inline(always)]
    fn queue(&self) -> Option<&Queue> {
        let id = self.arrival?;
        QUEUES.get(Queue::index_of(id)).filter(|there| there.is(id))
    }

    #[inline(always)]
    fn is_local(&self, address: &Address) -> bool {
        LOCAL_ADDRESSES.get_ptr(LocalKey::new(*address)).is_some()
    }

    #[inline(always)]
    fn is_broadcast(&self, address: &Address) -> bool {
        BROADCAST_ADDRESSES.get_ptr(LocalKey::new(*address)).is_some()
    }

    #[inline(always)]
    fn refuses_port(&self, port: u16) -> bool {
        SOURCE_PORTS.get(SourcePorts::index(port)).is_some_and(|ports| ports.refuses(port))
    }

    #[inline(always)]
    fn listed(&self, source: &Address) -> Listed {
        let Some(block) = BLOCK.get(&Key::new(BlockKey::BITS, BlockKey::new(*source))) else { return Listed::No };
        // SAFETY: the helper only reads a clock.
        let listed = block.listed(|| unsafe { bpf_ktime_get_coarse_ns() });
        // Counted by the first that sees it: what is dropped was seen by none before.
        if listed == Listed::Drop || listed != Listed::No && !self.has_passed_xdp() {
            counting::count_listed(block);
        }
        listed
    }

    #[inline(always)]
    fn admits(&self, kind: Limited) -> bool {
        if self.has_passed_xdp() {
            return true;
        }
        // SAFETY: the helper only reads a clock.
        let now = unsafe { bpf_ktime_get_coarse_ns() };
        let Some(rate) = ADMISSION.get(0).and_then(|admission| admission.rate_at(kind, now)) else { return true };
        // Its first word.
        BUCKET.get_ptr_mut(kind as u32).is_none_or(|bucket| take(bucket.cast(), &rate, now))
    }

    #[inline(always)]
    fn admits_from(&self, source: &Address) -> bool {
        let Some(admission) = ADMISSION.get(0) else { return true };
        let (Some(rate), Some(secrets)) = (admission.source_rate(), SECRETS.get(0)) else { return true };
        // SAFETY: the helper only reads a clock.
        let now = unsafe { bpf_ktime_get_coarse_ns() };
        let cells = admission.source_prefix(source).cells(secrets.hash_seed());
        // The word is all of it.
        take_from_any(cells, |cell| SKETCH.get_ptr_mut(cell).is_none_or(|cell| take(cell.cast(), &rate, now)))
    }

    #[inline(always)]
    fn admits_validated(&self, source: &Address) -> bool {
        let Some(admission) = ADMISSION.get(0) else { return true };
        let Some(rate) = admission.source_rate() else { return true };
        // SAFETY: the helper only reads a clock.
        let now = unsafe { bpf_ktime_get_coarse_ns() };
        let key = SourceKey::from(admission.source_prefix(source));
        let Some(count) = SOURCE.get_ptr_mut(key) else {
            let first = rate.take(0, now).unwrap_or_default();
            // There is room: the kernel makes it.
            let _ = SOURCE.insert(key, SourceCount::begin(first), 0);
            return true;
        };
        // SAFETY: the kernel keeps the entry until the program ends (RCU). Other CPUs may write the same plain numbers at
        // the same time, which `SourceCount::count` allows for.
        let count = unsafe { &mut *count };
        let next = rate.take(count.word(), now);
        count.count(next);
        next.is_some()
    }

    #[inline(always)]
    fn answers(&self) -> bool {
        self.arrival.is_some() && ADMISSION.get(0).is_some_and(Admission::answers)
    }

    #[inline(always)]
    fn challenge(&self) -> Challenge {
        ADMISSION.get(0).map_or(Challenge::Never, Admission::challenge)
    }

    #[inline(always)]
    fn token_keys(&self) -> Option<&TokenKeys> {
        token_keys()
    }

    #[inline(always)]
    fn unix_seconds(&self) -> u64 {
        unix_seconds()
    }

    #[inline(always)]
    fn is_tunnel(&self, destination: &Endpoint) -> bool {
        PORTS.get(destination.port.into()).is_some_and(Port::is_tunnel)
            && tunnel_keys().is_some_and(|keys| keys.end_at(&destination.address))
    }

    #[inline(always)]
    fn node(&self, number: NodeId) -> Option<&Node> {
        node(number.into())
    }

    #[inline(always)]
    fn assigned_node(&self, hash: u64) -> Option<NodeId> {
        if self.has_passed_xdp() {
            return None;
        }
        match SETTINGS.get(0)?.new_connections() {
            NewConnections::Local => None,
            NewConnections::ByHash { half } => nodes::assigned(half, hash),
        }
    }

    #[inline(always)]
    fn tunnel_keys(&self) -> Option<&TunnelKeys> {
        tunnel_keys()
    }
}

/// An entry of the flow table, in place.
#[derive(Clone, Copy)]
pub(crate) struct StoredFlow(NonNull<Flow>);

impl StoredFlow {
    /// Whether no packet was accounted just now: this one has then passed no XDP program.
    #[inline(always)]
    pub(crate) fn is_unseen(&self) -> bool {
        // SAFETY: the helper only reads a clock.
        let now = unsafe { bpf_ktime_get_coarse_ns() };
        // SAFETY: the entry lives until the program ends; another CPU may write the number meanwhile, and either
        // value will do.
        unsafe { self.0.as_ref() }.is_unseen(now)
    }

    /// Accounts a packet of `bytes` octets of UDP payload from `peer`.
    #[inline(always)]
    pub(crate) fn account(&self, bytes: usize, peer: &Endpoint) {
        // SAFETY: the helper only reads a clock.
        let now = unsafe { bpf_ktime_get_coarse_ns() };
        let mut entry = self.0;
        // SAFETY: the entry lives until the program ends; other CPUs may write the same plain
        // numbers at the same time, which `Flow::account` allows for.
        unsafe { entry.as_mut() }.account(bytes, peer, now);
    }
}

/// Takes a place of a bucket whose `word` this is, in an entry of an array; whether there was one.
#[inline(always)]
fn take(word: *mut u64, rate: &Rate, now: u64) -> bool {
    // SAFETY: the entry of an array lives as long as its map. Other CPUs may write the word at the same time: it is read
    // and written whole, and `Rate` says what may be lost so.
    match rate.take(unsafe { word.read_volatile() }, now) {
        Some(next) => {
            // SAFETY: as above.
            unsafe { word.write_volatile(next) };
            true
        }
        None => false,
    }
}

/// The listener bound to exactly this address and port.
#[inline(always)]
pub(crate) fn listener(bound: &Endpoint) -> Option<Listener> {
    // SAFETY: the value is copied at once, and an entry never changes: listeners are added and removed whole.
    unsafe { LISTENERS.get(ListenerKey::exact(bound)) }.copied()
}

/// The slot that the assignment has for a new connection with this hash.
#[inline(always)]
fn assigned(hash: u64) -> Option<SlotId> {
    let half = SETTINGS.get(0)?.assignment_half();
    ASSIGNMENT.get(Assigned::index(half, hash))?.slot()
}

/// One of the slots that take new connections, by any 32-bit hash.
#[inline(always)]
pub(crate) fn any_slot(hash: u32) -> Option<SlotId> {
    assigned(u64::from(hash) << 32)
}

/// Whether this program keeps the flow entries, there being no XDP program.
#[inline(always)]
pub(crate) fn select_accounts() -> bool {
    SETTINGS.get(0).is_some_and(Settings::select_accounts)
}

/// What vouches for tokens.
#[inline(always)]
pub(crate) fn token_keys() -> Option<&'static TokenKeys> {
    TOKEN_KEYS.get(0)
}

/// This node's own number.
#[inline(always)]
pub(crate) fn own_number() -> Option<NodeId> {
    SETTINGS.get(0).map(Settings::node)
}

/// The seconds from 1970 on.
#[inline(always)]
pub(crate) fn unix_seconds() -> u64 {
    // SAFETY: the helper only reads a clock.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    ADMISSION.get(0).map_or(0, |admission| admission.unix_seconds(now))
}
