//! What a listener shakes hands with, put together.

use std::sync::Arc;

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
    version::{TLS12, TLS13},
};

use super::{
    authentication::{Authentication, Transport},
    error::TlsError,
    presented::{Presented, certificates_of},
    resumption::{NoTickets, Resumption},
};
use crate::{
    config::{EarlyData, Group, Listener, MinimumTls, Route},
    edge::route,
};

/// What a listener shakes hands with; to be shared by all workers.
pub struct Tls {
    /// TLS 1.3 for QUIC: `h3` and the raw routes' protocols.
    pub quic: Arc<ServerConfig>,
    /// `h2` and `http/1.1` for TCP, if the listener has a TCP port.
    pub tcp: Option<Arc<ServerConfig>>,
    /// What is presented.
    pub certificates: Vec<Presented>,
}

/// TLS for `listener`: certificates by SNI, resumption by `resumption`.
///
/// Reads the files of certificates and authorities, or makes up a certificate.
pub fn tls(listener: &Listener, routes: &[Route], resumption: &Resumption) -> Result<Tls, TlsError> {
    let groups = listener.groups.iter().map(|group| match group {
        Group::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        Group::X25519 => aws_lc_rs::kx_group::X25519,
        Group::P256 => aws_lc_rs::kx_group::SECP256R1,
        Group::P384 => aws_lc_rs::kx_group::SECP384R1,
    });
    let provider = CryptoProvider { kx_groups: groups.collect(), ..aws_lc_rs::default_provider() };
    #[cfg(feature = "interop")]
    let provider = listener.interop.narrow(provider);
    let provider = Arc::new(provider);
    let (by_name, certificates) = certificates_of(listener, &provider)?;
    let by_name = Arc::new(by_name);
    let asked = Authentication::new(listener.client_certificates.as_ref(), &provider)?;
    let server = |versions: &[&'static SupportedProtocolVersion], transport, protocols: Vec<Vec<u8>>| {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(Arc::clone(&asked.verifier))
            .with_cert_resolver(Arc::clone(&by_name) as _);
        config.alpn_protocols = protocols;
        config.ticketer = resumption.tickets.of(&asked, transport);
        // A ticket holds the whole session: nothing is kept that another worker wouldn't have.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        #[cfg(feature = "interop")]
        {
            // Where SSLKEYLOGFILE says, if it does.
            config.key_log = Arc::new(rustls::KeyLogFile::new());
        }
        Ok::<_, TlsError>(config)
    };
    let mut quic = server(&[&TLS13], Transport::Quic, route::offered_protocols(routes, listener.address))?;
    // A client goes on with one connection to a server, and the next gets the next ticket (RFC 8446, appendix C.4).
    quic.send_tls13_tickets = 1;
    if listener.early_data == EarlyData::Safe {
        // rustls takes no 0-RTT on the word of a ticket, which could be used any number of times.
        quic.ticketer = Arc::new(NoTickets);
        quic.session_storage = resumption.sessions(asked.class(Transport::Quic));
        // The only other value that there is (RFC 9001 section 4.6.1).
        quic.max_early_data_size = u32::MAX;
    }
    let versions: &[_] = match listener.minimum_tls {
        MinimumTls::Tls12 => &[&TLS13, &TLS12],
        MinimumTls::Tls13 => &[&TLS13],
    };
    let protocols = || vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tcp = listener.tcp.then(|| server(versions, Transport::Tcp, protocols())).transpose()?;
    Ok(Tls { quic: Arc::new(quic), tcp: tcp.map(Arc::new), certificates })
}
