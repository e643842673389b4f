//! What a terminated QUIC connection is for: HTTP/3 requests to HTTP/1.1 upstreams or to the
//! built-in page, raw streams to TCP upstreams.
//!
//! This room knows no connection IDs, slots or maps; what it shows of them is given to it as
//! text. Each worker has an [`Edge`] of its own, with its own upstream connections, so nothing
//! here is contended: the few locks and atomics exist because the libraries want `Send` values.
//!
//! A connection takes the way `route` → `http3` → `proxy` (or `page`), or `route` → `raw`.

mod body;
mod headers;
mod http3;
mod page;
mod pool;
mod proxy;
mod raw;
mod reply;
mod request;
mod route;
#[cfg(test)]
mod tests;
pub mod tickets;
pub mod tls;
mod transport;
mod upstream;

use std::sync::Arc;

use http::HeaderValue;
use quinn::crypto::rustls::HandshakeData;
use tokio::sync::watch;
use tracing::debug;

pub use raw::{STREAM_CANCELLED, STREAM_REFUSED, UPSTREAM_CLOSED, UPSTREAM_RESET, UPSTREAM_UNREACHABLE};

use self::route::Routes;
use crate::config::Config;

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

/// What all connections of an edge share.
struct Site {
    routes: Routes,
    description: String,
    /// Carried by every response under `debug_headers`.
    slot: Option<HeaderValue>,
    draining: watch::Sender<bool>,
}

impl Edge {
    /// An edge with no upstream connections yet.
    pub fn new(config: &Config, served_by: ServedBy) -> Self {
        let slot = config.router.debug_headers.then(|| HeaderValue::from_str(&served_by.slot).ok()).flatten();
        Self(Arc::new(Site {
            routes: Routes::new(config),
            description: served_by.description,
            slot,
            draining: watch::Sender::new(false),
        }))
    }

    /// Serves `connection`, whose handshake is complete, until it ends.
    ///
    /// Runs inside a tokio runtime and puts each request or stream in a task of its own there;
    /// these end with the connection.
    pub async fn serve(&self, connection: quinn::Connection) {
        let peer = connection.remote_address();
        let agreed = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let alpn = agreed.as_ref().and_then(|data| data.protocol.as_deref()).unwrap_or_default();
        let name = agreed.as_ref().and_then(|data| data.server_name.as_deref());
        debug!(%peer, alpn = %alpn.escape_ascii(), name, "serving");
        if alpn == route::HTTP3 {
            http3::serve(self.0.clone(), connection).await;
        } else if let Some(upstream) = self.0.routes.raw(alpn, name) {
            raw::serve(upstream.clone(), connection).await;
        } else {
            connection.close(NO_ROUTE.into(), b"no route for this ALPN and server name");
        }
        debug!(%peer, "ended");
    }

    /// Asks the clients of all HTTP/3 connections, present and future ones, to go elsewhere
    /// (GOAWAY, RFC 9114 section 5.2). Requests in flight are finished; then the client is left to
    /// close, and its connection closed when it is silent for a few seconds. A connection on which
    /// nothing was asked is closed at once. [`serve`](Self::serve) returns with each.
    ///
    /// Raw QUIC knows no such word: those connections stay until they end or are closed.
    pub fn drain(&self) {
        self.0.draining.send_replace(true);
    }
}
