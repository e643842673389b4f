//! What the connections of an edge are served by, now: replaced as a whole when the configuration is read again.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderValue;

use super::{
    access::AccessSink, memory::Memory, origins::Instructions, route::Routes, tls::certificate_names::Shown,
    upstream::Clients,
};
use crate::{config::Limits, telemetry::Meter};

/// The worker that serves, in words for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// Value of `x-quic-router-slot`; visible ASCII.
    pub slot: String,
    /// A sentence's part for the built-in page: `node 1, worker 3, slot 3, process 4711`.
    pub description: String,
}

/// What all connections of an edge share.
pub(super) struct Site {
    pub(super) served_by: ServedBy,
    pub(super) meter: Arc<Meter>,
    pub(super) now: ArcSwap<Serving>,
}

/// What the configuration says that is served.
pub(super) struct Serving {
    pub(super) book: AccessSink,
    pub(super) routes: Routes,
    pub(super) clients: Clients,
    pub(super) limits: Limits,
    pub(super) memory: Arc<Memory>,
    pub(super) shown: Arc<Shown>,
    /// Requests that a client may have open at once on one connection.
    pub(super) max_streams: u32,
    /// Carried by every response under `debug_headers`.
    pub(super) slot: Option<HeaderValue>,
}

impl Serving {
    pub(super) fn new(
        Instructions { config, origins, access_log }: &Instructions,
        served_by: &ServedBy,
        meter: &Arc<Meter>,
        before: Option<&Clients>,
    ) -> Self {
        let clients = Clients::new(&origins.upstreams, before);
        origins.memory.set_budget(config.limits.memory);
        Self {
            book: AccessSink::new(access_log.clone(), meter),
            routes: Routes::new(config, &clients, &origins.folders, meter),
            clients,
            limits: config.limits,
            memory: Arc::clone(&origins.memory),
            shown: Arc::clone(&origins.shown),
            max_streams: config.transport.max_streams,
            slot: config.router.debug_headers.then(|| HeaderValue::from_str(&served_by.slot).ok()).flatten(),
        }
    }
}
