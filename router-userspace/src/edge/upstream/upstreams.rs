//! What is known of all servers, the node over.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use futures_util::future::{Either, join_all};

use super::{
    clock, probe,
    queue::Queue,
    resolve::{self, Resolver},
    server::{ServerReport, authority},
    set::{Builder, ServerSet},
    tls::UpstreamError,
};
use crate::config::{self, Config};

/// What is known of all servers, the node over: one per configuration in force.
///
/// [`watch`](Self::watch) keeps it up to date.
pub struct Upstreams {
    by_name: BTreeMap<Arc<str>, Shared>,
}

/// What all workers have in common of one upstream.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) set: Arc<ServerSet>,
    pub(super) queue: Arc<Queue>,
}

impl Upstreams {
    /// Those of `config`. Reads the files of authorities and client certificates.
    ///
    /// Servers with the same upstream's name, address and TLS settings as `before` keep their
    /// state: health, addresses, load and counters. So do the requests that wait for a server of an upstream of that name.
    ///
    /// # Errors
    ///
    /// The servers of an upstream cannot be spoken to: a file of its TLS settings cannot be used, for one.
    pub fn new(config: &Config, before: Option<&Self>) -> Result<Self, UpstreamError> {
        let mut builder = Builder::new(config.limits);
        let mut by_name = BTreeMap::new();
        for (name, upstream) in &config.upstreams {
            let config::Upstream::Servers(settings) = upstream else { continue };
            let before = before.and_then(|before| before.by_name.get(name));
            let set = builder.build(name, settings, before.map(|before| &*before.set))?;
            let queue = before.map(|before| before.queue.clone()).unwrap_or_default();
            by_name.insert(name.clone(), Shared { set: Arc::new(set), queue });
        }
        Ok(Self { by_name })
    }

    /// By name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Shared)> {
        self.by_name.iter()
    }

    /// Resolves the servers' names whenever their TTL has passed, and asks after their health, for as
    /// long as it is polled: it never ends of itself. Within a tokio runtime.
    pub async fn watch(self: Arc<Self>) {
        let resolver = Resolver::new();
        let servers =
            || self.by_name.values().flat_map(|shared| shared.set.servers().iter().map(move |one| (shared, one)));
        let resolved = servers().filter_map(|(_, server)| {
            let authority = authority(server.address())?;
            let named = authority.host.parse::<IpAddr>().is_err();
            named.then(|| Either::Left(resolve::watch(server.state(), authority, &resolver)))
        });
        let probed = servers().filter_map(|(shared, server)| {
            let health = shared.set.settings().health.as_ref()?;
            Some(Either::Right(probe::watch(server, health, &shared.queue)))
        });
        join_all(resolved.chain(probed)).await;
        std::future::pending().await
    }

    /// Every server and how it is, in the order of the names and of the file.
    pub fn states(&self) -> Vec<ServerReport> {
        let now = clock::now();
        let of = |Shared { set, queue }: &Shared| -> Vec<_> {
            set.servers().iter().map(|server| server.report(queue.len(), now)).collect()
        };
        self.by_name.values().flat_map(of).collect()
    }
}
