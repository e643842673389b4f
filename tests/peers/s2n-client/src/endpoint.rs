//! TLS, and s2n-quic's endpoint, which has a UDP socket of its own.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, SupportedCipherSuite,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{self, WebPkiSupportedAlgorithms, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use s2n_quic::{
    Client,
    provider::{limits::Limits, tls},
};

/// What the connections of a run offer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offer<'o> {
    pub(crate) alpn: &'o str,
    /// Verify the server with the certificates of this file; otherwise any is taken.
    pub(crate) ca: Option<&'o Path>,
    /// The only cipher suite; otherwise those that s2n-quic offers.
    pub(crate) cipher_suite: Option<SupportedCipherSuite>,
    /// Begin with a post-quantum key share.
    pub(crate) is_hybrid: bool,
}

/// TLS of all connections of a run.
#[derive(Clone, Debug)]
pub(crate) struct Tls(ClientConfig);

impl Tls {
    pub(crate) fn new(offer: Offer<'_>) -> Result<Self> {
        let mut provider = aws_lc_rs::default_provider();
        // As s2n-quic has them if it makes its configuration by itself.
        let suites = [
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        provider.cipher_suites = offer.cipher_suite.map_or_else(|| suites.into(), |only| vec![only]);
        if offer.is_hybrid {
            provider.kx_groups.retain(|group| group.name() != aws_lc_rs::kx_group::X25519MLKEM768.name());
            provider.kx_groups.insert(0, aws_lc_rs::kx_group::X25519MLKEM768);
        }
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = match offer.ca {
            Some(file) => builder.with_root_certificates(roots(file)?).with_no_client_auth(),
            None => {
                let any = Arc::new(Any(provider.signature_verification_algorithms));
                builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![offer.alpn.into()];
        Ok(Self(config))
    }

    /// An endpoint on a socket of its own for connections to `server`.
    pub(crate) fn endpoint(&self, server: SocketAddr, limits: Limits) -> Result<Client> {
        let local = match server {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let tls = tls::rustls::Client::from(self.0.clone());
        let builder = Client::builder().with_tls(tls)?.with_limits(limits)?.with_io(local)?;
        builder.start().with_context(|| format!("no endpoint on {local}"))
    }
}

/// A handshake may take so long.
pub(crate) fn limits(patience: Duration) -> Result<Limits> {
    Limits::new().with_max_handshake_duration(patience).map_err(|error| anyhow!("{error}"))
}

fn roots(file: &Path) -> Result<RootCertStore> {
    let unreadable = || format!("cannot read certificates from {}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
        roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
    }
    Ok(roots)
}

/// Takes any certificate, but only from who has its key.
#[derive(Debug)]
struct Any(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 over QUIC".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
