//! What the whole node knows of one server, from whatever source.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwapOption;
use tracing::{info, warn};

use super::{
    addresses::{AddressBook, Addresses},
    health::{Condition, Verdict},
    load::Load,
    outlier::Outlier,
    target,
};
use crate::{
    config::{self, ServerAddress},
    edge::upstream::clock,
};

/// What the whole node knows of one server.
///
/// It outlives configurations: a reload that leaves a server as it was keeps it. All of it is in atomics, as each
/// request asks something of it on its way.
pub(in crate::edge::upstream) struct ServerState {
    upstream: Arc<str>,
    name: Arc<str>,
    load: Arc<Load>,
    addresses: AddressBook,
    requests: AtomicU64,
    failures: AtomicU64,
    /// The last failure in words.
    why: ArcSwapOption<String>,
    pub(super) health: Verdict,
    pub(super) outlier: Outlier,
}

impl ServerState {
    /// Of a server that becomes known now.
    pub(in crate::edge::upstream) fn new(upstream: Arc<str>, address: &ServerAddress) -> Self {
        let fixed = target::authority(address).and_then(|authority| {
            let ip = authority.host.parse().ok()?;
            Some(Addresses::fixed(SocketAddr::new(ip, authority.port)))
        });
        Self {
            upstream,
            name: address.to_string().into(),
            load: Arc::default(),
            addresses: AddressBook::new(fixed.unwrap_or_default()),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            why: ArcSwapOption::empty(),
            health: Verdict::new(clock::now()),
            outlier: Outlier::default(),
        }
    }

    /// The name of its upstream.
    pub(in crate::edge::upstream) fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// As the configuration writes it.
    pub(in crate::edge::upstream) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(in crate::edge::upstream) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    pub(in crate::edge::upstream) fn addresses(&self) -> &AddressBook {
        &self.addresses
    }

    /// Requests and streams that it was given; attempts count.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Those that it failed, with what it did not even take.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    /// The last failure, of a request, a connection or a health check, in words.
    pub(super) fn why(&self) -> Option<String> {
        self.why.load().as_deref().cloned()
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// A request, connection or stream that the server failed. It is ejected by that where `ejection` says so.
    pub(super) fn count_failure(&self, ejection: Option<&config::Ejection>, why: &dyn fmt::Display) {
        self.failures.fetch_add(1, Relaxed);
        self.why.store(Some(Arc::new(why.to_string())));
        let Some(ejection) = ejection else { return };
        if let Some(time) = self.outlier.count_failure(ejection, clock::now()) {
            let (upstream, server) = (&self.upstream, &self.name);
            warn!(%upstream, %server, %why, ?time, "server is ejected: {} failures in a row", ejection.failures);
        }
    }

    /// A request that the server answered well.
    pub(super) fn count_answer(&self) {
        if self.outlier.count_answer() {
            let (upstream, server) = (&self.upstream, &self.name);
            info!(%upstream, %server, "server answers again");
        }
    }

    /// Takes in what health checks find the server to be, and why. True if it has come back by it. A change is logged
    /// once.
    pub(super) fn checked(&self, condition: Condition, why: &str) -> bool {
        let now = clock::now();
        if !self.health.set(condition, now) {
            return false;
        }
        let (upstream, server) = (&self.upstream, &self.name);
        match condition {
            Condition::Up => {
                // A server that answers health checks again has no time to sit out for what it failed before.
                self.outlier.pardon(now);
                info!(%upstream, %server, why, "server is up");
                true
            }
            Condition::Down => {
                warn!(%upstream, %server, why, "server is down");
                false
            }
        }
    }

    /// A health check that failed, in words.
    pub(super) fn note(&self, why: &str) {
        self.why.store(Some(Arc::new(why.to_owned())));
    }

    /// When health checks last changed their mind, or its last ejection ended, on [`clock`]; the later of both.
    pub(super) fn came_back(&self, now: u64) -> Option<u64> {
        self.health.changed().max(self.outlier.came_back(now))
    }
}
