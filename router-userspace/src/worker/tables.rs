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
mod tests {
    use router_common::{admission::Rate, maps::Block, reason::Reason};

    use super::{super::connection_ids::configuration::tests::configuration, *};

    impl NodeTables {
        /// Of node 7; all slots are free, and there is no listener.
        pub(crate) fn for_tests() -> Self {
            let without = Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[9; 32]));
            let ids = Arc::new(ConnectionIds::new(configuration(0), without));
            Self::new(Settings::new(7, 17, GenerationId::new(1)), ids, [1, 2])
        }
    }

    /// A source port that is not refused.
    const PORT: u16 = 4000;

    fn from(port: u16) -> Endpoint {
        Endpoint { address: Address::ipv4([192, 0, 2, 1]), port }
    }

    fn tables() -> NodeTables {
        let tables = NodeTables::for_tests();
        tables.set_slot_state(SlotId::new(3), SlotState::Active);
        tables
    }

    fn one_rtt(cid: &ConnectionId) -> Vec<u8> {
        let mut payload = vec![0x40];
        payload.extend(cid.as_slice());
        payload.extend([0; 24]);
        payload
    }

    fn initial(cid: &ConnectionId) -> Vec<u8> {
        let mut payload = vec![0xc0, 0, 0, 0, 1, cid.len() as u8];
        payload.extend(cid.as_slice());
        payload.resize(1200, 0);
        payload
    }

    fn delivery(Steered { verdict, rotation }: Steered) -> (u8, Reason) {
        assert_eq!(rotation.is_some(), verdict.reason() == Reason::Cid);
        match verdict {
            Verdict::Deliver(delivery) => (delivery.number.get(), delivery.reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cid_of_ours_names_its_slot_whichever_worker_got_the_packet() {
        let tables = tables();
        let cid = tables.connection_ids().issue(SlotId::new(3));
        for placement in [Placement::Kernel(SlotId::new(5)), Placement::Assignment] {
            assert_eq!(delivery(tables.steer(&one_rtt(&cid), &from(PORT), placement)), (3, Reason::Cid));
        }
    }

    #[test]
    fn what_the_kernel_placed_stays_there() {
        let tables = tables();
        tables.set_slot_state(SlotId::new(5), SlotState::Active);
        let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
        assert_eq!(
            delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Kernel(SlotId::new(5)))),
            (5, Reason::Assigned)
        );
    }

    #[test]
    fn a_first_flight_stays_with_the_worker_that_accepted_it() {
        let tables = tables();
        // Chosen by the client, and looking like slot 3's by chance.
        let chosen = tables.connection_ids().issue(SlotId::new(3));
        tables.set_slot_state(SlotId::new(5), SlotState::Active);
        tables.first_flights().insert(chosen, SlotId::new(5));
        assert_eq!(
            delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Kernel(SlotId::new(5)))),
            (5, Reason::Flow)
        );
        tables.first_flights().remove(&chosen);
        assert_eq!(
            delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Kernel(SlotId::new(5)))),
            (3, Reason::Cid)
        );
    }

    #[test]
    fn first_flights_from_some_ports_are_refused_and_nothing_else() {
        let tables = tables();
        tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
        tables.set_source_ports(SourcePorts::refusing(&[53..=53]).to_vec());
        let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
        let come = |port, payload: &[u8]| tables.steer(payload, &from(port), Placement::Assignment);
        assert_eq!(come(53, &initial(&chosen)).verdict, Verdict::Drop(Reason::SourcePort));
        assert_eq!(delivery(come(54, &initial(&chosen))), (3, Reason::Assigned));
        // Of a connection that is there.
        let own = tables.connection_ids().issue(SlotId::new(3));
        assert_eq!(delivery(come(53, &one_rtt(&own))), (3, Reason::Cid));
        tables.first_flights().insert(chosen, SlotId::new(3));
        assert_eq!(delivery(come(53, &initial(&chosen))), (3, Reason::Flow));
    }

    #[test]
    fn unknown_ones_are_limited_where_no_kernel_has_done_so() {
        let tables = tables();
        tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
        // One a second, and one at once.
        let one = |of| Rate::per_second(1).filter(|_| of == Limited::Unknown);
        let limited = Admission::default().limiting(one);
        tables.set_admission(limited);
        let garbage = one_rtt(&ConnectionId::new(&[0xff; 17]).unwrap());
        let come = |placement| tables.steer(&garbage, &from(PORT), placement);
        assert_eq!(delivery(come(Placement::Assignment)), (3, Reason::Unknown));
        assert_eq!(come(Placement::Assignment).verdict, Verdict::Drop(Reason::UnknownLimited));
        assert_eq!(delivery(come(Placement::Kernel(SlotId::new(3)))), (3, Reason::Unknown));
        // What is known, or may begin a connection, is not asked.
        let own = tables.connection_ids().issue(SlotId::new(3));
        assert_eq!(delivery(tables.steer(&one_rtt(&own), &from(PORT), Placement::Assignment)), (3, Reason::Cid));
        let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
        assert_eq!(
            delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Assignment)),
            (3, Reason::Assigned)
        );
        // Set again, it begins anew; and for a while after a start nothing is limited.
        tables.set_admission(limited.limiting(one));
        assert_eq!(delivery(come(Placement::Assignment)), (3, Reason::Unknown));
        tables.set_admission(limited.limiting_unknown_from(u64::MAX));
        assert_eq!(delivery(come(Placement::Assignment)), (3, Reason::Unknown));
    }

    #[test]
    fn so_are_unknown_versions() {
        let tables = tables();
        tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
        tables.set_admission(
            Admission::default().limiting(|of| Rate::per_second(1).filter(|_| of == Limited::VersionNegotiation)),
        );
        let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
        let mut unknown = initial(&chosen);
        unknown[1] = 0xfa;
        let come = |payload: &[u8]| tables.steer(payload, &from(PORT), Placement::Assignment);
        assert_eq!(delivery(come(&unknown)), (3, Reason::Assigned));
        assert_eq!(come(&unknown).verdict, Verdict::Drop(Reason::NegotiationLimited));
        assert_eq!(delivery(come(&initial(&chosen))), (3, Reason::Assigned));
        // Of a connection that is there.
        tables.first_flights().insert(chosen, SlotId::new(3));
        assert_eq!(delivery(come(&unknown)), (3, Reason::Flow));
    }

    #[test]
    fn blocked_sources_are_dropped_where_no_kernel_has_done_so() {
        let tables = tables();
        tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
        tables.set_source_ports(SourcePorts::refusing(&[53..=53]).to_vec());
        let counts = [BlockCount::default(), BlockCount::default()];
        let entry = |prefix: &str, block, n: usize| (prefix.parse().unwrap(), block, counts[n].clone());
        tables.set_blocks(BlockTable::new([
            entry("192.0.2.0/24", Block::new(BlockAction::Drop, 1, 0), 0),
            entry("192.0.2.7", Block::new(BlockAction::Allow, 2, 0), 1),
            entry("192.0.2.8", Block::new(BlockAction::Drop, 3, 1), 1),
        ]));
        let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
        let garbage = one_rtt(&ConnectionId::new(&[0xff; 17]).unwrap());
        let own = tables.connection_ids().issue(SlotId::new(3));
        let come = |last, port, payload: &[u8]| {
            let source = Endpoint { address: Address::ipv4([192, 0, 2, last]), port };
            tables.steer(payload, &source, Placement::Assignment)
        };
        assert_eq!(come(1, PORT, &initial(&chosen)).verdict, Verdict::Drop(Reason::Blocked));
        assert_eq!(come(1, PORT, &garbage).verdict, Verdict::Drop(Reason::Blocked));
        // Of a connection that is there.
        assert_eq!(delivery(come(1, PORT, &one_rtt(&own))), (3, Reason::Cid));
        // Whom an entry allows in, no port keeps out.
        assert_eq!(delivery(come(7, 53, &initial(&chosen))), (3, Reason::Assigned));
        assert_eq!((counts[0].get(), counts[1].get()), (2, 1));
        // What has ended is none, and the shorter one does not stand in for it until it is removed.
        assert_eq!(delivery(come(8, PORT, &initial(&chosen))), (3, Reason::Assigned));
        // A look counts nothing.
        assert_eq!(tables.listed(Address::ipv4([192, 0, 2, 1])), Listed::Drop);
        assert_eq!((tables.block_total(BlockAction::Drop), tables.block_total(BlockAction::Allow)), (2, 1));
        tables.set_blocks(BlockTable::default());
        assert_eq!(delivery(come(1, PORT, &initial(&chosen))), (3, Reason::Assigned));
    }

    #[test]
    fn without_a_kernel_the_assignment_places() {
        let tables = tables();
        let chosen = ConnectionId::new(&[0xe7; 8]).unwrap();
        assert_eq!(
            tables.steer(&initial(&chosen), &from(PORT), Placement::Assignment).verdict,
            Verdict::Pass(Reason::NoSlot)
        );
        tables.assign(&vec![Assigned::to(SlotId::new(3)); router_common::maps::ASSIGNMENT_SIZE as usize]);
        assert_eq!(
            delivery(tables.steer(&initial(&chosen), &from(PORT), Placement::Assignment)),
            (3, Reason::Assigned)
        );
    }
}
