//! How many connection IDs a client may have replaced.
//!
//! Each RETIRE_CONNECTION_ID frame (RFC 9000 section 19.16) has quinn issue another connection ID, which
//! takes a nonce and an entry in the flow table. quinn counts these frames and says nothing, so the counts
//! are looked at, and only where a worker has issued many connection IDs of late.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

use quinn::{Connection, VarInt};
use tokio::time::{Instant, sleep};

use super::issuing::Issuing;

/// The connections of a worker.
#[derive(Default)]
pub(in crate::worker) struct Retirements {
    watched: RefCell<BTreeMap<u64, Watched>>,
    next: Cell<u64>,
}

struct Watched {
    connection: Connection,
    budget: Budget,
}

impl Retirements {
    /// Watches `connection` until the result is dropped.
    pub(in crate::worker) fn watch(self: &Rc<Self>, connection: &Connection) -> Watching {
        let number = self.next.get();
        self.next.set(number + 1);
        let watched = Watched { connection: connection.clone(), budget: Budget::new(Instant::now()) };
        self.watched.borrow_mut().insert(number, watched);
        Watching { number, of: Rc::clone(self) }
    }

    /// Closes connections whose clients retire too many, for as long as the worker runs.
    pub(in crate::worker) async fn close_those_with_too_many(self: Rc<Self>, issuing: Issuing) {
        loop {
            issuing.many().await;
            self.look(Instant::now());
            sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Closes those whose client is one that `is_meant`; how many.
    pub(in crate::worker) fn close_those(&self, is_meant: impl Fn(IpAddr) -> bool) -> u64 {
        let watched = self.watched.borrow();
        let open = watched.values().map(|watched| &watched.connection).filter(|open| open.close_reason().is_none());
        let meant = open.filter(|open| is_meant(open.remote_address().ip()));
        meant.inspect(|connection| connection.close(BLOCKED, BLOCKED_WHY)).count() as u64
    }

    fn look(&self, now: Instant) {
        for watched in self.watched.borrow_mut().values_mut() {
            let retired = watched.connection.stats().frame_rx.retire_connection_id;
            if !watched.budget.allows(retired, now) {
                tracing::debug!(peer = %watched.connection.remote_address(), retired, "too many connection IDs retired");
                watched.connection.close(TOO_MANY, b"too many connection IDs are retired");
            }
        }
    }
}

/// A connection's place among those that are watched.
pub(in crate::worker) struct Watching {
    number: u64,
    of: Rc<Retirements>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.of.watched.borrow_mut().remove(&self.number);
    }
}

/// What a client may retire.
#[derive(Debug)]
struct Budget {
    begun: Instant,
}

impl Budget {
    fn new(now: Instant) -> Self {
        Self { begun: now }
    }

    /// Whether a client may have retired as many by now.
    fn allows(&self, retired: u64, now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.begun).as_secs();
        retired <= AT_ONCE.saturating_add(seconds.saturating_mul(EACH_SECOND))
    }
}

/// A client that changes its address for every few packets, or whose connection IDs last a second
/// (`connection_id.lifetime`), retires up to eight a second.
const EACH_SECOND: u64 = 10;
const AT_ONCE: u64 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// What a connection is closed with whose client's address was blocked: H3_NO_ERROR, for nothing that the client did is
/// wrong (RFC 9114 section 8.1).
pub(super) const BLOCKED: VarInt = VarInt::from_u32(0x100);
pub(super) const BLOCKED_WHY: &[u8] = b"the address is blocked";

/// H3_EXCESSIVE_LOAD (RFC 9114 section 8.1).
const TOO_MANY: VarInt = VarInt::from_u32(0x107);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_and_ten_a_second() {
        let begun = Instant::now();
        let budget = Budget::new(begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        for (retired, seconds, allowed) in
            [(100, 0, true), (101, 0, false), (140, 4, true), (141, 4, false), (36_100, 3_600, true)]
        {
            assert_eq!(budget.allows(retired, at(seconds)), allowed, "{retired} in {seconds} s");
        }
    }
}
