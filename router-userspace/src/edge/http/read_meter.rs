//! How much was read of a request, and whether its response has begun.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Counts what is read of a request, for what does not read it itself. One thread writes: no need for a
/// read-modify-write instruction.
#[derive(Debug, Default)]
pub(in crate::edge) struct ReadMeter {
    read: AtomicU64,
    content: AtomicU64,
    answered: AtomicBool,
}

impl ReadMeter {
    /// Octets of the request that were read, whatever they were.
    pub(in crate::edge) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Octets of its content that were read.
    pub(in crate::edge) fn content(&self) -> u64 {
        self.content.load(Relaxed)
    }

    /// The response has begun: from now on the request may pause for it.
    pub(in crate::edge) fn answered(&self) {
        self.answered.store(true, Relaxed);
    }

    /// Whether it has.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// So many more of the request were read.
    pub(in crate::edge) fn add_read(&self, octets: usize) {
        self.read.store(self.read.load(Relaxed) + octets as u64, Relaxed);
    }

    /// So many more of its content were read.
    pub(super) fn add_content(&self, octets: usize) {
        self.content.store(self.content.load(Relaxed) + octets as u64, Relaxed);
    }
}
