//! Handles on the flow table: the workers write it, the control socket reads it.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

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
    pub fn insert(&mut self, cid: &ConnectionId, slot: u8, origin: Origin) -> bool {
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

/// Nanoseconds of CLOCK_MONOTONIC, the clock of the flow table: the host's, also in a time namespace
/// (`time_namespaces(7)`), where this process' own is ahead or behind.
pub fn monotonic_now() -> u64 {
    static AHEAD: LazyLock<i64> =
        LazyLock::new(|| fs::read_to_string("/proc/self/timens_offsets").map_or(0, |text| ahead(&text)));
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64);
    now.saturating_add_signed(-*AHEAD)
}

/// How far a time namespace is ahead of the host, in nanoseconds.
fn ahead(offsets: &str) -> i64 {
    let of_monotonic = offsets.lines().find_map(|line| {
        let [clock, seconds, nanoseconds] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        matches!(clock, "monotonic" | "1").then_some((seconds, nanoseconds))
    });
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    of_monotonic.map_or(0, |(seconds, nanoseconds)| number(seconds) * 1_000_000_000 + number(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flows in use had been swept as idle (ANOLISA#3121).
    #[test]
    fn a_time_namespace_is_ahead_or_behind() {
        assert_eq!(ahead("monotonic           0         0\nboottime            0         0\n"), 0);
        assert_eq!(ahead("monotonic      172800         5\nboottime            0         0\n"), 172_800_000_000_005);
        assert_eq!(ahead("monotonic         -10         0\nboottime            7         0\n"), -10_000_000_000);
        assert_eq!(ahead(""), 0);
    }
}
