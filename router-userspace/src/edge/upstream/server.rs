//! What the whole node knows of a server, and the servers of one upstream.
//!
//! A [`State`] outlives configurations: a reload that leaves a server as it was keeps it. What
//! requests ask of it on their way is in atomics; only those that must wait meet a lock.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use http::{HeaderValue, uri};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    balance::Candidate,
    clock,
    connect::Target,
    queue::Queue,
    resolve::Addresses,
    share::{self, Part},
};
use crate::{address::Prefix, config};

/// Ejections in a row make each longer by its first length, up to this many times that.
const EJECTIONS_MAX: u32 = 10;

/// The share of its weight that a server has when it comes back, of [`WHOLE`].
const WARM_FROM: u64 = 100;
/// All of a weight.
const WHOLE: u64 = 1000;

/// The servers of one upstream, as one configuration has them.
pub(in crate::edge) struct Set {
    pub(super) settings: config::Servers,
    /// They say what counts as a client.
    pub(super) limits: config::Limits,
    pub(super) servers: Vec<Server>,
    pub(super) queue: Arc<Queue>,
}

/// One server, as one configuration has it.
pub(super) struct Server {
    pub(super) state: Arc<State>,
    pub(super) target: Target,
    pub(super) weight: u16,
    /// For [`Candidate::key`].
    pub(super) key: u64,
    /// The host and port of its URL, for `Host`.
    pub(super) host: HeaderValue,
    /// The same, for `:authority`.
    pub(super) authority: uri::Authority,
}

/// Which of an upstream's servers may be used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Those that are healthy: there is one at least.
    Healthy,
    /// Those that are not down: all of them are ejected. That they failed requests is no proof
    /// that they will fail the next, and refusing it would be one.
    Panic,
    /// None: health checks find every one down.
    Down,
}

impl Set {
    pub(super) fn standing(&self, now: u64) -> Standing {
        if self.servers.iter().any(|server| self.is_healthy(server, now)) {
            Standing::Healthy
        } else if self.servers.iter().any(|server| !self.is_down(server)) {
            Standing::Panic
        } else {
            Standing::Down
        }
    }

    /// Whether a server may be used, where the upstream stands so.
    pub(super) fn admits(&self, index: usize, standing: Standing, now: u64) -> bool {
        let server = &self.servers[index];
        match standing {
            Standing::Healthy => self.is_healthy(server, now),
            Standing::Panic => !self.is_down(server),
            Standing::Down => false,
        }
    }

    /// Places that are free, where the upstream stands so.
    pub(super) fn free(&self, standing: Standing, now: u64) -> u32 {
        let most = self.settings.max_connections;
        let admitted = (0..self.servers.len()).filter(|index| self.admits(*index, standing, now));
        admitted.map(|index| most.saturating_sub(self.servers[index].state.in_flight())).fold(0, u32::saturating_add)
    }

    /// Whether a client may have one of `free` places.
    pub(super) fn lets(&self, client: Prefix, free: impl FnOnce() -> u32) -> bool {
        match self.queue.shares.of(client) {
            0 => true,
            has => share::allows(self.settings.client_share, has, free()),
        }
    }

    /// A place on a server for a client, if there is one.
    pub(super) fn acquire(&self, index: usize, client: Prefix) -> Option<Lease> {
        let mut lease = self.servers[index].state.acquire(self.settings.max_connections)?;
        lease.part = Some(self.queue.shares.take(client));
        Some(lease)
    }

    /// What the choice needs to know of a server.
    pub(super) fn candidate(&self, index: usize, now: u64) -> Candidate {
        let server = &self.servers[index];
        let share = match self.settings.slow_start {
            Some(over) => server.state.warmth(over, now),
            None => WHOLE,
        };
        let weight = u32::try_from(u64::from(server.weight) * share).unwrap_or(u32::MAX).max(1);
        Candidate { weight, load: server.state.in_flight(), key: server.key }
    }

    pub(super) fn position(&self, state: &Arc<State>) -> Option<usize> {
        self.servers.iter().position(|server| Arc::ptr_eq(&server.state, state))
    }

    /// A request, connection or stream that the server failed. It may be ejected by that.
    pub(super) fn failed(&self, index: usize, why: &dyn std::fmt::Display) {
        let state = &self.servers[index].state;
        state.failures.fetch_add(1, Relaxed);
        state.why.store(Some(Arc::new(why.to_string())));
        if let Some(ejection) = self.settings.ejection {
            state.count_failure(ejection, why);
        }
    }

    /// A request that the server answered well.
    pub(super) fn answered(&self, index: usize) {
        self.servers[index].state.count_answer();
    }

    fn is_healthy(&self, server: &Server, now: u64) -> bool {
        !(self.is_down(server) || self.settings.ejection.is_some() && server.state.is_ejected(now))
    }

    /// What an earlier configuration's checks found holds only while there are checks.
    pub(super) fn is_down(&self, server: &Server) -> bool {
        self.settings.health.is_some() && server.state.down.load(Relaxed)
    }
}

/// What is known of one server, whoever learnt it.
pub(super) struct State {
    pub(super) upstream: Arc<str>,
    /// As the configuration writes it.
    pub(super) name: Arc<str>,
    pub(super) queue: Arc<Queue>,
    in_flight: AtomicU32,
    pub(super) connections: AtomicU32,
    pub(super) requests: AtomicU64,
    pub(super) failures: AtomicU64,
    /// By health checks.
    down: AtomicBool,
    /// Health checks have come to an opinion.
    judged: AtomicBool,
    /// Of passive health: failures since the last good answer, or the last ejection.
    failures_in_a_row: AtomicU32,
    /// Ejections since the last good answer.
    ejections: AtomicU32,
    /// On [`clock`]; zero: never.
    ejected_until: AtomicU64,
    /// When health checks last changed their mind, on [`clock`]; zero: never.
    turned: AtomicU64,
    began: u64,
    /// The last failure in words.
    pub(super) why: ArcSwapOption<String>,
    pub(super) addresses: watch::Sender<Addresses>,
    /// Moves on with every new connection.
    pub(super) next_address: AtomicUsize,
}

impl State {
    pub(super) fn new(upstream: Arc<str>, name: Arc<str>, queue: Arc<Queue>, addresses: Addresses) -> Self {
        Self {
            upstream,
            name,
            queue,
            in_flight: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            down: AtomicBool::new(false),
            judged: AtomicBool::new(false),
            failures_in_a_row: AtomicU32::new(0),
            ejections: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            turned: AtomicU64::new(0),
            began: clock::now(),
            why: ArcSwapOption::empty(),
            addresses: watch::Sender::new(addresses),
            next_address: AtomicUsize::new(0),
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    /// A place among `most`, if there is one.
    pub(super) fn acquire(self: &Arc<Self>, most: u32) -> Option<Lease> {
        let more = |taken| (taken < most).then_some(taken + 1);
        self.in_flight
            .fetch_update(SeqCst, SeqCst, more)
            .is_ok()
            .then(|| Lease { state: Some(self.clone()), part: None })
    }

    pub(super) fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }

    /// How long it still is ejected.
    pub(super) fn ejected_for(&self, now: u64) -> Option<Duration> {
        self.ejected_until.load(Relaxed).checked_sub(now).filter(|left| *left > 0).map(Duration::from_millis)
    }

    /// Since when it is up or down by health checks, or known.
    pub(super) fn since(&self, now: u64) -> Duration {
        let turned = match self.turned.load(Relaxed) {
            0 => self.began,
            turned => turned,
        };
        Duration::from_millis(now.saturating_sub(turned))
    }

    /// How long its weight still grows.
    pub(super) fn warms_for(&self, over: Duration, now: u64) -> Option<Duration> {
        let away = Duration::from_millis(now.saturating_sub(self.back_at(now)?));
        over.checked_sub(away).filter(|left| !left.is_zero())
    }

    /// The part of its weight that it has, from [`WARM_FROM`] to [`WHOLE`].
    fn warmth(&self, over: Duration, now: u64) -> u64 {
        let Some(left) = self.warms_for(over, now) else { return WHOLE };
        let done = over.saturating_sub(left).as_millis() * u128::from(WHOLE - WARM_FROM) / over.as_millis().max(1);
        WARM_FROM + u64::try_from(done).unwrap_or(WHOLE)
    }

    /// When it came back from being down or ejected.
    fn back_at(&self, now: u64) -> Option<u64> {
        let ejection = self.ejected_until.load(Relaxed);
        let back = self.turned.load(Relaxed).max(if ejection <= now { ejection } else { 0 });
        (back > 0).then_some(back)
    }

    /// What health checks have found so far.
    pub(super) fn opinion(&self) -> Option<bool> {
        self.judged.load(Relaxed).then(|| !self.down.load(Relaxed))
    }

    /// What health checks have found. A change is said once.
    pub(super) fn turn(self: &Arc<Self>, up: bool, why: &str) {
        self.judged.store(true, Relaxed);
        let was_up = !self.down.swap(!up, Relaxed);
        if was_up == up {
            return;
        }
        self.turned.store(clock::now(), Relaxed);
        let (upstream, server) = (&self.upstream, &self.name);
        if up {
            // Who answers health checks again has no time to sit out for what it failed before.
            self.ejected_until.fetch_min(clock::now(), Relaxed);
            self.failures_in_a_row.store(0, Relaxed);
            info!(%upstream, %server, why, "server is up");
            self.queue.offer(self);
        } else {
            warn!(%upstream, %server, why, "server is down");
        }
    }

    fn count_failure(&self, ejection: config::Ejection, why: &dyn std::fmt::Display) {
        let now = clock::now();
        let until = self.ejected_until.load(Relaxed);
        // What began before the ejection, and what was sent for want of another server.
        if until > now || self.failures_in_a_row.fetch_add(1, Relaxed) + 1 < ejection.failures {
            return;
        }
        let times = (self.ejections.load(Relaxed) + 1).min(EJECTIONS_MAX);
        let time = ejection.time * times;
        let end = now + u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        if self.ejected_until.compare_exchange(until, end, Relaxed, Relaxed).is_ok() {
            self.failures_in_a_row.store(0, Relaxed);
            self.ejections.store(times, Relaxed);
            let (upstream, server) = (&self.upstream, &self.name);
            warn!(%upstream, %server, %why, ?time, "server is ejected: {} failures in a row", ejection.failures);
        }
    }

    fn count_answer(&self) {
        // Looking first keeps the line of memory shared among the workers.
        if self.failures_in_a_row.load(Relaxed) != 0 {
            self.failures_in_a_row.store(0, Relaxed);
        }
        if self.ejections.load(Relaxed) != 0 && self.ejections.swap(0, Relaxed) != 0 {
            let (upstream, server) = (&self.upstream, &self.name);
            info!(%upstream, %server, "server answers again");
        }
    }
}

/// A request or stream in flight on a server, which counts until this is dropped: then the place
/// goes to who waits for it longest.
pub(super) struct Lease {
    state: Option<Arc<State>>,
    /// Of the client that has it.
    part: Option<Part>,
}

impl Lease {
    pub(super) fn state(&self) -> Option<&Arc<State>> {
        self.state.as_ref()
    }

    /// The client has it now.
    pub(super) fn pass_to(&mut self, part: Option<Part>) {
        self.part = part;
    }

    /// Lets go of the place, for nobody in particular.
    pub(super) fn put_back(mut self) {
        if let Some(state) = self.state.take() {
            state.in_flight.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(state) = self.state.take() else { return };
        drop(self.part.take());
        let queue = state.queue.clone();
        if queue.is_empty() {
            state.in_flight.fetch_sub(1, SeqCst);
        } else if let Some(lease) = queue.give(Self { state: Some(state.clone()), part: None }) {
            lease.put_back();
        } else {
            return;
        }
        // Somebody may have come to wait since.
        queue.offer(&state);
    }
}

/// A connection that is open, which counts until this is dropped.
pub(super) struct Open(Arc<State>);

impl Open {
    pub(super) fn new(state: &Arc<State>) -> Self {
        state.connections.fetch_add(1, Relaxed);
        Self(state.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Arc<State> {
        Arc::new(State::new("u".into(), "http://s".into(), Arc::default(), Addresses::default()))
    }

    const EJECTION: config::Ejection = config::Ejection { failures: 3, time: Duration::from_secs(10), status: None };

    #[test]
    fn failures_in_a_row_eject_longer_each_time_and_a_good_answer_forgives() {
        let state = state();
        let ejected_for = |state: &State| state.ejected_for(clock::now()).map(|left| left.as_millis().div_ceil(1000));
        let fail = |times| (0..times).for_each(|_| state.count_failure(EJECTION, &"refused"));
        fail(2);
        state.count_answer();
        fail(2);
        assert_eq!(ejected_for(&state), None);
        fail(1);
        assert_eq!(ejected_for(&state), Some(10));
        // In the time itself nothing counts.
        fail(10);
        assert_eq!(ejected_for(&state), Some(10));
        for times in [2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
            state.ejected_until.store(0, Relaxed);
            fail(3);
            assert_eq!(ejected_for(&state), Some(times * 10));
        }
        state.ejected_until.store(0, Relaxed);
        state.count_answer();
        fail(3);
        assert_eq!(ejected_for(&state), Some(10));
    }

    #[test]
    fn a_server_that_came_back_warms_from_a_tenth_to_all() {
        let over = Duration::from_secs(9);
        let state = state();
        assert_eq!(state.warmth(over, 50_000), WHOLE, "not at first");
        state.turned.store(50_000, Relaxed);
        let warmth = [50_000, 51_000, 54_500, 58_999, 59_000, 90_000].map(|now| state.warmth(over, now));
        assert_eq!(warmth, [100, 200, 550, 999, 1000, 1000]);
        // Back from an ejection, but only once it is.
        state.ejected_until.store(70_000, Relaxed);
        assert_eq!(state.warmth(over, 69_000), 1000);
        assert_eq!(state.warmth(over, 71_000), 200);
    }

    #[test]
    fn places_are_counted_and_come_back() {
        let state = state();
        let (one, two) = (state.acquire(2), state.acquire(2));
        assert!(one.is_some() && two.is_some() && state.acquire(2).is_none());
        drop(one);
        assert_eq!(state.in_flight(), 1);
        assert!(state.acquire(2).is_some());
        drop(two);
        assert_eq!(state.in_flight(), 0);
    }
}
