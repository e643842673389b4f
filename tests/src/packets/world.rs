//! The world that the table of packets is about, in memory: what the decision sees of it
//! when nothing but a function runs.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
};

use router_common::{
    admission::{Challenge, Limited, Listed, Prefix, TokenKey, TokenKeys},
    connection_id::{CidKeys, ConnectionId, Identity},
    frame::{Address, Endpoint},
    identifiers::{ConfigRotation, CpuId, GenerationId, NodeId, SlotId},
    maps::{
        ASSIGNMENT_SIZE, Assigned, AssignedNode, Block, BlockAction, CidConfig, ListenerKey, LocalKind, Node, Queue,
        Settings, Slot, SlotState,
    },
    steer::Tables,
    tunnel::TunnelKeys,
};
use router_userspace::datapath::CidEntry;

use super::{
    BLOCKS, BROADCAST, CID_LENGTH, LISTENERS, LOCAL, NODE_ID, PLANTED_FLOWS, REFUSED_PORTS, SLOTS,
    cluster::{Cluster, TUNNEL_PORT, own_address},
    in_clear,
};

/// The same settings, listeners, slots and flows as [`cases`](super::cases) speaks of.
#[derive(Clone)]
pub struct World {
    flows: HashMap<ConnectionId, SlotId>,
    configs: Vec<CidEntry>,
    queue: Option<Queue>,
    full: Option<Limited>,
    busy_sources: bool,
    answers: bool,
    challenge: Challenge,
    token_keys: TokenKeys,
    now: u64,
    cluster: Option<Cluster>,
}

impl World {
    /// With the planted flows, and one configuration of connection IDs: in clear.
    pub fn new() -> Self {
        let flows =
            PLANTED_FLOWS.map(|(cid, slot)| (ConnectionId::new(cid).expect("at most 20 octets"), SlotId::new(slot)));
        let configs = vec![entry(0, in_clear(NODE_ID))];
        let (challenge, token_keys) = (Challenge::Never, Self::token_keys_now());
        Self {
            flows: flows.into(),
            configs,
            queue: None,
            full: None,
            busy_sources: false,
            answers: false,
            challenge,
            token_keys,
            now: Self::NOW,
            cluster: None,
        }
    }

    /// The same with an encrypted configuration under rotation 1, and under rotation 2 one whose
    /// server ID comes from outside.
    pub fn with_all_encodings() -> Self {
        let encrypted = CidConfig::encrypted(Identity::node(NODE_ID), CID_LENGTH.into());
        let server_id = Identity::server_id(b"outside").expect("7 octets");
        let mut world = Self::new();
        let outside = CidConfig::in_clear(server_id, CID_LENGTH.into());
        world.configs.push(entry(1, encrypted.expect("a legal length")));
        world.configs.push(entry(2, outside.expect("a legal length")));
        world
    }

    /// The same where each frame came in on this queue, which a worker has.
    pub fn on_queue(self, queue: Queue) -> Self {
        Self { queue: Some(queue), ..self }
    }

    /// The same where no more packets of a kind are let through.
    pub fn without_room_for(self, kind: Limited) -> Self {
        Self { full: Some(kind), ..self }
    }

    /// The same where no prefix may send more first flights.
    pub fn with_busy_sources(self) -> Self {
        Self { busy_sources: true, ..self }
    }

    /// The same where XDP answers what it can itself.
    pub fn answering(self) -> Self {
        Self { answers: true, ..self }
    }

    /// The same where XDP asks clients to show that they receive at their address.
    pub fn challenging(self, challenge: Challenge) -> Self {
        Self { challenge, answers: true, ..self }
    }

    /// The same in a cluster.
    pub fn within(self, cluster: Cluster) -> Self {
        Self { cluster: Some(cluster), ..self }
    }

    /// Its cluster, if it is in one.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The same so many seconds after [`NOW`](Self::NOW).
    pub fn later(self, seconds: u64) -> Self {
        Self { now: Self::NOW + seconds, ..self }
    }

    /// What vouches for tokens there.
    pub fn token_keys_now() -> TokenKeys {
        let epoch = TokenKey::epoch_at(Self::NOW);
        TokenKeys::new(TokenKey::new(epoch, [5, 6]), TokenKey::new(epoch - 1, [7, 8]))
    }

    /// What time it is there, in seconds from 1970 on.
    pub const NOW: u64 = 1_800_000_000;

    /// Its configurations of connection IDs, by rotation.
    pub fn configs(&self) -> &[CidEntry] {
        &self.configs
    }

    /// Its listeners' keys.
    pub fn listeners() -> [ListenerKey; LISTENERS.len()] {
        LISTENERS.map(key)
    }

    /// The host's addresses, as the maps have them.
    pub fn local_addresses() -> BTreeMap<[u8; 16], LocalKind> {
        let for_nodes = [1, 2].map(own_address);
        let own = LOCAL.into_iter().chain(for_nodes).map(|address| (address, LocalKind::Own));
        let all = own.chain([(IpAddr::V4(BROADCAST), LocalKind::Broadcast)]);
        all.map(|(address, kind)| (mapped(address).octets().0, kind)).collect()
    }

    /// The block list, as the maps have it; none of it ends.
    pub fn blocks() -> Vec<(Prefix, Block)> {
        let block = |(id, (prefix, action)): (u32, (Prefix, BlockAction))| (prefix, Block::new(action, id, 0));
        (1..).zip(blocks()).map(block).collect()
    }

    /// The slot that each entry of the assignment names: all slots in turn.
    pub fn assignment() -> Vec<Assigned> {
        (0..ASSIGNMENT_SIZE).map(|index| Assigned::to(slot_of(index))).collect()
    }

    /// The seed of its hash.
    pub const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Tables for World {
    type Flow = ();
    type Keys = CidKeys;

    fn settings(&self) -> Option<Settings> {
        let settings = Settings::new(NODE_ID, CID_LENGTH, GenerationId::new(1));
        let nodes = self.cluster.as_ref().map_or(0, |cluster| cluster.nodes.len());
        Some(settings.with_blocks(BLOCKS.len() as u32).with_nodes(nodes as u32))
    }

    fn listens(&self, destination: &Endpoint) -> bool {
        let keys = [ListenerKey::exact(destination), ListenerKey::wildcard(destination)];
        Self::listeners().iter().any(|listener| keys.contains(listener))
    }

    fn flow(&self, cid: &ConnectionId) -> Option<((), SlotId)> {
        self.flows.get(cid).map(|&slot| ((), slot))
    }

    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig> {
        self.configs.iter().find(|entry| entry.rotation == rotation).map(|entry| &entry.config)
    }

    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&CidKeys> {
        self.configs.iter().find(|entry| entry.rotation == rotation).map(|entry| &entry.keys)
    }

    fn slot(&self, slot: SlotId) -> Option<Slot> {
        let state = if slot < SlotId::new(SLOTS) { SlotState::Active } else { SlotState::Free };
        Some(Slot::new(state, CpuId::new(0), GenerationId::new(1)))
    }

    fn assigned(&self, hash: u64) -> Option<SlotId> {
        Some(slot_of(Assigned::index(0, hash)))
    }

    fn hash_seed(&self) -> Option<[u64; 2]> {
        Some(Self::SEED)
    }

    fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }

    fn is_local(&self, address: &Address) -> bool {
        Self::local_addresses().get(&address.octets().0) == Some(&LocalKind::Own)
    }

    fn is_broadcast(&self, address: &Address) -> bool {
        Self::local_addresses().get(&address.octets().0) == Some(&LocalKind::Broadcast)
    }

    fn listed(&self, source: &Address) -> Listed {
        let holding = blocks().into_iter().filter(|(prefix, _)| prefix.holds(source));
        holding.max_by_key(|(prefix, _)| prefix.length()).map_or(Listed::No, |(_, action)| action.into())
    }

    fn refuses_port(&self, port: u16) -> bool {
        REFUSED_PORTS.iter().any(|range| range.contains(&port))
    }

    fn admits(&self, kind: Limited) -> bool {
        self.full != Some(kind)
    }

    fn admits_from(&self, _: &Address) -> bool {
        !self.busy_sources
    }

    fn admits_validated(&self, _: &Address) -> bool {
        !self.busy_sources
    }

    fn answers(&self) -> bool {
        self.answers
    }

    fn challenge(&self) -> Challenge {
        self.challenge
    }

    fn token_keys(&self) -> Option<&TokenKeys> {
        Some(&self.token_keys)
    }

    fn unix_seconds(&self) -> u64 {
        self.now
    }

    fn is_tunnel(&self, destination: &Endpoint) -> bool {
        destination.port == TUNNEL_PORT
            && self.cluster.as_ref().is_some_and(|cluster| cluster.keys.end_at(&destination.address))
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        self.cluster.as_ref()?.nodes.get(&node)
    }

    fn assigned_node(&self, hash: u64) -> Option<NodeId> {
        let assignment = self.cluster.as_ref()?.assignment.as_ref()?;
        assignment[AssignedNode::index(0, hash) as usize].node()
    }

    fn tunnel_keys(&self) -> Option<&TunnelKeys> {
        self.cluster.as_ref().map(|cluster| &cluster.keys)
    }
}

fn entry(rotation: u8, config: CidConfig) -> CidEntry {
    CidEntry { rotation: ConfigRotation::new(rotation), config, keys: keys() }
}

fn blocks() -> Vec<(Prefix, BlockAction)> {
    BLOCKS.iter().map(|(prefix, action)| (prefix.parse().expect("a prefix"), *action)).collect()
}

fn keys() -> CidKeys {
    CidKeys::new(b"no secret at all", World::SEED)
}

fn slot_of(index: u32) -> SlotId {
    SlotId::new((index % u32::from(SLOTS)) as u8)
}

fn key(listener: SocketAddr) -> ListenerKey {
    ListenerKey::exact(&Endpoint { address: mapped(listener.ip()), port: listener.port() })
}

/// An address as the maps have it.
fn mapped(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => Address::ipv4(v4.octets()),
        IpAddr::V6(v6) => Address::new(v6.octets()),
    }
}
