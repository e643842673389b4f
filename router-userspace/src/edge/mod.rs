//! What a terminated connection is for: HTTP requests to servers, files or the built-in page, raw
//! streams to TCP servers.
//!
//! This room knows no connection IDs, slots or maps; what it shows of them is given to it as
//! text. Each worker has an [`Edge`] of its own, with its own upstream connections, so little here
//! is contended; what all workers share of the servers behind is in [`Origins`].
//!
//! A request over QUIC goes `http3` → `http::request` → `http::handler` → `http::proxy` (or `files`, `http::page`), one over
//! TCP `tcp` → `http::request`, and so on. A raw stream goes `route` → `raw`.

mod access;
mod client;
mod drain;
mod files;
#[cfg(feature = "interop")]
mod hq;
mod http;
mod http3;
mod memory;
mod pace;
mod raw;
mod route;
mod tcp;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod upstream;

use std::{io, net::SocketAddr, sync::Arc};

use ::http::HeaderValue;
use arc_swap::ArcSwap;
use quinn::crypto::rustls::HandshakeData;
use rustls_pki_types::CertificateDer;
use tracing::debug;

use self::{
    access::AccessSink,
    client::Client,
    pace::Pace,
    route::{Folders, Routes},
    tls::certificate_names::Shown,
    upstream::{Clients, UpstreamError, Upstreams},
};
pub use self::{
    drain::{Drain, Draining},
    http3::early_data::Handshake,
    memory::Memory,
    raw::{STREAM_CANCELLED, STREAM_REFUSED, UPSTREAM_CLOSED, UPSTREAM_RESET, UPSTREAM_UNREACHABLE},
    route::offered_protocols,
    tcp::Speaks,
};
use crate::{
    address::{Validated, path::Path},
    config::{Config, Limits},
    telemetry::{AccessLog, Meter, Protocol},
};

/// Application error code of a raw connection for whose ALPN and server name there is no route.
pub const NO_ROUTE: u32 = 1;

/// Who serves, in words for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedBy {
    /// Value of `x-quic-router-slot`; visible ASCII.
    pub slot: String,
    /// A sentence's part for the built-in page: `node 1, worker 3, slot 3, process 4711`.
    pub description: String,
}

/// What connections are served by. Cloning it is cheap and shares the upstream connections.
#[derive(Clone)]
pub struct Edge(Arc<Site>);

/// What requests are answered from; the same for all workers.
#[derive(Clone)]
pub struct Origins {
    upstreams: Arc<Upstreams>,
    folders: Arc<Folders>,
    memory: Arc<Memory>,
    shown: Arc<Shown>,
}

/// What requests are served by, from a configuration on.
#[derive(Clone)]
pub struct Instructions {
    /// The configuration.
    pub config: Arc<Config>,
    /// Its origins.
    pub origins: Origins,
    /// Where requests are written down, if anywhere.
    pub access_log: Option<AccessLog>,
}

/// Why there is nothing to answer requests from.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// Of servers.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A folder cannot be opened. Names it.
    #[error(transparent)]
    Folder(#[from] io::Error),
}

/// A QUIC connection to be served.
pub struct IncomingConnection {
    /// It may still be in its handshake, if the client sends 0-RTT.
    pub connection: quinn::Connection,
    /// Where its client was when it began.
    pub address: Validated,
    /// Whether the handshake is complete.
    pub handshake: Handshake,
    /// When its client is to be asked to go elsewhere.
    pub draining: Draining,
    /// The listener's address.
    pub listener: SocketAddr,
}

/// What all connections of an edge share.
struct Site {
    served_by: ServedBy,
    meter: Arc<Meter>,
    now: ArcSwap<Serving>,
}

/// What the configuration says that is served.
struct Serving {
    book: AccessSink,
    routes: Routes,
    clients: Clients,
    limits: Limits,
    memory: Arc<Memory>,
    shown: Arc<Shown>,
    /// Requests that a client may have open at once on one connection.
    max_streams: u32,
    /// Carried by every response under `debug_headers`.
    slot: Option<HeaderValue>,
}

impl Origins {
    /// Those of `config`; servers that were the same `before` stay what they are.
    ///
    /// # Errors
    /// A file that is needed to reach a server, or a folder, cannot be read.
    pub fn new(config: &Config, before: Option<&Self>) -> Result<Self, OriginError> {
        let upstreams = Upstreams::new(config, before.map(|before| &*before.upstreams))?;
        let folders = Folders::open(config)?;
        let memory = before.map_or_else(|| Memory::new(config.limits.memory), |before| Arc::clone(&before.memory));
        let shown = Arc::new(Shown::new(config));
        Ok(Self { upstreams: Arc::new(upstreams), folders: Arc::new(folders), memory, shown })
    }

    /// What is known of the servers.
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.upstreams
    }

    /// What requests make the node hold.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }
}

impl Edge {
    /// An edge with no upstream connections yet.
    pub fn new(instructions: &Instructions, served_by: ServedBy, meter: Arc<Meter>) -> Self {
        let now = ArcSwap::from_pointee(Serving::new(instructions, (&served_by, &meter), None));
        Self(Arc::new(Site { served_by, meter, now }))
    }

    /// From now on requests, and new raw connections, go by these. What has begun is
    /// finished as it was begun, and upstreams that stay the same keep their connections.
    pub fn reconfigure(&self, instructions: &Instructions) {
        let Site { served_by, meter, now } = &*self.0;
        let next = Serving::new(instructions, (served_by, meter), Some(&now.load().clients));
        now.store(Arc::new(next));
    }

    /// Serves a QUIC connection until it ends.
    ///
    /// Runs inside a tokio runtime and puts each request or stream in a task of its own there;
    /// these end with the connection. When its draining begins, the client of an HTTP/3 connection
    /// is asked to go elsewhere (see [`Drain`]).
    pub async fn serve(&self, arrival: IncomingConnection) {
        let connection = &arrival.connection;
        let agreed = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let alpn = agreed.as_ref().and_then(|data| data.protocol.as_deref()).unwrap_or_default();
        let name = agreed.as_ref().and_then(|data| data.server_name.as_deref());
        let peer = arrival.address;
        debug!(%peer, alpn = %alpn.escape_ascii(), name, "serving");
        let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'_>>>().ok());
        let client = Client {
            local: connection.local_ip().map(|ip| (ip, arrival.listener.port()).into()),
            listener: Some(arrival.listener),
            server_name: name.map(Arc::from),
            certificate: shown.and_then(|chain| tls::x509::certificate(chain.first()?)),
            ..Client::new(peer)
        };
        #[cfg(feature = "interop")]
        if let Some(folder) = self.0.now.load().routes.hq(alpn) {
            return hq::serve(&folder, connection, &self.0.now.load().memory).await;
        }
        let _open = self.0.meter.connection(if alpn == route::HTTP3 { Protocol::Http3 } else { Protocol::Raw });
        if alpn == route::HTTP3 {
            http3::serve(self.0.clone(), arrival, client).await;
        } else if let Some(route) = self.0.now.load_full().routes.raw(alpn, &client) {
            // Nobody can say what a stream's octets do when they come twice.
            if arrival.handshake.completed().await {
                let (book, limits) = (self.0.now.load().book.clone(), self.0.now.load().limits);
                let pace = Pace::new(limits.send_timeout, limits.min_rate);
                let path = Path::new(connection.clone(), arrival.address);
                raw::serve(route.clone(), (connection, path), (client, book, pace)).await;
            }
        } else {
            connection.close(NO_ROUTE.into(), b"no route for this ALPN and server name");
        }
        debug!(%peer, "ended");
    }
}

impl Serving {
    fn new(
        Instructions { config, origins, access_log }: &Instructions,
        (served_by, meter): (&ServedBy, &Arc<Meter>),
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
