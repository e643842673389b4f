//! TLS of a listener: which certificate for which name, which protocols, and whose tickets.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::route;
use crate::config::{
    Certificates, Listener, Route,
    certificates::{self, CertificateError},
};

/// Why a listener has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Names the file.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Of a certificate that was read well, but isn't one.
    #[error("{file} is not a certificate that names can be read from: {source}")]
    Names {
        /// The certificate's file.
        file: String,
        /// What the parser says.
        source: webpki::Error,
    },
    /// No certificate could be made up.
    #[error("a self-signed certificate could not be made: {0}")]
    SelfSigned(#[from] rcgen::Error),
    /// The TLS library refuses.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// TLS for `listener`, to be shared by all workers: TLS 1.3 only, certificates by SNI, `h3` and
/// the raw routes' protocols, resumption by `tickets`, no 0-RTT.
///
/// Reads the certificates' files, or makes up a certificate.
pub fn tls(
    listener: &Listener,
    routes: &[Route],
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificates = match &listener.certificates {
        Certificates::Files(files) => {
            let mut by_name = ByName::default();
            for files in files {
                let certified = Arc::new(certificates::load(files)?);
                let file = || files.cert.display().to_string();
                by_name.add(certified).map_err(|source| TlsError::Names { file: file(), source })?;
            }
            by_name
        }
        Certificates::SelfSigned => {
            ByName { all: vec![Arc::new(self_signed(listener, &provider)?)], ..ByName::default() }
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = route::offered_protocols(routes);
    config.ticketer = tickets;
    // A ticket holds the whole session: nothing is kept that another worker wouldn't have.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// For the listener's address and `localhost`.
fn self_signed(listener: &Listener, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let names = [listener.address.ip().to_string(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let key = provider.key_provider.load_private_key(key.into())?;
    Ok(CertifiedKey::new(vec![made.cert.der().clone()], key))
}

/// Certificates by the names in them (RFC 6125 section 6.4.3: a wildcard stands for one label).
#[derive(Debug, Default)]
struct ByName {
    /// In the order of the configuration: the first is for clients without a known name.
    all: Vec<Arc<CertifiedKey>>,
    /// By name in lower case, in the same order.
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    fn add(&mut self, certified: Arc<CertifiedKey>) -> Result<(), webpki::Error> {
        let names = match certified.cert.first() {
            Some(leaf) => {
                webpki::EndEntityCert::try_from(leaf)?.valid_dns_names().map(str::to_ascii_lowercase).collect()
            }
            None => Vec::new(),
        };
        for name in names {
            let same_name = match name.strip_prefix("*.") {
                Some(parent) => self.wildcard.entry(parent.to_owned()).or_default(),
                None => self.exact.entry(name).or_default(),
            };
            same_name.push(certified.clone());
        }
        self.all.push(certified);
        Ok(())
    }

    /// `name` in lower case.
    fn of(&self, name: &str) -> Option<&Vec<Arc<CertifiedKey>>> {
        self.exact.get(name).or_else(|| self.wildcard.get(name.split_once('.')?.1))
    }
}

impl ResolvesServerCert for ByName {
    /// Among those of a name, one whose key the client can verify: a site may have an ECDSA and an
    /// RSA certificate. rustls gives the name in lower case.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = hello.server_name().and_then(|name| self.of(name)).unwrap_or(&self.all);
        let schemes = hello.signature_schemes();
        let usable = candidates.iter().find(|certified| certified.key.choose_scheme(schemes).is_some());
        usable.or(candidates.first()).cloned()
    }
}
