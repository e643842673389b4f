//! Client-chosen connection IDs of connections that exist, and the workers that have them.

use std::{
    array,
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use router_common::{connection_id::ConnectionId, identifiers::SlotId};

/// Client-chosen connection IDs, and the slot that accepted each.
#[derive(Debug)]
pub struct FirstFlights {
    hasher: RandomState,
    shards: [Mutex<HashMap<ConnectionId, SlotId>>; 64],
}

impl Default for FirstFlights {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: array::from_fn(|_| Mutex::default()) }
    }
}

impl FirstFlights {
    /// The slot that accepted the connection whose client chose `cid`.
    pub fn slot_of(&self, cid: &ConnectionId) -> Option<SlotId> {
        self.shard(cid).get(cid).copied()
    }

    /// Notes that `slot` accepted it.
    pub fn insert(&self, cid: ConnectionId, slot: SlotId) {
        self.shard(&cid).insert(cid, slot);
    }

    /// Forgets it.
    pub fn remove(&self, cid: &ConnectionId) {
        self.shard(cid).remove(cid);
    }

    fn shard(&self, cid: &ConnectionId) -> MutexGuard<'_, HashMap<ConnectionId, SlotId>> {
        let index = self.hasher.hash_one(cid) as usize % self.shards.len();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
