//! TLS of a listener: which certificate for which name, which protocols, and whose tickets.

mod authentication;
pub(super) mod certificate_names;
mod distinguished_name;
pub(super) mod own_authority;
mod session;
pub mod tickets;
pub(super) mod x509;

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache,
        StoresServerSessions,
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use self::{
    authentication::{Authentication, Class, Transport},
    certificate_names::Named,
    tickets::Tickets,
};
use super::route;
use crate::config::{
    Certificates, EarlyData, Group, Listener, MinimumTls, Route,
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

/// How sessions are taken up again: the same over reloads, for all listeners, of which each knows
/// the sessions of its own class alone.
#[derive(Clone)]
pub struct Resumption {
    /// Of listeners without 0-RTT.
    tickets: Arc<Tickets>,
    /// Of listeners with it: each session is good for one connection, so that what came in 0-RTT
    /// cannot be replayed here (RFC 8446 section 8.1).
    sessions: Arc<dyn StoresServerSessions>,
    /// What clients remember of a connection when they send 0-RTT on the next.
    limits: Arc<[u8]>,
}

/// Sessions kept for 0-RTT, the node over; the oldest go first.
const SESSIONS_MAX: usize = 32 * 1024;

impl Resumption {
    /// By `tickets`, and with no sessions yet.
    pub fn new(tickets: Arc<Tickets>) -> Self {
        Self { tickets, sessions: ServerSessionMemoryCache::new(SESSIONS_MAX), limits: Arc::default() }
    }

    /// The same where clients are given these limits. With a session they remember those of its
    /// connection, and send 0-RTT by them; so 0-RTT is taken only under the same ones (RFC 9000
    /// section 7.4.1, RFC 9114 section 7.2.4.2).
    pub fn under(&self, limits: &[u8]) -> Self {
        Self { limits: limits.into(), ..self.clone() }
    }

    fn sessions(&self, class: Class) -> Arc<dyn StoresServerSessions> {
        Arc::new(ClassSessions { class: class.under(&self.limits), all: Arc::clone(&self.sessions) })
    }
}

/// The sessions of one class, under the same limits, among all that are kept.
#[derive(Debug)]
struct ClassSessions {
    class: Class,
    all: Arc<dyn StoresServerSessions>,
}

impl ClassSessions {
    fn name(&self, key: &[u8]) -> Vec<u8> {
        [self.class.as_bytes().as_slice(), key].concat()
    }
}

impl StoresServerSessions for ClassSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.all.put(self.name(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.all.get(&self.name(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.all.take(&self.name(key))
    }

    fn can_cache(&self) -> bool {
        self.all.can_cache()
    }
}

/// What a listener shakes hands with; to be shared by all workers.
pub struct Tls {
    /// TLS 1.3 for QUIC: `h3` and the raw routes' protocols.
    pub quic: Arc<ServerConfig>,
    /// `h2` and `http/1.1` for TCP, if the listener has a TCP port.
    pub tcp: Option<Arc<ServerConfig>>,
    /// What is presented.
    pub certificates: Vec<Presented>,
}

/// A certificate that a listener presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The chain's file; none: it was made in memory.
    pub file: Option<PathBuf>,
    /// The names it is for.
    pub names: Vec<String>,
    /// Until when, in seconds since 1970; none if it cannot be read.
    pub not_after: Option<i64>,
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

/// No session is sealed into a ticket.
#[derive(Debug)]
struct NoTickets;

impl ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

fn certificates_of(listener: &Listener, provider: &CryptoProvider) -> Result<(ByName, Vec<Presented>), TlsError> {
    let mut by_name = ByName::default();
    let mut presented = Vec::new();
    match &listener.certificates {
        Certificates::Files(files) => {
            for files in files {
                let certified = Arc::new(certificates::load(files)?);
                let file = || files.cert.display().to_string();
                let names =
                    by_name.add(certified.clone()).map_err(|source| TlsError::Names { file: file(), source })?;
                presented.push(presented_by(&certified, Some(files.cert.clone()), names));
            }
        }
        Certificates::SelfSigned => {
            let certified = Arc::new(self_signed(listener, provider)?);
            presented.push(presented_by(&certified, None, vec!["localhost".to_owned()]));
            by_name.all.push(certified);
        }
    }
    Ok((by_name, presented))
}

fn presented_by(certified: &CertifiedKey, file: Option<PathBuf>, names: Vec<String>) -> Presented {
    Presented { file, names, not_after: certified.cert.first().and_then(x509::not_after) }
}

/// For the listener's address and `localhost`.
fn self_signed(listener: &Listener, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let names = [listener.address.ip().to_string(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let key = provider.key_provider.load_private_key(key.into())?;
    Ok(CertifiedKey::new(vec![made.cert.der().clone()], key))
}

/// Certificates by the names in them.
#[derive(Debug, Default)]
struct ByName {
    /// In the order of the configuration: the first is for clients without a known name.
    all: Vec<Arc<CertifiedKey>>,
    named: Named<Arc<CertifiedKey>>,
}

impl ByName {
    /// Gives the names it is for.
    fn add(&mut self, certified: Arc<CertifiedKey>) -> Result<Vec<String>, webpki::Error> {
        let names = certified.cert.first().map(certificate_names::of).transpose()?.unwrap_or_default();
        self.named.add(&names, &certified);
        self.all.push(certified);
        Ok(names)
    }
}

impl ResolvesServerCert for ByName {
    /// Among those of a name, one whose key the client can verify: a site may have an ECDSA and an
    /// RSA certificate. rustls gives the name in lower case.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = hello.server_name().and_then(|name| self.named.of(name)).unwrap_or(&self.all);
        let schemes = hello.signature_schemes();
        let usable = candidates.iter().find(|certified| certified.key.choose_scheme(schemes).is_some());
        usable.or(candidates.first()).cloned()
    }
}
