//! What is counted of connections and requests. Each worker counts into a [`Meter`] of its own, so
//! that no worker waits for a cache line; [`Meters`] adds them up when asked.
//!
//! A sum never goes backwards: a route keeps its counts across reloads by its name, and those of a
//! worker that has ended are kept.

mod latency;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use self::{latency::Histogram, status::Statuses};
pub use self::{
    latency::{BUCKETS, Latency},
    status::Status,
};
use super::record::{Outcome, Protocol, Record};

/// The name under which is counted what no route matched; no route can be named so.
pub const NO_ROUTE: &str = "(none)";

/// The meters of a node.
#[derive(Debug, Default)]
pub struct Meters(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    living: Vec<Arc<Meter>>,
    departed: Sums,
}

/// What one worker counts.
#[derive(Debug, Default)]
pub struct Meter {
    handshakes: [AtomicU64; Handshake::ALL.len()],
    open: [AtomicU64; Protocol::ALL.len()],
    opened: [AtomicU64; Protocol::ALL.len()],
    routes: Mutex<BTreeMap<Arc<str>, Arc<RouteMeter>>>,
}

/// What one worker counts for one route.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct RouteMeter {
    statuses: [OnceLock<Box<Statuses>>; Protocol::ALL.len()],
    requests: [AtomicU64; Outcome::ALL.len()],
    streams: [AtomicU64; Outcome::ALL.len()],
    early: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    duration: Histogram,
    first_byte: Histogram,
}

/// A connection, which counts as open while this lives.
#[derive(Debug)]
pub struct OpenConnection {
    meter: Arc<Meter>,
    protocol: Protocol,
}

/// How a TLS handshake on TCP ended; those of QUIC are the endpoint's to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It came to its end.
    Complete,
    /// Client and server did not agree, or the client went.
    Failed,
    /// It took too long.
    TimedOut,
}

/// What all meters of a node say together; the arrays are in the order of each `ALL`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    /// TLS handshakes on TCP, by how they ended.
    pub handshakes: [u64; Handshake::ALL.len()],
    /// Connections open now, by protocol.
    pub open: [u64; Protocol::ALL.len()],
    /// Connections that were opened, by protocol.
    pub opened: [u64; Protocol::ALL.len()],
    /// By name.
    pub routes: BTreeMap<Arc<str>, RouteSums>,
}

/// What was counted for a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteSums {
    /// Requests, by protocol and status.
    pub requests: BTreeMap<(Protocol, Status), u64>,
    /// Requests, by how they ended.
    pub request_outcomes: [u64; Outcome::ALL.len()],
    /// Streams of raw connections, by how they ended.
    pub stream_outcomes: [u64; Outcome::ALL.len()],
    /// Requests that were served before their handshake was complete.
    pub early: u64,
    /// Octets from clients.
    pub received: u64,
    /// Octets to clients.
    pub sent: u64,
    /// How long requests took.
    pub duration: Latency,
    /// How long they took until the response's head was sent.
    pub first_byte: Latency,
}

impl Meters {
    /// The meter of a worker that is about to start. When the worker has dropped it, what it has
    /// counted is kept.
    pub fn join(&self) -> Arc<Meter> {
        let meter = Arc::<Meter>::default();
        self.state().living.push(Arc::clone(&meter));
        meter
    }

    /// What all of them have counted.
    pub fn sums(&self) -> Sums {
        let mut state = self.state();
        state.see_off();
        let mut sums = state.departed.clone();
        state.living.iter().for_each(|meter| meter.add_to(&mut sums));
        sums
    }

    /// Forgets what was counted for routes that `stay` does not name, so that names that come and
    /// go do not gather.
    pub fn retain_routes(&self, stay: impl Fn(&str) -> bool) {
        let mut state = self.state();
        let stays = |name: &str| name == NO_ROUTE || stay(name);
        state.departed.routes.retain(|name, _| stays(name));
        state.living.iter().for_each(|meter| meter.routes().retain(|name, _| stays(name)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps what those have counted that no worker has any more.
    fn see_off(&mut self) {
        for meter in mem::take(&mut self.living) {
            match Arc::try_unwrap(meter) {
                Ok(meter) if meter.is_done() => {
                    meter.add_to(&mut self.departed);
                    self.departed.open = Default::default();
                }
                Ok(meter) => self.living.push(Arc::new(meter)),
                Err(meter) => self.living.push(meter),
            }
        }
    }
}

impl Meter {
    /// Counts a TLS handshake on TCP.
    pub fn handshake(&self, outcome: Handshake) {
        add(&self.handshakes[outcome as usize], 1);
    }

    /// Counts a connection, which is open until the result is dropped.
    pub fn connection(self: &Arc<Self>, protocol: Protocol) -> OpenConnection {
        add(&self.open[protocol as usize], 1);
        add(&self.opened[protocol as usize], 1);
        OpenConnection { meter: Arc::clone(self), protocol }
    }

    /// The meter of a route, the same for the same name: to be looked up once for each
    /// configuration.
    pub fn route(&self, name: &Arc<str>) -> Arc<RouteMeter> {
        Arc::clone(self.routes().entry(Arc::clone(name)).or_default())
    }

    /// Whether nothing is counted here any more, given that no other reference is left.
    fn is_done(&self) -> bool {
        self.routes().values().all(|route| Arc::strong_count(route) == 1)
    }

    fn add_to(&self, sums: &mut Sums) {
        add_all(&mut sums.handshakes, &self.handshakes);
        add_all(&mut sums.open, &self.open);
        add_all(&mut sums.opened, &self.opened);
        for (name, route) in &*self.routes() {
            route.add_to(sums.routes.entry(Arc::clone(name)).or_default());
        }
    }

    fn routes(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<RouteMeter>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RouteMeter {
    /// Counts a request, or a stream of a raw connection, that has ended.
    pub fn count(&self, record: &Record<'_>) {
        add(&self.received, record.received);
        add(&self.sent, record.sent);
        if record.protocol == Protocol::Raw {
            add(&self.streams[record.outcome as usize], 1);
            return;
        }
        add(&self.requests[record.outcome as usize], 1);
        self.statuses[record.protocol as usize].get_or_init(Box::default).count(record.status);
        if record.tls.early_data {
            add(&self.early, 1);
        }
        self.duration.observe(record.duration);
        if let Some(first_byte) = record.first_byte {
            self.first_byte.observe(first_byte);
        }
    }

    fn add_to(&self, sums: &mut RouteSums) {
        for (protocol, statuses) in Protocol::ALL.into_iter().zip(&self.statuses) {
            let counted = statuses.get().into_iter().flat_map(|statuses| statuses.counted());
            counted.for_each(|(status, n)| *sums.requests.entry((protocol, status)).or_default() += n);
        }
        add_all(&mut sums.request_outcomes, &self.requests);
        add_all(&mut sums.stream_outcomes, &self.streams);
        sums.early += self.early.load(Relaxed);
        sums.received += self.received.load(Relaxed);
        sums.sent += self.sent.load(Relaxed);
        self.duration.add_to(&mut sums.duration);
        self.first_byte.add_to(&mut sums.first_byte);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.meter.open[self.protocol as usize].fetch_sub(1, Relaxed);
    }
}

impl Handshake {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Complete, Self::Failed, Self::TimedOut];

    /// As a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

fn add_all<const N: usize>(sums: &mut [u64; N], counters: &[AtomicU64; N]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum += counter.load(Relaxed);
    }
}
