//! Handles on the flow table: the workers write it, the control socket reads it.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use aya::maps::{HashMap, Map, MapData};
use router_common::{
    connection_id::ConnectionId,
    identifiers::SlotId,
    maps::{Flow, FlowKey, Origin},
};

use super::{error::Result, plain::Plain};
use crate::clock::monotonic_now;

/// Writes and removes flows. Each worker has its own.
pub struct FlowWriter {
    map: FlowMap,
    count: FlowCount,
}

/// How many flows there are. It is kept, not counted: to walk a million entries takes half a second.
///
/// What another generation or another program writes and removes is missed, until it is
/// [counted again](FlowWriter::recount).
#[derive(Clone, Debug, Default)]
pub struct FlowCount(Arc<AtomicU64>);

impl FlowCount {
    /// How many there are.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn subtract(&self) {
        // Removed may be one that was never counted.
        let _ = self.0.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
    }
}

/// Reads flows.
pub struct FlowReader {
    map: FlowMap,
}

type FlowMap = HashMap<MapData, Plain<FlowKey>, Plain<Flow>>;

impl FlowWriter {
    /// Opens the table that is pinned at `pin`; what it writes and removes, `count` counts.
    ///
    /// # Errors
    ///
    /// Nothing is pinned there, or something else, or it may not be opened.
    pub fn open(pin: &Path, count: FlowCount) -> Result<Self> {
        Ok(Self { map: open(pin)?, count })
    }

    /// Counts all flows, which takes a while.
    pub fn recount(&self) {
        self.count.0.store(self.map.keys().filter(|key| key.is_ok()).count() as u64, Relaxed);
    }

    /// Sends `cid` to `slot` from now on. False if the table is full: then the connection
    /// ID has to speak for itself, which it does.
    pub fn insert(&mut self, cid: &ConnectionId, slot: SlotId, origin: Origin) -> bool {
        let flow = Flow::new(slot, origin, monotonic_now());
        let (key, value) = (Plain(*cid), Plain(flow));
        if self.map.insert(key, value, IF_NEW).is_ok() {
            self.count.add();
            return true;
        }
        // It is there already, or there is no room.
        self.map.insert(key, value, 0).is_ok()
    }

    /// Forgets `cid`.
    pub fn remove(&mut self, cid: &ConnectionId) {
        // It may be gone already; that is what was asked for.
        if self.map.remove(&Plain(*cid)).is_ok() {
            self.count.subtract();
        }
    }

    /// What the kernel noted about `cid`.
    pub fn get(&self, cid: &ConnectionId) -> Option<Flow> {
        get(&self.map, cid)
    }
}

impl FlowReader {
    pub(super) fn open(pin: &Path) -> Result<Self> {
        Ok(Self { map: open(pin)? })
    }

    /// What the kernel noted about `cid`.
    pub fn get(&self, cid: &ConnectionId) -> Option<Flow> {
        get(&self.map, cid)
    }

    /// Every flow. Entries that come or go meanwhile may be missed.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, Flow)> + '_ {
        self.map.iter().filter_map(|entry| entry.ok().map(|(key, flow)| (key.0, flow.0)))
    }
}

/// `BPF_NOEXIST`
const IF_NEW: u64 = 1;

fn open(pin: &Path) -> Result<FlowMap> {
    Ok(FlowMap::try_from(Map::HashMap(MapData::from_pin(pin)?))?)
}

fn get(map: &FlowMap, cid: &ConnectionId) -> Option<Flow> {
    map.get(&Plain(*cid), 0).ok().map(|flow| flow.0)
}
