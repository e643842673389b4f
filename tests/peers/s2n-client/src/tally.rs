//! What became of the connections and requests of a run.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Error;
use serde_json::json;

use crate::options::Options;

/// The summary that grows.
#[derive(Debug)]
pub(crate) struct Tally {
    begun: Instant,
    connections_failed: usize,
    requests_failed: usize,
    octets: u64,
    handshakes: Vec<Duration>,
    requests: Vec<Duration>,
    errors: BTreeMap<String, usize>,
    bodies: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            connections_failed: 0,
            requests_failed: 0,
            octets: 0,
            handshakes: Vec::new(),
            requests: Vec::new(),
            errors: BTreeMap::new(),
            bodies: BTreeMap::new(),
        }
    }

    /// A handshake has succeeded.
    pub(crate) fn connected(&mut self, after: Duration) {
        self.handshakes.push(after);
    }

    /// A handshake has failed.
    pub(crate) fn refused(&mut self) {
        self.connections_failed += 1;
    }

    /// A request got the right octets.
    pub(crate) fn answered(&mut self, octets: u64, after: Duration) {
        self.octets += octets;
        self.requests.push(after);
    }

    /// A request did not.
    pub(crate) fn unanswered(&mut self) {
        self.requests_failed += 1;
    }

    /// A short answer, as it is.
    pub(crate) fn body(&mut self, text: String) {
        *self.bodies.entry(text).or_default() += 1;
    }

    /// Counts an error by its text, cut so that a thousand alike are one.
    pub(crate) fn failed(&mut self, error: &Error) {
        let text = format!("{error:#}").chars().take(200).collect();
        *self.errors.entry(text).or_default() += 1;
    }

    /// Tells people, and with `-json` programs; answers whether nothing was lost.
    pub(crate) fn print(&mut self, options: &Options) -> bool {
        let took = self.begun.elapsed();
        println!(
            "get: connections ok={} failed={}  requests ok={} failed={}  bytes={}  {:.2}s",
            self.handshakes.len(),
            self.connections_failed,
            self.requests.len(),
            self.requests_failed,
            self.octets,
            took.as_secs_f64()
        );
        self.errors.iter().for_each(|(text, count)| println!("  error x{count}: {text:?}"));
        self.bodies.iter().for_each(|(text, count)| println!("  body x{count}: {text:?}"));
        self.handshakes.sort();
        self.requests.sort();
        if options.has_json {
            let summary = json!({
                "connections_ok": self.handshakes.len(),
                "connections_failed": self.connections_failed,
                "requests_ok": self.requests.len(),
                "requests_failed": self.requests_failed,
                "moved": 0,
                "bytes": self.octets,
                "errors": self.errors,
                "bodies": self.bodies,
                "milliseconds": took.as_millis() as u64,
                "handshakes": latency(&self.handshakes),
                "requests": latency(&self.requests),
                "handshake_times": self.handshakes.iter().copied().map(microseconds).collect::<Vec<_>>(),
            });
            println!("{summary}");
        }
        self.handshakes.len() == options.connections
            && self.requests.len() == options.connections * options.requests
            && self.errors.is_empty()
    }
}

/// In microseconds, of times that are sorted.
fn latency(times: &[Duration]) -> serde_json::Value {
    let of = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100).copied().map_or(0, microseconds);
    json!({ "p50": of(50), "p99": of(99), "worst": of(100) })
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
