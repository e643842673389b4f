//! Who waits for a place on a server of an upstream: first come, first served, the node over.
//!
//! A place that becomes free is handed to the first who can use it and never becomes visible to
//! others in between, so nobody overtakes but those whose client has less than its share (`share`). While nobody
//! waits the lock is not touched.

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
    share::{self, Shares},
};
use crate::address::Prefix;

/// Those who wait, the first in front.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many wait or are about to.
    length: AtomicUsize,
    /// Who has the places.
    pub(super) shares: Arc<Shares>,
}

#[derive(Default)]
struct Waiting {
    line: VecDeque<Waiter>,
    last: u64,
}

/// What somebody waits for.
pub(super) struct Wanted {
    pub(super) set: Arc<Set>,
    /// For this client.
    pub(super) client: Prefix,
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
            None if !waiting.has_room_for(&wanted) => Entered::Full,
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
        // Those of one client may be many, and what holds for one holds for all.
        let mut has_its_share = None;
        let mut takes = |waiter: &Waiter, lease: &Lease| {
            let client = waiter.wanted.client;
            if has_its_share == Some(client) || !waiter.wanted.takes(lease, now) {
                return false;
            }
            let lets = waiter.wanted.lets(lease, now);
            if !lets {
                has_its_share = Some(client);
            }
            lets
        };
        while let Some(at) = waiting.line.iter().position(|waiter| takes(waiter, &lease))
            && let Some(waiter) = waiting.line.remove(at)
        {
            self.length.store(waiting.line.len(), SeqCst);
            lease.pass_to(Some(self.shares.take(waiter.wanted.client)));
            match waiter.place.send(lease) {
                Ok(()) => return None,
                Err(back) => lease = back,
            }
            lease.pass_to(None);
        }
        Some(lease)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn has_room_for(&self, wanted: &Wanted) -> bool {
        let settings = &wanted.set.settings;
        let free = (settings.queue as usize).saturating_sub(self.line.len());
        let has = self.line.iter().filter(|waiter| waiter.wanted.client == wanted.client).count();
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        free > 0 && share::allows(settings.client_share, number(has), number(free))
    }
}

impl Wanted {
    /// Whether its client may have the place beside what it has.
    fn lets(&self, lease: &Lease, now: u64) -> bool {
        // The place is taken, by the lease.
        let free = || match (&self.only, lease.state()) {
            (Some(_), Some(state)) => self.set.settings.max_connections.saturating_sub(state.in_flight()),
            _ => self.set.free(self.set.standing(now), now),
        };
        self.set.lets(self.client, || free().saturating_add(1))
    }

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
