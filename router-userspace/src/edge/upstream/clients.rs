//! One worker's way to the servers of all upstreams.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    balance::Chooser,
    pooled_server::PooledServer,
    queue::Queue,
    request_body::Forwarded,
    server::Load,
    set::ServerSet,
    upstreams::{Shared, Upstreams},
};
use crate::edge::http::body::RequestBody;

/// One worker's connections to all upstreams.
pub(in crate::edge) struct Clients<B: Forwarded = RequestBody> {
    by_name: BTreeMap<Arc<str>, Arc<Upstream<B>>>,
}

/// One worker's way to the servers of an upstream.
pub(in crate::edge) struct Upstream<B: Forwarded = RequestBody> {
    set: Arc<ServerSet>,
    queue: Arc<Queue>,
    /// The worker's connections to each server of `set`, in the same order.
    pooled: Vec<Arc<PooledServer<B>>>,
    chooser: Chooser,
}

impl<B: Forwarded> Clients<B> {
    /// For `upstreams`. The connections to servers that were the same `before` are kept.
    pub(in crate::edge) fn new(upstreams: &Upstreams, before: Option<&Self>) -> Self {
        let upstream = |(name, shared): (&Arc<str>, &Shared)| {
            let before = before.and_then(|before| before.by_name.get(name));
            (name.clone(), Arc::new(Upstream::new(shared, before.map(|before| &**before))))
        };
        Self { by_name: upstreams.iter().map(upstream).collect() }
    }

    /// The upstream of that name, if it is one of servers.
    pub(in crate::edge) fn get(&self, name: &str) -> Option<Arc<Upstream<B>>> {
        self.by_name.get(name).cloned()
    }
}

impl<B: Forwarded> Upstream<B> {
    fn new(Shared { set, queue }: &Shared, before: Option<&Self>) -> Self {
        let pool = |load: &Arc<Load>| {
            let before = before?;
            Some(before.pooled[before.set.position(load)?].pool().clone())
        };
        let pooled = set.servers().iter().map(|server| {
            Arc::new(PooledServer::new(set.clone(), server.clone(), pool(server.load()).unwrap_or_default()))
        });
        Self {
            set: set.clone(),
            queue: queue.clone(),
            pooled: pooled.collect(),
            chooser: Chooser::new(set.settings().balance, set.servers().len()),
        }
    }

    /// What all workers know of its servers.
    pub(super) fn set(&self) -> &Arc<ServerSet> {
        &self.set
    }

    /// Where those wait for whom no server has room.
    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Whose turn it is.
    pub(super) fn chooser(&self) -> &Chooser {
        &self.chooser
    }

    /// This worker's connections to the server with that index.
    pub(super) fn pooled(&self, index: usize) -> &Arc<PooledServer<B>> {
        &self.pooled[index]
    }
}
