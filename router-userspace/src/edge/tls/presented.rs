//! The certificates that a listener presents, and which of them a client gets.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::{
    certificate_names::{self, Named},
    error::TlsError,
    x509,
};
use crate::config::{Certificates, Listener, certificates};

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

/// The certificates of `listener`, found by name, and what is to be said of each.
///
/// Reads their files, or makes one up.
pub(super) fn certificates_of(
    listener: &Listener,
    provider: &CryptoProvider,
) -> Result<(ByName, Vec<Presented>), TlsError> {
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
pub(super) struct ByName {
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
