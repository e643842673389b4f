//! Does every packet of the table get the same verdict, whoever decides?

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
};

use router_common::{
    connection_id::{ConnectionId, Layout},
    frame::{Address, Endpoint},
    maps::{CidConfig, Listener, ListenerKey, Settings, Slot, SlotState},
    reason::{Fate, Reason},
    steer::{self, Tables, Verdict},
};
use router_tests::packets::{CID_LENGTH, LISTENERS, NODE_ID, PLANTED_FLOWS, SLOTS, cases};

#[test]
fn as_a_function() {
    let world = World::new();
    for case in cases() {
        let (verdict, _) = steer::frame(&case.frame[..], &world);
        assert_eq!(verdict.reason(), case.reason, "{}: {:02x?}", case.name, case.frame);
        let slot = match verdict {
            Verdict::Pass(reason) => (reason.fate() == Fate::Passed).then_some(None),
            Verdict::Drop(reason) => (reason.fate() == Fate::Dropped).then_some(None),
            Verdict::Deliver(delivery) => (delivery.reason.fate() == Fate::Delivered).then_some(Some(delivery.number)),
        };
        let slot = slot.unwrap_or_else(|| panic!("{}: {verdict:?} has the wrong fate", case.name));
        assert!(case.slot.is_none() || case.slot == slot, "{}: delivered to {slot:?}", case.name);
    }
}

#[test]
fn the_table_knows_every_reason() {
    let known: BTreeSet<_> = cases().iter().map(|case| case.reason.name()).collect();
    // Only a node without any active slot has this one.
    let all = Reason::ALL.iter().filter(|&&reason| reason != Reason::NoSlot);
    let unknown: Vec<_> = all.map(|reason| reason.name()).filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "no case for {unknown:?}");
}

#[test]
fn names_tell_cases_apart() {
    let names: Vec<_> = cases().iter().map(|case| case.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}

/// The world of the table, in memory.
struct World {
    listeners: Vec<ListenerKey>,
    flows: HashMap<ConnectionId, u8>,
}

impl World {
    fn new() -> Self {
        let flows = PLANTED_FLOWS.map(|(cid, slot)| (ConnectionId::new(cid).expect("at most 20 octets"), slot));
        Self { listeners: LISTENERS.map(key).into(), flows: flows.into() }
    }
}

fn key(listener: SocketAddr) -> ListenerKey {
    let address = match listener.ip() {
        IpAddr::V4(v4) => Address::ipv4(v4.octets()),
        IpAddr::V6(v6) => Address::new(v6.octets()),
    };
    ListenerKey::exact(&Endpoint { address, port: listener.port() })
}

impl Tables for World {
    type Flow = ();

    fn settings(&self) -> Option<Settings> {
        Some(Settings::new(NODE_ID, CID_LENGTH, 1))
    }

    fn listener(&self, destination: &Endpoint) -> Option<Listener> {
        let matches = |key| self.listeners.iter().position(|listener| *listener == key);
        let number =
            matches(ListenerKey::exact(destination)).or_else(|| matches(ListenerKey::wildcard(destination)))?;
        Some(Listener::new(number as u16))
    }

    fn flow(&self, cid: &ConnectionId) -> Option<((), u8)> {
        self.flows.get(cid).map(|&slot| ((), slot))
    }

    fn cid_config(&self, rotation: u8) -> Option<CidConfig> {
        let layout = Layout::new(0, CID_LENGTH).expect("a legal layout");
        (rotation < 7).then(|| if rotation == 0 { CidConfig::clear(layout) } else { CidConfig::default() })
    }

    fn slot(&self, slot: u8) -> Option<Slot> {
        let state = if slot < SLOTS { SlotState::Active } else { SlotState::Free };
        Some(Slot::new(state, 0, 1))
    }

    fn assigned(&self, hash: u64) -> Option<u8> {
        Some((hash % u64::from(SLOTS)) as u8)
    }

    fn hash_seed(&self) -> Option<[u64; 2]> {
        Some([1, 2])
    }
}
