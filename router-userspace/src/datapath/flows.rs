//! Handles on the flow table: the workers write it, the control socket reads it.

use std::path::Path;

use aya::maps::{HashMap, Map, MapData};
use nix::time::{ClockId, clock_gettime};
use router_common::{
    connection_id::ConnectionId,
    maps::{Flow, FlowKey, Origin},
};

use super::{error::Result, plain::Plain};

/// Writes and removes flows. Each worker has its own.
pub struct FlowWriter {
    map: FlowMap,
}

/// Reads flows.
pub struct FlowReader {
    map: FlowMap,
}

type FlowMap = HashMap<MapData, Plain<FlowKey>, Plain<Flow>>;

impl FlowWriter {
    pub(super) fn open(pin: &Path) -> Result<Self> {
        Ok(Self { map: open(pin)? })
    }

    /// Sends `cid` to `slot` from now on. False if the table is full: then the connection
    /// ID has to speak for itself, which it does.
    pub fn insert(&mut self, cid: &ConnectionId, slot: u8, origin: Origin) -> bool {
        let flow = Flow::new(slot, origin, monotonic_now());
        self.map.insert(Plain(*cid), Plain(flow), 0).is_ok()
    }

    /// Forgets `cid`.
    pub fn remove(&mut self, cid: &ConnectionId) {
        // It may be gone already; that is what was asked for.
        let _ = self.map.remove(&Plain(*cid));
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

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.map.keys().filter(|key| key.is_ok()).count() as u64
    }
}

fn open(pin: &Path) -> Result<FlowMap> {
    Ok(FlowMap::try_from(Map::HashMap(MapData::from_pin(pin)?))?)
}

fn get(map: &FlowMap, cid: &ConnectionId) -> Option<Flow> {
    map.get(&Plain(*cid), 0).ok().map(|flow| flow.0)
}

/// Nanoseconds of CLOCK_MONOTONIC, the clock of the flow table.
pub fn monotonic_now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}
