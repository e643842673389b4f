//! How a server is, for people and for metrics.

use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};

use serde::Serialize;

use super::server::Set;

/// One server of an upstream at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerState {
    /// The upstream's name.
    pub upstream: String,
    /// As the configuration writes it.
    pub server: String,
    /// Whether it is used.
    #[serde(flatten)]
    pub health: ServerHealth,
    /// The last failure, of a request, a connection or a health check, in words.
    pub why: Option<String>,
    /// Where it is; empty before its name is resolved, and for a Unix socket.
    pub addresses: Vec<SocketAddr>,
    /// Why its name cannot be resolved now; `addresses` are then of the last time that it could.
    pub unresolved: Option<String>,
    /// Requests and streams on it.
    pub in_flight: u32,
    /// Requests and streams that wait for a server of the upstream.
    pub queued: usize,
    /// Open connections.
    pub connections: u32,
    /// Requests and streams that it was given; attempts count.
    pub requests_total: u64,
    /// Those that it failed, with what it did not even take.
    pub failures_total: u64,
    /// Its share beside the others'.
    pub weight: u16,
}

/// Whether a server is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "health", content = "seconds", rename_all = "snake_case")]
pub enum ServerHealth {
    /// It is, for this many seconds.
    Up(u64),
    /// Health checks find it down, for this many seconds.
    Down(u64),
    /// It failed requests and is left alone for this many seconds more.
    Ejected(u64),
    /// It came back and has all of its share in this many seconds.
    Warming(u64),
}

impl ServerState {
    pub(super) fn of(upstream: &str, set: &Set, index: usize, now: u64) -> Self {
        let server = &set.servers[index];
        let state = &server.state;
        let addresses = state.addresses.borrow().clone();
        Self {
            upstream: upstream.to_owned(),
            server: state.name.to_string(),
            health: ServerHealth::of(set, index, now),
            why: state.why.load().as_ref().map(|why| why.to_string()),
            addresses: addresses.all.to_vec(),
            unresolved: addresses.trouble.map(|trouble| trouble.to_string()),
            in_flight: state.in_flight(),
            queued: set.queue.len(),
            connections: state.connections.load(Relaxed),
            requests_total: state.requests.load(Relaxed),
            failures_total: state.failures.load(Relaxed),
            weight: server.weight,
        }
    }
}

impl ServerHealth {
    fn of(set: &Set, index: usize, now: u64) -> Self {
        let server = &set.servers[index];
        let ejected = set.settings.ejection.and_then(|_| server.state.ejected_for(now));
        let warming = set.settings.slow_start.and_then(|over| server.state.warms_for(over, now));
        match (set.is_down(server), ejected, warming) {
            (true, ..) => Self::Down(server.state.since(now).as_secs()),
            (false, Some(left), _) => Self::Ejected(rounded_up(left)),
            (false, None, Some(left)) => Self::Warming(rounded_up(left)),
            (false, None, None) => Self::Up(server.state.since(now).as_secs()),
        }
    }
}

fn rounded_up(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}
