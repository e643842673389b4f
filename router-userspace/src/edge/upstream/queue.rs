//! Permits to send a request or a stream to a server of an upstream, and the line of requests that wait for one: first
//! come, first served, for the whole node.
//!
//! A permit that ends is handed to the first in the line that can use its place. The place never becomes visible to
//! others in between, so that only clients that have less than their share overtake (`share`). While the line is empty
//! its lock is not touched.

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
    server::{InFlight, Load, Server},
    set::ServerSet,
    share::{self, Shares},
};
use crate::address::Prefix;

/// The line of one upstream. It outlives configurations.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// How many wait or are about to.
    length: AtomicUsize,
    /// What each client has.
    shares: Shares,
}

#[derive(Default)]
struct Waiting {
    line: VecDeque<Waiter>,
    /// The last number that was given.
    last: u64,
}

/// What a request or stream waits for.
pub(super) struct Demand {
    /// Of one of these servers.
    pub(super) set: Arc<ServerSet>,
    /// For this client.
    pub(super) client: Prefix,
    /// On this server only, by its index.
    pub(super) only: Option<usize>,
    /// On none of these, by their index.
    pub(super) not: Vec<usize>,
}

struct Waiter {
    number: u64,
    demand: Demand,
    permit: oneshot::Sender<RequestPermit>,
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

/// A request or stream may be in flight on a server, until this is dropped: then the place goes to the request that
/// has waited for it longest.
pub(super) struct RequestPermit {
    /// None once it is handed on.
    place: Option<InFlight>,
    client: Prefix,
    queue: Arc<Queue>,
}

impl RequestPermit {
    /// Of which server.
    pub(super) fn load(&self) -> Option<&Arc<Load>> {
        self.place.as_ref()?.load()
    }

    fn new(place: InFlight, client: Prefix, queue: &Arc<Queue>) -> Self {
        queue.shares.take(client);
        Self { place: Some(place), client, queue: queue.clone() }
    }

    /// Takes the place out of it, which its client then does not have any more.
    fn take(&mut self) -> Option<InFlight> {
        let place = self.place.take()?;
        self.queue.shares.put_back(self.client);
        Some(place)
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let Some(mut place) = self.take() else { return };
        if !self.queue.is_empty() {
            match self.queue.give(place) {
                Some(back) => place = back,
                None => return,
            }
        }
        // A request may have come to wait since.
        if let Some(load) = place.end() {
            self.queue.offer(&load);
        }
    }
}

impl Queue {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.length.load(SeqCst)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A permit for a client to use `server`, if there is room on it.
    pub(super) fn acquire(self: &Arc<Self>, server: &Server, client: Prefix) -> Option<RequestPermit> {
        Some(RequestPermit::new(server.acquire()?, client, self))
    }

    /// Whether a client may have one of `free` places, where it may have so large a `share` of all.
    pub(super) fn lets(&self, client: Prefix, share: f64, free: impl FnOnce() -> u32) -> bool {
        match self.shares.of(client) {
            0 => true,
            has => share::allows(share, has, free()),
        }
    }

    /// Gets in line, unless `now` finds a place. It is asked at a time when a permit that ends can see that there is a
    /// request in line.
    pub(super) fn enter<T>(self: &Arc<Self>, demand: Demand, now: impl FnOnce() -> Option<T>) -> Entered<T> {
        let mut waiting = self.lock();
        self.length.store(waiting.line.len() + 1, SeqCst);
        let entered = match now() {
            Some(found) => Entered::AtOnce(found),
            None if !waiting.has_room_for(&demand) => Entered::Full,
            None => {
                waiting.last += 1;
                let number = waiting.last;
                let (permit, given) = oneshot::channel();
                waiting.line.push_back(Waiter { number, demand, permit });
                Entered::Waiting(Ticket { queue: self.clone(), number, given })
            }
        };
        self.length.store(waiting.line.len(), SeqCst);
        entered
    }

    /// Gives what places the server of `load` has to the requests that wait, as far as they go.
    pub(super) fn offer(self: &Arc<Self>, load: &Arc<Load>) {
        if self.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        // Whether a place is within the limit is seen with the request that would take it.
        while let Some(place) = load.acquire(u32::MAX) {
            if let Some(place) = self.give_in(&mut waiting, place) {
                return drop(place);
            }
        }
    }

    /// Gives the place to the first request that can use it, or back.
    fn give(self: &Arc<Self>, place: InFlight) -> Option<InFlight> {
        self.give_in(&mut self.lock(), place)
    }

    fn give_in(self: &Arc<Self>, waiting: &mut Waiting, mut place: InFlight) -> Option<InFlight> {
        let now = clock::now();
        // Those of one client may be many, and what holds for one holds for all.
        let mut has_its_share = None;
        let mut takes = |waiter: &Waiter, place: &InFlight| {
            let demand = &waiter.demand;
            if has_its_share == Some(demand.client) || !demand.takes(place, now) {
                return false;
            }
            // The place is taken already.
            let free = || demand.free(now).saturating_add(1);
            let lets = self.lets(demand.client, demand.set.settings().client_share, free);
            if !lets {
                has_its_share = Some(demand.client);
            }
            lets
        };
        while let Some(at) = waiting.line.iter().position(|waiter| takes(waiter, &place))
            && let Some(waiter) = waiting.line.remove(at)
        {
            self.length.store(waiting.line.len(), SeqCst);
            let permit = RequestPermit::new(place, waiter.demand.client, self);
            match waiter.permit.send(permit) {
                Ok(()) => return None,
                // It does not wait any more.
                Err(mut back) => place = back.take()?,
            }
        }
        Some(place)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn has_room_for(&self, demand: &Demand) -> bool {
        let settings = demand.set.settings();
        let free = (settings.queue as usize).saturating_sub(self.line.len());
        let has = self.line.iter().filter(|waiter| waiter.demand.client == demand.client).count();
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        free > 0 && share::allows(settings.client_share, number(has), number(free))
    }
}

impl Demand {
    /// Places that are free of those it could use.
    fn free(&self, now: u64) -> u32 {
        match self.only {
            Some(index) => self.set.servers()[index].free(),
            None => self.set.free(self.set.availability(now), now),
        }
    }

    /// Whether it can use a place, apart from its client's share.
    fn takes(&self, place: &InFlight, now: u64) -> bool {
        let Some(index) = place.load().and_then(|load| self.set.position(load)) else { return false };
        let server = &self.set.servers()[index];
        self.only.is_none_or(|only| only == index)
            && !self.not.contains(&index)
            && server.is_within_limit()
            && self.set.availability(now).admits(server, now)
    }
}

/// A place in the line, given up when this is dropped.
pub(super) struct Ticket {
    queue: Arc<Queue>,
    number: u64,
    given: oneshot::Receiver<RequestPermit>,
}

impl Ticket {
    /// Waits for its turn, with no limit of its own; none only if the line is no more.
    pub(super) async fn given(mut self) -> Option<RequestPermit> {
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
