//! The new generation's own question, before anybody else asks: is each of its workers reached on
//! each of its listeners?
//!
//! The client chooses a first connection ID that names the worker, so that the kernel brings it
//! there though the assignment does not know the worker yet. What is checked is the whole way:
//! `select`, the sockets' map, the worker's socket, its endpoint, TLS. The probe has no certificate:
//! where clients must show one, to be refused for that is the right answer.
//!
//! Whether a listener can be reached from its own host is the network's affair (an address that is on
//! another node now, a firewall, a VRF, a loopback that is down). So where no datagram of the probe has come
//! to any worker, that is said, and no reason against the takeover.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use quinn::{ClientConfig, ConnectionError, Endpoint, TransportErrorCode, VarInt, crypto::rustls::QuicClientConfig};
use router_common::{connection_id::ConnectionId, identifiers::SlotId};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::time::timeout;

use super::error::TakeoverError;
use crate::{agent::node::Node, config::Listener, edge::offered_protocols, worker::udp};

/// Connects to every worker on every listener; what could not be reached, one sentence for each listener.
///
/// # Errors
/// Which worker does not serve, and why.
pub(super) async fn probe(node: &Node) -> Result<Vec<String>, TakeoverError> {
    let config = node.serving.config();
    let mut unreached = Vec::new();
    for listener in &config.listeners {
        for slot in node.steering.slots() {
            // All of them have to be done before the running agent loses patience.
            let patience = if unreached.len() < MANY { PATIENCE } else { LITTLE_PATIENCE };
            match probe_one(node, listener, slot, patience).await? {
                Probed::Served => {}
                Probed::NotReached(why) => {
                    let address = listener.address;
                    unreached.push(format!("{address} is not reached from this host, and was not probed: {why}"));
                    // No other worker is there either, and each would take as long.
                    break;
                }
            }
        }
    }
    Ok(unreached)
}

enum Probed {
    Served,
    NotReached(String),
}

async fn probe_one(
    node: &Node,
    listener: &Listener,
    slot: SlotId,
    patience: Duration,
) -> Result<Probed, TakeoverError> {
    let failed = |why: String| TakeoverError::NotServed { slot, listener: listener.address, why };
    let (before, received) = (handshakes(node, slot), datagrams(node));
    let protocols = offered_protocols(&node.serving.config().routes, listener.address);
    let cid = node.steering.tables().connection_ids().issue(slot);
    let _expected = node.steering.tables().expect_probe(cid);
    let mut connecting = pin!(connect(listener, cid, protocols));
    let (mut within, mut served) = (patience, timeout(patience, &mut connecting).await);
    // It is reached, and the host is busy.
    if served.is_err() && datagrams(node) > received {
        within += MORE_PATIENCE;
        served = timeout(MORE_PATIENCE, connecting).await;
    }
    let served = match served {
        Ok(served) => served.map_err(|e| e.to_string()),
        Err(_) => Err(format!("no answer within {within:?}")),
    };
    if let Err(e) = served {
        let nothing_came = datagrams(node) == received;
        return if nothing_came { Ok(Probed::NotReached(e)) } else { Err(failed(e)) };
    }
    // The worker counts it some time after it has answered.
    let counted = async {
        while handshakes(node, slot) == before {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    match timeout(COUNTED, counted).await {
        Ok(()) => Ok(Probed::Served),
        Err(_) if datagrams(node) == received && !is_here(listener.address.ip()) => {
            Ok(Probed::NotReached("the address is on another host now, which has answered".to_owned()))
        }
        Err(_) => Err(failed("another worker has answered".to_owned())),
    }
}

async fn connect(listener: &Listener, cid: ConnectionId, protocols: Vec<Vec<u8>>) -> anyhow::Result<()> {
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
    config.initial_dst_cid_provider(Arc::new(move || quinn::ConnectionId::new(cid.as_slice())));
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
fn handshakes(node: &Node, slot: SlotId) -> u64 {
    node.roster.read(|workers| {
        let own = workers.iter().filter(|worker| worker.slot() == slot);
        own.map(|worker| worker.stats().totals()).map(|totals| totals.accepted + totals.handshakes_failed).sum()
    })
}

/// What all workers of this generation have received.
fn datagrams(node: &Node) -> u64 {
    node.roster.read(|workers| {
        let totals = workers.iter().map(|worker| worker.stats().totals());
        totals.map(|totals| totals.datagrams_received + totals.taken_over).sum()
    })
}

/// Whether an address is one of this host's.
fn is_here(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback() || udp::is_local(address).unwrap_or(true)
}

/// Where a listener is reached from this host. A link-local address keeps the index of its interface.
fn reachable(mut listener: SocketAddr) -> SocketAddr {
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => listener.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => listener.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    listener
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

const PATIENCE: Duration = Duration::from_secs(3);
/// Where datagrams have come to a worker that has not answered yet.
const MORE_PATIENCE: Duration = Duration::from_secs(9);
/// Where so many listeners have not been reached, for each of the others.
const LITTLE_PATIENCE: Duration = Duration::from_millis(250);
const MANY: usize = 5;
/// Of a worker that has answered, to count it.
const COUNTED: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
