//! The new generation's own question, before anybody else asks: is each of its workers reached on
//! each of its listeners?
//!
//! The client chooses a first connection ID that names the worker, so that the kernel brings it
//! there though the assignment does not know the worker yet. What is checked is the whole way:
//! `select`, the sockets' map, the worker's socket, its endpoint, TLS. The probe has no certificate:
//! where clients must show one, to be refused for that is the right answer.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use quinn::{ClientConfig, ConnectionError, Endpoint, TransportErrorCode, VarInt, crypto::rustls::QuicClientConfig};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::time::timeout;

use super::super::{error::StartError, node::Node};
use crate::{config::Listener, edge::offered_protocols};

/// Connects to every worker on every listener.
///
/// # Errors
/// Which does not serve, and why.
pub(super) async fn probe(node: &Node) -> Result<(), StartError> {
    let config = node.config();
    for listener in &config.listeners {
        for (slot, _) in node.places() {
            let failed = |e: String| {
                StartError::kernel(format!("the probe of slot {slot} on {} was not served: {e}", listener.address))
            };
            let before = handshakes(node, slot);
            timeout(PATIENCE, connect(node, listener, slot, offered_protocols(&config.routes, listener.address)))
                .await
                .map_err(|_| failed(format!("no answer within {PATIENCE:?}")))?
                .map_err(|e| failed(e.to_string()))?;
            // The worker counts it when it gets round to that: its answer may be here before.
            let counted = async {
                while handshakes(node, slot) == before {
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
            };
            timeout(COUNTED, counted).await.map_err(|_| failed("another worker has answered".to_owned()))?;
        }
    }
    Ok(())
}

async fn connect(node: &Node, listener: &Listener, slot: u8, protocols: Vec<Vec<u8>>) -> anyhow::Result<()> {
    let address = reachable(listener.address);
    let needs_certificate = listener.client_certificates.as_ref().is_some_and(|wanted| wanted.required);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Ourselves(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = protocols;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let ids = Arc::clone(node.tables.connection_ids());
    config.initial_dst_cid_provider(Arc::new(move || quinn::ConnectionId::new(ids.issue(slot).as_slice())));
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let endpoint = Endpoint::client((any, 0).into())?;
    let connection = endpoint.connect_with(config, address, "localhost")?.await?;
    // Until the server says that it has confirmed the handshake, it may not know of it.
    while connection.stats().frame_rx.handshake_done == 0 {
        match connection.close_reason() {
            None => tokio::time::sleep(BETWEEN_LOOKS).await,
            Some(ConnectionError::ConnectionClosed(close))
                if needs_certificate && close.error_code == TransportErrorCode::crypto(CERTIFICATE_REQUIRED) =>
            {
                break;
            }
            Some(error) => return Err(error.into()),
        }
    }
    connection.close(VarInt::from_u32(0x100), b"probe");
    endpoint.wait_idle().await;
    Ok(())
}

/// Those of a worker that have ended, one way or the other.
fn handshakes(node: &Node, slot: u8) -> u64 {
    node.with_workers(|workers| {
        let own = workers.iter().filter(|worker| worker.slot() == slot);
        own.map(|worker| worker.stats().totals()).map(|totals| totals.accepted + totals.handshakes_failed).sum()
    })
}

/// Where a listener is reached from this host.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

/// Trusts anybody: who answers is told by the worker's own count.
#[derive(Debug)]
struct Ourselves(Arc<CryptoProvider>);

impl ServerCertVerifier for Ourselves {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The alert of that name (RFC 8446 section 6.2).
const CERTIFICATE_REQUIRED: u8 = 116;

const PATIENCE: Duration = Duration::from_secs(5);
/// Of a worker that has answered, to count it.
const COUNTED: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
