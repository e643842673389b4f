//! What a worker issues connection IDs for, which quinn's generator is not told.
//!
//! Everything here happens on the worker's thread: what is asked for within a call belongs to that call.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use router_common::connection_id::ConnectionId;
use tokio::sync::Notify;

use crate::worker::flows::Flows;

/// A worker's generators and its accept loops share one.
#[derive(Clone, Default)]
pub(in crate::worker) struct Issuing(Arc<Inner>);

#[derive(Default)]
struct Inner {
    passing: AtomicBool,
    noted: Mutex<Option<Vec<ConnectionId>>>,
    since_look: AtomicU64,
    many: Notify,
}

impl Issuing {
    /// Makes an answer of which nothing is kept: a Retry, a refusal. Those are sent to every sender that
    /// asks, so their connection IDs take no nonce, and no entry in the flow table.
    pub(in crate::worker) fn passing<T>(&self, answer: impl FnOnce() -> T) -> T {
        self.0.passing.store(true, Relaxed);
        let answered = answer();
        self.0.passing.store(false, Relaxed);
        answered
    }

    /// Whether the next connection ID is for such an answer.
    pub(in crate::worker) fn is_passing(&self) -> bool {
        self.0.passing.load(Relaxed)
    }

    /// Accepts a connection, and says which connection IDs it was issued by that.
    pub(in crate::worker) fn noting<T>(&self, accept: impl FnOnce() -> T) -> (T, Vec<ConnectionId>) {
        *self.noted() = Some(Vec::new());
        let accepted = accept();
        let noted = self.noted().take().unwrap_or_default();
        (accepted, noted)
    }

    /// One was issued.
    pub(in crate::worker) fn issued(&self, cid: &ConnectionId) {
        if let Some(noted) = &mut *self.noted() {
            noted.push(*cid);
        }
        if self.0.since_look.fetch_add(1, Relaxed) + 1 == MANY {
            self.0.many.notify_one();
        }
    }

    /// Waits until so many have been issued since the last time that one connection may have had more than
    /// its share of them.
    pub(in crate::worker) async fn many(&self) {
        self.0.many.notified().await;
        self.0.since_look.store(0, Relaxed);
    }

    fn noted(&self) -> std::sync::MutexGuard<'_, Option<Vec<ConnectionId>>> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection IDs that a connection got when it was accepted: their flows end with it.
pub(in crate::worker) struct OfAccept {
    cids: Vec<ConnectionId>,
    flows: Flows,
}

impl OfAccept {
    pub(in crate::worker) fn new(cids: Vec<ConnectionId>, flows: &Flows) -> Self {
        Self { cids, flows: flows.clone() }
    }
}

impl Drop for OfAccept {
    fn drop(&mut self) {
        self.cids.iter().for_each(|cid| self.flows.ended(cid));
    }
}

/// Thirty connections get as many when they begin.
const MANY: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_issued_within_a_call_belongs_to_it() {
        let issuing = Issuing::default();
        let cid = |n| ConnectionId::new(&[n; 8]).unwrap();
        issuing.issued(&cid(1));
        let ((), noted) = issuing.noting(|| [2, 3].iter().for_each(|&n| issuing.issued(&cid(n))));
        issuing.issued(&cid(4));
        assert_eq!(noted, [cid(2), cid(3)]);
        assert!(issuing.noting(|| ()).1.is_empty());
    }

    #[test]
    fn an_answer_that_is_forgotten_says_so_while_it_is_made() {
        let issuing = Issuing::default();
        assert!(issuing.passing(|| issuing.is_passing()) && !issuing.is_passing());
    }
}
