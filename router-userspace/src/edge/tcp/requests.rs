//! What has been asked on a client's TCP connection, and what of it is still to be read or answered.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::Notify;

/// What has been asked on a connection.
#[derive(Default)]
pub(super) struct Requests {
    begun: AtomicU64,
    first: Notify,
    in_flight: AtomicUsize,
    /// Those whose bodies are not read yet.
    unread: AtomicUsize,
}

/// A request that is not answered yet, until this is dropped.
pub(super) struct InFlight(Arc<Requests>);

/// A request's body that is not read to its end, until this is dropped.
pub(in crate::edge) struct Unread(Arc<Requests>);

impl Requests {
    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        if self.begun.fetch_add(1, Relaxed) == 0 {
            self.first.notify_one();
        }
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Whether a client has asked, all of it, and is not answered yet.
    pub(super) fn one_waits(&self) -> bool {
        self.in_flight.load(Relaxed) > 0 && self.unread.load(Relaxed) == 0
    }

    /// How many have come so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// Whether some are not answered yet.
    pub(super) fn any_in_flight(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// Waits until one has come. That it has is said once.
    pub(super) async fn first(&self) {
        self.first.notified().await;
    }

    /// A request has a body.
    pub(super) fn unread(self: &Arc<Self>) -> Unread {
        self.unread.fetch_add(1, Relaxed);
        Unread(Arc::clone(self))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.0.unread.fetch_sub(1, Relaxed);
    }
}
