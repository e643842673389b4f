//! The node's tables as the workers see them: the view through which userspace asks the
//! same decision as the kernel.
//!
//! It holds what the agent wrote into the maps, and beside it the first flights: the
//! client-chosen connection IDs of connections that a worker has accepted.

use std::{
    array, fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use router_common::{
    admission::{Challenge, InPlace, Limited, Listed, TokenKeys},
    connection_id::ConnectionId,
    frame::{Address, Endpoint, Payload},
    identifiers::{ConfigRotation, CpuId, GenerationId, NodeId, SlotId},
    maps::{
        Admission, Assigned, AssignedNode, BlockAction, CidConfig, Listener, ListenerKey, Node, Queue, Settings, Slot,
        SlotState, SourcePorts,
    },
    quic,
    reason::Reason,
    steer::{self, Arrival, Tables, Verdict},
    tunnel::TunnelKeys,
};

use super::{
    blocks::{BlockCount, BlockTable},
    connection_ids::{ConnectionIds, HostKeys, Set},
    first_flights::FirstFlights,
    nodes::NodeList,
};
use crate::clock::monotonic_now;

/// What all workers of a node share.
pub struct NodeTables {
    settings: Settings,
    connection_ids: Arc<ConnectionIds>,
    hash_seed: [u64; 2],
    listeners: ArcSwap<Vec<(ListenerKey, Listener)>>,
    /// Of the subnets that the host is in.
    broadcast: ArcSwap<Vec<Address>>,
    /// Empty, or all words.
    source_ports: ArcSwap<Vec<SourcePorts>>,
    blocks: ArcSwap<BlockTable>,
    /// Packets for which its entries have decided here, by action.
    block_totals: [BlockCount; BlockAction::ALL.len()],
    admission: ArcSwap<Admission>,
    /// What was let through, of each kind that is limited, where no kernel program has it.
    buckets: [AtomicU64; Limited::ALL.len()],
    slots: [AtomicU8; 256],
    assignment: RwLock<Arc<[Assigned]>>,
    first_flights: FirstFlights,
    nodes: ArcSwap<NodeList>,
    probes: Mutex<Vec<ConnectionId>>,
}

/// What places a connection ID that neither the flow table nor its own octets place.
#[derive(Clone, Copy, Debug)]
pub enum Placement {
    /// The kernel did, and gave the packet to this slot.
    Kernel(SlotId),
    /// The assignment does, here.
    Assignment,
}

impl NodeTables {
    /// The tables of a node without slots.
    pub fn new(settings: Settings, connection_ids: Arc<ConnectionIds>, hash_seed: [u64; 2]) -> Self {
        Self {
            settings,
            connection_ids,
            hash_seed,
            listeners: ArcSwap::default(),
            broadcast: ArcSwap::default(),
            source_ports: ArcSwap::default(),
            blocks: ArcSwap::default(),
            block_totals: array::from_fn(|_| BlockCount::default()),
            admission: ArcSwap::default(),
            buckets: array::from_fn(|_| AtomicU64::new(0)),
            slots: array::from_fn(|_| AtomicU8::new(0)),
            assignment: RwLock::new(Arc::from([])),
            first_flights: FirstFlights::default(),
            nodes: ArcSwap::default(),
            probes: Mutex::default(),
        }
    }

    /// Brings these listeners into force.
    pub fn set_listeners(&self, listeners: Vec<(ListenerKey, Listener)>) {
        self.listeners.store(Arc::new(listeners));
    }

    /// The listener for a destination, by exact address or by wildcard.
    pub fn listener(&self, destination: &Endpoint) -> Option<Listener> {
        let listeners = self.listeners.load();
        let find = |key| listeners.iter().find(|(k, _)| *k == key).map(|&(_, listener)| listener);
        find(ListenerKey::exact(destination)).or_else(|| find(ListenerKey::wildcard(destination)))
    }

    /// Makes these the broadcast addresses of the host's subnets.
    pub fn set_broadcast(&self, addresses: Vec<Address>) {
        self.broadcast.store(Arc::new(addresses));
    }

    /// Whether what comes to `address` came to many hosts, or to many sockets of this one.
    pub fn is_for_many(&self, address: &Address) -> bool {
        let is_broadcast = || self.broadcast.load().contains(address);
        address.is_for_many() || address.is_ipv4() && is_broadcast()
    }

    /// Says from which ports first flights are refused: all words, by index.
    pub fn set_source_ports(&self, words: Vec<SourcePorts>) {
        self.source_ports.store(Arc::new(words));
    }

    /// Makes this the block list.
    pub fn set_blocks(&self, blocks: BlockTable) {
        self.blocks.store(Arc::new(blocks));
    }

    /// What the block list says of an address; no packet is counted.
    pub fn listed(&self, address: impl Into<Address>) -> Listed {
        let found = self.blocks.load().find(&address.into()).map(|(block, _)| block.listed(monotonic_now));
        found.unwrap_or(Listed::No)
    }

    /// The same of a packet, which is counted if it is of those that `counted` means.
    pub(super) fn listed_packet(&self, source: impl Into<Address>, counted: impl FnOnce(Listed) -> bool) -> Listed {
        let blocks = self.blocks.load();
        let Some((block, count)) = blocks.find(&source.into()) else { return Listed::No };
        let listed = block.listed(monotonic_now);
        if let Some(action) = block.action().filter(|_| listed != Listed::No && counted(listed)) {
            count.add();
            self.block_total_of(action).add();
        }
        listed
    }

    /// Packets for which entries with `action` decided here, also such as are gone.
    pub fn block_total(&self, action: BlockAction) -> u64 {
        self.block_total_of(action).get()
    }

    fn block_total_of(&self, action: BlockAction) -> &BlockCount {
        let [allow, challenge, drop] = &self.block_totals;
        match action {
            BlockAction::Allow => allow,
            BlockAction::Challenge => challenge,
            BlockAction::Drop => drop,
        }
    }

    /// How many packets of a kind are let through.
    pub fn admission(&self) -> Admission {
        **self.admission.load()
    }

    /// Says how many are from now on.
    pub fn set_admission(&self, admission: Admission) {
        self.admission.store(Arc::new(admission));
    }

    /// What was let through of a kind, as [`Rate`](router_common::admission::Rate) reads it.
    pub fn bucket(&self, of: Limited) -> u64 {
        self.buckets[of as usize].load(Ordering::Relaxed)
    }

    /// For the whole node.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The configurations of connection IDs.
    pub fn connection_ids(&self) -> &Arc<ConnectionIds> {
        &self.connection_ids
    }

    /// The seed of the hash that places new connections.
    pub fn hash_seed(&self) -> [u64; 2] {
        self.hash_seed
    }

    /// What a slot is doing.
    pub fn slot_state(&self, slot: SlotId) -> SlotState {
        match self.slots[usize::from(slot)].load(Ordering::Acquire) {
            1 => SlotState::Active,
            2 => SlotState::Draining,
            _ => SlotState::Free,
        }
    }

    /// Notes what a slot is doing.
    pub fn set_slot_state(&self, slot: SlotId, state: SlotState) {
        let state = match state {
            SlotState::Free => 0,
            SlotState::Active => 1,
            SlotState::Draining => 2,
        };
        self.slots[usize::from(slot)].store(state, Ordering::Release);
    }

    /// Brings a new assignment into force.
    pub fn assign(&self, assignment: &[Assigned]) {
        *self.assignment.write().unwrap_or_else(PoisonError::into_inner) = assignment.into();
    }

    /// The client-chosen connection IDs of connections that a worker has.
    pub fn first_flights(&self) -> &FirstFlights {
        &self.first_flights
    }

    /// A connection of our own that begins with `cid`, which names the worker it is for, is expected until
    /// the result is dropped.
    pub fn expect_probe(&self, cid: ConnectionId) -> ExpectedProbe<'_> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).push(cid);
        ExpectedProbe { cid, tables: self }
    }

    /// Whether one is expected.
    pub fn expects_probe(&self, cid: &ConnectionId) -> bool {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).contains(cid)
    }

    /// The other nodes of the cluster.
    pub fn nodes(&self) -> Guard<Arc<NodeList>> {
        self.nodes.load()
    }

    /// Makes these the other nodes.
    pub fn set_nodes(&self, nodes: NodeList) {
        self.nodes.store(Arc::new(nodes));
    }

    /// Decides about a UDP payload from `source`, which came here from its client.
    pub fn steer(&self, payload: &[u8], source: &Endpoint, placement: Placement) -> Steered {
        self.steer_arrived(payload, source, Arrival::Direct, placement)
    }

    /// Decides about one that another node has sent on, by the tunnel.
    pub fn steer_forwarded(&self, payload: &[u8], source: &Endpoint) -> Steered {
        self.steer_arrived(payload, source, Arrival::Forwarded, Placement::Assignment)
    }

    fn steer_arrived(&self, payload: &[u8], source: &Endpoint, arrival: Arrival, placement: Placement) -> Steered {
        let whole = Payload { at: 0, length: payload.len() };
        let header = match quic::classify(payload, whole, self.settings.cid_length()) {
            Ok(header) => header,
            Err(reason) => return Steered { verdict: Verdict::Drop(reason), rotation: None },
        };
        let view = self.view(placement);
        // One hop, never two: of a first flight the sockets do not tell whether it came out of the tunnel.
        let may_be_forwarded = view.nodes.is_behind_xdp && header.kind.may_be_first_flight();
        let verdict = match arrival {
            Arrival::Direct if !may_be_forwarded => steer::route(&header, source, InPlace::Nothing, &view),
            Arrival::Direct | Arrival::Forwarded => steer::route_forwarded(&header, source, &view),
        };
        let rotation = (verdict.reason() == Reason::Cid).then(|| header.destination.rotation());
        Steered { verdict, rotation }
    }

    /// The decision's view of these tables.
    pub fn view(&self, placement: Placement) -> View<'_> {
        View { tables: self, connection_ids: self.connection_ids.now(), nodes: self.nodes.load(), placement }
    }
}

/// What was decided about a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered {
    /// What to do with it.
    pub verdict: Verdict<()>,
    /// The rotation (0 to 6) of the configuration that decoded its connection ID, if that is what decided.
    pub rotation: Option<ConfigRotation>,
}

/// A connection of our own that is about to begin.
#[derive(Debug)]
pub struct ExpectedProbe<'a> {
    cid: ConnectionId,
    tables: &'a NodeTables,
}

impl Drop for ExpectedProbe<'_> {
    fn drop(&mut self) {
        self.tables.probes.lock().unwrap_or_else(PoisonError::into_inner).retain(|cid| *cid != self.cid);
    }
}

/// The decision's view of the node's tables.
pub struct View<'a> {
    tables: &'a NodeTables,
    connection_ids: Guard<Arc<Set>>,
    nodes: Guard<Arc<NodeList>>,
    placement: Placement,
}

impl Tables for View<'_> {
    type Flow = ();
    type Keys = HostKeys;

    fn settings(&self) -> Option<Settings> {
        let settings = self.tables.settings.with_blocks(self.tables.blocks.load().len());
        Some(settings.with_nodes(self.nodes.nodes.len() as u32))
    }

    fn listens(&self, destination: &Endpoint) -> bool {
        self.tables.listener(destination).is_some()
    }

    fn flow(&self, cid: &ConnectionId) -> Option<((), SlotId)> {
        self.tables.first_flights.slot_of(cid).map(|slot| ((), slot))
    }

    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig> {
        Some(self.connection_ids.get(rotation)?.config())
    }

    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&HostKeys> {
        Some(self.connection_ids.get(rotation)?.keys())
    }

    fn slot(&self, slot: SlotId) -> Option<Slot> {
        Some(Slot::new(self.tables.slot_state(slot), CpuId::new(0), GenerationId::new(0)))
    }

    fn assigned(&self, hash: u64) -> Option<SlotId> {
        match self.placement {
            Placement::Kernel(slot) => Some(slot),
            Placement::Assignment => {
                let assignment = self.tables.assignment.read().unwrap_or_else(PoisonError::into_inner);
                assignment.get(Assigned::index(0, hash) as usize)?.slot()
            }
        }
    }

    fn hash_seed(&self) -> Option<[u64; 2]> {
        Some(self.tables.hash_seed)
    }

    /// What a worker looks at has come in.
    fn queue(&self) -> Option<&Queue> {
        None
    }

    fn is_local(&self, _: &Address) -> bool {
        false
    }

    fn is_broadcast(&self, address: &Address) -> bool {
        self.tables.broadcast.load().contains(address)
    }

    /// Where the kernel placed the packet, it was asked there, where the block list may have let it pass.
    fn refuses_port(&self, port: u16) -> bool {
        if matches!(self.placement, Placement::Kernel(_)) {
            return false;
        }
        let words = self.tables.source_ports.load();
        words.get(SourcePorts::index(port) as usize).is_some_and(|word| word.refuses(port))
    }

    /// Where the kernel placed the packet, it was asked there.
    fn listed(&self, source: &Address) -> Listed {
        match self.placement {
            Placement::Kernel(_) => Listed::No,
            Placement::Assignment => self.tables.listed_packet(*source, |_| true),
        }
    }

    /// Where the kernel placed the packet, it was asked there.
    fn admits(&self, kind: Limited) -> bool {
        if matches!(self.placement, Placement::Kernel(_)) {
            return true;
        }
        let now = monotonic_now();
        let Some(rate) = self.tables.admission.load().rate_at(kind, now) else { return true };
        let bucket = &self.tables.buckets[kind as usize];
        bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| rate.take(word, now)).is_ok()
    }

    /// It is asked where packets are answered, of what is not to come to a worker.
    fn admits_from(&self, _: &Address) -> bool {
        true
    }

    fn admits_validated(&self, _: &Address) -> bool {
        true
    }

    /// quinn does, on the worker that gets the packet.
    fn answers(&self) -> bool {
        false
    }

    fn challenge(&self) -> Challenge {
        self.tables.admission.load().challenge()
    }

    /// The worker that gets the packet has them.
    fn token_keys(&self) -> Option<&TokenKeys> {
        None
    }

    fn unix_seconds(&self) -> u64 {
        self.tables.admission.load().unix_seconds(monotonic_now())
    }

    fn is_tunnel(&self, destination: &Endpoint) -> bool {
        self.nodes.tunnel == Some(*destination)
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.nodes.get(&node)
    }

    /// Where an XDP program places new connections, there is no assignment here.
    fn assigned_node(&self, hash: u64) -> Option<NodeId> {
        self.nodes.assignment.as_ref()?.get(AssignedNode::index(0, hash) as usize)?.node()
    }

    fn tunnel_keys(&self) -> Option<&TunnelKeys> {
        Some(&self.nodes.keys)
    }
}

impl fmt::Debug for NodeTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeTables").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
