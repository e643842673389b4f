//! TLS towards servers: the authorities trusted, the certificate shown, the protocols offered.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::aws_lc_rs,
    sign::SingleCertAndKey,
};
use rustls_pki_types::ServerName;
use tracing::debug;

use crate::{
    config::{
        UpstreamTls,
        certificates::{self, Authorities, CertificateError},
    },
    edge::tls::own_authority::OwnAuthority,
};

/// Why the servers of an upstream cannot be spoken to. Names the upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// A file cannot be used.
    #[error("upstream {upstream}: {source}")]
    Certificate {
        /// The upstream's name.
        upstream: String,
        /// The file, and what is wrong with it.
        source: CertificateError,
    },
    /// There is no authority to trust.
    #[error("upstream {upstream}: the system's authorities cannot be read ({why}): name a file with tls.ca")]
    NoAuthorities {
        /// The upstream's name.
        upstream: String,
        /// What the search met first.
        why: String,
    },
    /// A name that no certificate could have.
    #[error("upstream {upstream}: \"{name}\" is no name for a certificate: give one with tls.name")]
    Name {
        /// The upstream's name.
        upstream: String,
        /// What was to be in the certificate.
        name: String,
    },
    /// The TLS library refuses.
    #[error("upstream {upstream}: TLS cannot be set up: {source}")]
    Tls {
        /// The upstream's name.
        upstream: String,
        /// The library's reason.
        source: rustls::Error,
    },
}

/// ALPN of HTTP/2 (RFC 9113 section 3.1).
pub(super) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The system's authorities, read when the first upstream needs them.
#[derive(Default)]
pub(super) struct SystemRoots(Option<Arc<RootCertStore>>);

/// TLS 1.3 or 1.2 as `tls` says, HTTP/2 and HTTP/1.1 offered. Reads files.
pub(super) fn client(
    upstream: &str,
    tls: &UpstreamTls,
    system: &mut SystemRoots,
) -> Result<Arc<ClientConfig>, UpstreamError> {
    let unusable = |source| UpstreamError::Certificate { upstream: upstream.to_owned(), source };
    let refused = |source| UpstreamError::Tls { upstream: upstream.to_owned(), source };
    let (roots, certificates) = match &tls.ca {
        Some(file) => {
            let Authorities { roots, certificates } = certificates::authorities(file).map_err(unusable)?;
            (Arc::new(roots), certificates)
        }
        None => (system.get(upstream)?, Vec::new()),
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|e| refused(rustls::Error::General(e.to_string())))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OwnAuthority::new(verifier, certificates)));
    let mut config = match &tls.certificate {
        Some(files) => {
            let certified = certificates::load(files).map_err(unusable)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(Arc::new(config))
}

/// The name that a server's certificate must have.
pub(super) fn server_name(upstream: &str, tls: &UpstreamTls, host: &str) -> Result<ServerName<'static>, UpstreamError> {
    let name = tls.name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_owned())
        .map_err(|_invalid| UpstreamError::Name { upstream: upstream.to_owned(), name: name.to_owned() })
}

impl SystemRoots {
    fn get(&mut self, upstream: &str) -> Result<Arc<RootCertStore>, UpstreamError> {
        if let Some(roots) = &self.0 {
            return Ok(roots.clone());
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, unusable) = roots.add_parsable_certificates(found.certs);
        debug!(usable, unusable, "the system's authorities");
        if roots.is_empty() {
            let why = found.errors.first().map_or("it has none".to_owned(), ToString::to_string);
            return Err(UpstreamError::NoAuthorities { upstream: upstream.to_owned(), why });
        }
        Ok(self.0.insert(Arc::new(roots)).clone())
    }
}
