//! The world that the table of packets is about, in memory: what the decision sees of it
//! when nothing but a function runs.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use router_common::{
    connection_id::{ConnectionId, Layout},
    frame::{Address, Endpoint},
    maps::{ASSIGNMENT_SIZE, Assigned, CidConfig, ListenerKey, Settings, Slot, SlotState},
    steer::Tables,
};

use super::{CID_LENGTH, LISTENERS, NODE_ID, PLANTED_FLOWS, SLOTS};

/// The same settings, listeners, slots and flows as [`cases`](super::cases) speaks of.
#[derive(Clone, Debug)]
pub struct World {
    flows: HashMap<ConnectionId, u8>,
}

impl World {
    /// With the planted flows.
    pub fn new() -> Self {
        let flows = PLANTED_FLOWS.map(|(cid, slot)| (ConnectionId::new(cid).expect("at most 20 octets"), slot));
        Self { flows: flows.into() }
    }

    /// Its listeners' keys.
    pub fn listeners() -> [ListenerKey; LISTENERS.len()] {
        LISTENERS.map(key)
    }

    /// How its connection IDs look.
    pub fn layout() -> Layout {
        Layout::new(0, CID_LENGTH).expect("a legal rotation and length")
    }

    /// Whom each entry of the assignment names: the slots in turn.
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

    fn settings(&self) -> Option<Settings> {
        Some(Settings::new(NODE_ID, CID_LENGTH, 1))
    }

    fn listens(&self, destination: &Endpoint) -> bool {
        let keys = [ListenerKey::exact(destination), ListenerKey::wildcard(destination)];
        Self::listeners().iter().any(|listener| keys.contains(listener))
    }

    fn flow(&self, cid: &ConnectionId) -> Option<((), u8)> {
        self.flows.get(cid).map(|&slot| ((), slot))
    }

    fn cid_config(&self, rotation: u8) -> Option<CidConfig> {
        (rotation < 7).then(|| if rotation == 0 { CidConfig::clear(Self::layout()) } else { CidConfig::default() })
    }

    fn slot(&self, slot: u8) -> Option<Slot> {
        let state = if slot < SLOTS { SlotState::Active } else { SlotState::Free };
        Some(Slot::new(state, 0, 1))
    }

    fn assigned(&self, hash: u64) -> Option<u8> {
        Some(slot_of(Assigned::index(0, hash)))
    }

    fn hash_seed(&self) -> Option<[u64; 2]> {
        Some(Self::SEED)
    }
}

fn slot_of(index: u32) -> u8 {
    (index % u32::from(SLOTS)) as u8
}

fn key(listener: SocketAddr) -> ListenerKey {
    let address = match listener.ip() {
        IpAddr::V4(v4) => Address::ipv4(v4.octets()),
        IpAddr::V6(v6) => Address::new(v6.octets()),
    };
    ListenerKey::exact(&Endpoint { address, port: listener.port() })
}
