//! What the tunnel's socket has counted.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use router_common::{identifiers::NodeId, maps::NodeCounters, reason::Counters, reason::Reason};

/// Packets that left and came by the tunnel's socket.
#[derive(Clone, Debug, Default)]
pub struct TunnelCounts {
    /// By the other node: as the kernel's programs count what they send and take.
    pub nodes: BTreeMap<NodeId, NodeCounters>,
    /// Each packet that came, by what became of it.
    pub received: Counters,
}

/// The same, as it grows.
#[derive(Debug, Default)]
pub(super) struct Counting(Mutex<TunnelCounts>);

impl Counting {
    pub(super) fn now(&self) -> TunnelCounts {
        self.lock().clone()
    }

    /// Counts something between this node and another.
    pub(super) fn with(&self, node: NodeId, count: impl FnOnce(&mut NodeCounters)) {
        count(self.lock().nodes.entry(node).or_default());
    }

    /// Counts a packet that came, and what became of it.
    pub(super) fn received(&self, reason: Reason) {
        let mut counts = self.lock();
        counts.received.receive();
        counts.received.count(reason);
    }

    fn lock(&self) -> MutexGuard<'_, TunnelCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
