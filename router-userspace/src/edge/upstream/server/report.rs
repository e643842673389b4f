//! How a server is, for operators and for metrics.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;

use super::Server;

/// One server of an upstream at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerReport {
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
    /// Its share beside the others', 1 to 1,000.
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

impl Server {
    /// How it is at `now`, on [`clock`](crate::edge::upstream::clock), where `queued` requests and streams wait for a
    /// server of its upstream.
    pub(in crate::edge::upstream) fn report(&self, queued: usize, now: u64) -> ServerReport {
        let state = &self.state;
        let addresses = state.addresses().now();
        ServerReport {
            upstream: state.upstream().to_string(),
            server: state.name().to_string(),
            health: self.health(now),
            why: state.why(),
            addresses: addresses.all.to_vec(),
            unresolved: addresses.trouble.map(|trouble| trouble.to_string()),
            in_flight: state.load().in_flight(),
            queued,
            connections: state.load().connections(),
            requests_total: state.requests(),
            failures_total: state.failures(),
            weight: self.weight,
        }
    }

    fn health(&self, now: u64) -> ServerHealth {
        let ejected = self.policy.ejection.and_then(|_| self.state.outlier.ejected_for(now));
        let warming = self.slow_start(now).and_then(|start| start.left(now));
        match (self.is_down(), ejected, warming) {
            (true, ..) => ServerHealth::Down(self.state.health.lasts(now).as_secs()),
            (false, Some(left), _) => ServerHealth::Ejected(rounded_up(left)),
            (false, None, Some(left)) => ServerHealth::Warming(rounded_up(left)),
            (false, None, None) => ServerHealth::Up(self.state.health.lasts(now).as_secs()),
        }
    }
}

fn rounded_up(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}
