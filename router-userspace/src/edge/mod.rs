//! What a terminated QUIC connection is for: HTTP/3 requests to HTTP/1.1 upstreams or to the
//! built-in page, raw streams to TCP upstreams.
//!
//! This room knows no connection IDs, slots or maps; what it shows of them is given to it as
//! text. Each worker has an [`Edge`] of its own, with its own upstream connections, so nothing
//! here is contended: the few locks and atomics exist because the libraries want `Send` values.
//!
//! A connection takes the way `route` → `http3` → `proxy` (or `page`), or `route` → `raw`.

mod body;
mod drain;
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

use arc_swap::ArcSwap;
use http::HeaderValue;
use quinn::crypto::rustls::HandshakeData;
use tracing::debug;

pub use drain::{Drain, Draining};
pub use raw::{STREAM_CANCELLED, STREAM_REFUSED, UPSTREAM_CLOSED, UPSTREAM_RESET, UPSTREAM_UNREACHABLE};
pub use route::offered_protocols;

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
    served_by: ServedBy,
    now: ArcSwap<Serving>,
}

/// What the configuration says that is served.
struct Serving {
    routes: Routes,
    /// Carried by every response under `debug_headers`.
    slot: Option<HeaderValue>,
}

impl Edge {
    /// An edge with no upstream connections yet.
    pub fn new(config: &Config, served_by: ServedBy) -> Self {
        let now = ArcSwap::from_pointee(Serving::new(config, &served_by, None));
        Self(Arc::new(Site { served_by, now }))
    }

    /// From now on requests, and new raw connections, go by `config`. What has begun is
    /// finished as it was begun, and upstreams that stay the same keep their connections.
    pub fn reconfigure(&self, config: &Config) {
        let Site { served_by, now } = &*self.0;
        let next = Serving::new(config, served_by, Some(&now.load().routes));
        now.store(Arc::new(next));
    }

    /// Serves `connection`, whose handshake is complete, until it ends.
    ///
    /// Runs inside a tokio runtime and puts each request or stream in a task of its own there;
    /// these end with the connection. When `draining` begins, the client of an HTTP/3 connection
    /// is asked to go elsewhere (see [`Drain`]).
    pub async fn serve(&self, connection: quinn::Connection, draining: Draining) {
        let peer = connection.remote_address();
        let agreed = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
        let alpn = agreed.as_ref().and_then(|data| data.protocol.as_deref()).unwrap_or_default();
        let name = agreed.as_ref().and_then(|data| data.server_name.as_deref());
        debug!(%peer, alpn = %alpn.escape_ascii(), name, "serving");
        if alpn == route::HTTP3 {
            http3::serve(self.0.clone(), connection, draining).await;
        } else if let Some(upstream) = self.0.now.load_full().routes.raw(alpn, name) {
            raw::serve(upstream.clone(), connection).await;
        } else {
            connection.close(NO_ROUTE.into(), b"no route for this ALPN and server name");
        }
        debug!(%peer, "ended");
    }
}

impl Serving {
    fn new(config: &Config, served_by: &ServedBy, before: Option<&Routes>) -> Self {
        let slot = config.router.debug_headers.then(|| HeaderValue::from_str(&served_by.slot).ok()).flatten();
        Self { routes: Routes::new(config, before), slot }
    }
}
