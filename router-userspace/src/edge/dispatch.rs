//! From a QUIC connection to what speaks its protocol: HTTP/3, or the streams of a raw route.

use std::sync::Arc;

use arc_swap::ArcSwap;
use quinn::crypto::rustls::HandshakeData;
use rustls_pki_types::CertificateDer;
use tracing::debug;

#[cfg(feature = "interop")]
use super::hq;
use super::{
    arrival::IncomingConnection,
    client::Client,
    http3,
    origins::Instructions,
    pace::Pace,
    raw::RawConnection,
    route,
    site::{ServedBy, Serving, Site},
    tls,
};
use crate::{
    address::path::Path,
    telemetry::{Meter, Protocol},
};

/// Application error code of a raw connection for whose ALPN and server name there is no route.
pub const NO_ROUTE: u32 = 1;

/// What connections are served by. Cloning it is cheap and shares the upstream connections.
#[derive(Clone)]
pub struct Edge(pub(super) Arc<Site>);

impl Edge {
    /// An edge with no upstream connections yet.
    pub fn new(instructions: &Instructions, served_by: ServedBy, meter: Arc<Meter>) -> Self {
        let now = ArcSwap::from_pointee(Serving::new(instructions, &served_by, &meter, None));
        Self(Arc::new(Site { served_by, meter, now }))
    }

    /// From now on requests, and new raw connections, go by these. What has begun is
    /// finished as it was begun, and upstreams that stay the same keep their connections.
    pub fn reconfigure(&self, instructions: &Instructions) {
        let Site { served_by, meter, now } = &*self.0;
        let next = Serving::new(instructions, served_by, meter, Some(&now.load().clients));
        now.store(Arc::new(next));
    }

    /// Serves a QUIC connection until it ends.
    ///
    /// Runs inside a tokio runtime and puts each request or stream in a task of its own there;
    /// these end with the connection. When its draining begins, the client of an HTTP/3 connection
    /// is asked to go elsewhere (see [`Drain`](super::Drain)).
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
            // What a stream's octets do when they come twice is not known here.
            if arrival.handshake.completed().await {
                let (book, limits) = (self.0.now.load().book.clone(), self.0.now.load().limits);
                let pace = Pace::new(limits.send_timeout, limits.min_rate);
                let path = Path::new(connection.clone(), arrival.address);
                RawConnection { connection, path, client, route: route.clone(), book, pace }.serve().await;
            }
        } else {
            connection.close(NO_ROUTE.into(), b"no route for this ALPN and server name");
        }
        debug!(%peer, "ended");
    }
}
