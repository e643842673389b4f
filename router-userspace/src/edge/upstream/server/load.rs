//! What is in flight and open on one server, counted for the whole node.

use std::sync::{
    Arc,
    atomic::{
        AtomicU32,
        Ordering::{Relaxed, SeqCst},
    },
};

/// Requests, streams and connections on one server.
///
/// What raises a count is a guard, and dropping the guard is the only way to lower it again. A load outlives
/// configurations as its server does, so it also tells servers apart: two handles are of one server if they are of one
/// load.
#[derive(Default)]
pub(in crate::edge::upstream) struct Load {
    in_flight: AtomicU32,
    connections: AtomicU32,
}

impl Load {
    /// Requests and streams in flight.
    pub(in crate::edge::upstream) fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    /// Open connections.
    pub(super) fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    /// Counts a request or stream in flight, unless there are `most` of them.
    pub(in crate::edge::upstream) fn acquire(self: &Arc<Self>, most: u32) -> Option<InFlight> {
        let more = |taken| (taken < most).then_some(taken + 1);
        self.in_flight.fetch_update(SeqCst, SeqCst, more).is_ok().then(|| InFlight(Some(self.clone())))
    }

    /// Counts an open connection.
    pub(super) fn open_connection(self: &Arc<Self>) -> OpenConnection {
        self.connections.fetch_add(1, Relaxed);
        OpenConnection(self.clone())
    }
}

/// A request or stream in flight, which counts until this is dropped.
///
/// Its end makes room without a word to the requests that wait for it: `queue` wraps it in a permit that hands its place on.
pub(in crate::edge::upstream) struct InFlight(Option<Arc<Load>>);

impl InFlight {
    /// Of which server; none only while it ends.
    pub(in crate::edge::upstream) fn load(&self) -> Option<&Arc<Load>> {
        self.0.as_ref()
    }

    /// Ends it, and gives back of which server it was.
    pub(in crate::edge::upstream) fn end(mut self) -> Option<Arc<Load>> {
        self.release()
    }

    fn release(&mut self) -> Option<Arc<Load>> {
        let load = self.0.take()?;
        load.in_flight.fetch_sub(1, SeqCst);
        Some(load)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        drop(self.release());
    }
}

/// A connection that is open, which counts until this is dropped.
pub(in crate::edge::upstream) struct OpenConnection(Arc<Load>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_come_back() {
        let load = Arc::<Load>::default();
        let (one, two) = (load.acquire(2), load.acquire(2));
        assert!(one.is_some() && two.is_some() && load.acquire(2).is_none());
        drop(one);
        assert_eq!(load.in_flight(), 1);
        assert!(load.acquire(2).is_some());
        assert!(two.and_then(InFlight::end).is_some_and(|of| Arc::ptr_eq(&of, &load)));
        assert_eq!(load.in_flight(), 0);
    }

    #[test]
    fn connections_are_counted_beside_requests() {
        let load = Arc::<Load>::default();
        let open = (load.open_connection(), load.open_connection());
        assert_eq!((load.connections(), load.in_flight()), (2, 0));
        drop(open.0);
        assert_eq!(load.connections(), 1);
        drop(open.1);
        assert_eq!(load.connections(), 0);
    }
}
