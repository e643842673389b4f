//! Who waits for a place on a server of an upstream: first come, first served, the node over.
//!
//! A place that becomes free is handed to the first who can use it and never becomes visible to
//! others in between, so nobody overtakes. While nobody waits the lock is not touched.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::oneshot;

use super::{
    clock,
    server::{Lease, Set, State},
};

/// Those who wait, the first in front.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many wait or are about to.
    length: AtomicUsize,
}

#[derive(Default)]
struct Waiting {
    line: VecDeque<Waiter>,
    last: u64,
}

/// What somebody waits for.
pub(super) struct Wanted {
    pub(super) set: Arc<Set>,
    /// This server only.
    pub(super) only: Option<usize>,
    /// None of these.
    pub(super) not: Vec<usize>,
}

struct Waiter {
    number: u64,
    wanted: Wanted,
    place: oneshot::Sender<Lease>,
}

/// What came of the wish to wait.
pub(super) enum Entered<T> {
    /// There was a place after all.
    AtOnce(T),
    /// A place in the line.
    Waiting(Ticket),
    /// The line is full.
    Full,
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.length.load(SeqCst)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gets in line, unless `now` finds a place: it is asked at a time when whoever frees one can
    /// see that somebody waits.
    pub(super) fn enter<T>(self: &Arc<Self>, wanted: Wanted, now: impl FnOnce() -> Option<T>) -> Entered<T> {
        let mut waiting = self.lock();
        self.length.store(waiting.line.len() + 1, SeqCst);
        let entered = match now() {
            Some(found) => Entered::AtOnce(found),
            None if waiting.line.len() >= wanted.set.settings.queue as usize => Entered::Full,
            None => {
                waiting.last += 1;
                let number = waiting.last;
                let (place, given) = oneshot::channel();
                waiting.line.push_back(Waiter { number, wanted, place });
                Entered::Waiting(Ticket { queue: self.clone(), number, given })
            }
        };
        self.length.store(waiting.line.len(), SeqCst);
        entered
    }

    /// Gives the place to the first who can use it, or back.
    pub(super) fn give(&self, lease: Lease) -> Option<Lease> {
        self.give_in(&mut self.lock(), lease)
    }

    /// Gives what places `state` has to those who wait, as far as they go.
    pub(super) fn offer(&self, state: &Arc<State>) {
        if self.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        // Whether a place is within the limit is seen with who would take it.
        while let Some(lease) = state.acquire(u32::MAX) {
            if let Some(lease) = self.give_in(&mut waiting, lease) {
                return lease.put_back();
            }
        }
    }

    fn give_in(&self, waiting: &mut Waiting, mut lease: Lease) -> Option<Lease> {
        let now = clock::now();
        while let Some(at) = waiting.line.iter().position(|waiter| waiter.wanted.takes(&lease, now))
            && let Some(waiter) = waiting.line.remove(at)
        {
            self.length.store(waiting.line.len(), SeqCst);
            match waiter.place.send(lease) {
                Ok(()) => return None,
                Err(back) => lease = back,
            }
        }
        Some(lease)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wanted {
    fn takes(&self, lease: &Lease, now: u64) -> bool {
        let Some(state) = lease.state() else { return false };
        let Some(index) = self.set.position(state) else { return false };
        self.only.is_none_or(|only| only == index)
            && !self.not.contains(&index)
            && state.in_flight() <= self.set.settings.max_connections
            && self.set.admits(index, self.set.standing(now), now)
    }
}

/// A place in the line, given up when this is dropped.
pub(super) struct Ticket {
    queue: Arc<Queue>,
    number: u64,
    given: oneshot::Receiver<Lease>,
}

impl Ticket {
    /// Waits for its turn, with no limit of its own; none only if the line is no more.
    pub(super) async fn given(mut self) -> Option<Lease> {
        (&mut self.given).await.ok()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        if let Some(at) = waiting.line.iter().position(|waiter| waiter.number == self.number) {
            drop(waiting.line.remove(at));
            self.queue.length.store(waiting.line.len(), SeqCst);
        }
    }
}
