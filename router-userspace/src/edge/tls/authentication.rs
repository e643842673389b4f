//! Which clients a listener admits, and the class that its TLS sessions belong to.
//!
//! A resumed handshake asks for no certificate: what the first handshake of a session has proven is
//! all that is known of the client. So a session is good only where the same would be asked of the
//! client again: its ticket or its place in the session store is bound to the [`Class`], and
//! anywhere else it is unknown, which makes the handshake a full one.

use std::{collections::BTreeSet, fmt, sync::Arc};

use aws_lc_rs::digest::{Context, SHA256, digest};
use rustls::{
    crypto::CryptoProvider,
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::CertificateDer;

use super::{error::TlsError, own_authority::OwnAuthority};
use crate::config::{
    ClientCertificates,
    certificates::{self, Authorities},
};

/// What a listener asks of its clients.
#[derive(Clone)]
pub(in crate::edge) struct Authentication {
    /// Verifies what clients show.
    pub(in crate::edge) verifier: Arc<dyn ClientCertVerifier>,
    demand: [u8; DIGEST_LEN],
}

/// Where a TLS session can be resumed.
///
/// Two listeners share a class if they use the same transport and admit the same clients: both ask
/// for a certificate or both do not, both or neither require it, and both trust the same set of
/// authorities.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) struct Class([u8; DIGEST_LEN]);

/// What carries TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum Transport {
    /// `h2` and `http/1.1`
    Tcp,
    /// `h3` and the protocols of raw routes.
    Quic,
}

impl Authentication {
    /// Reads the file of authorities, if certificates are asked for.
    pub(in crate::edge) fn new(
        wanted: Option<&ClientCertificates>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let Some(wanted) = wanted else { return Ok(Self::nothing()) };
        let Authorities { roots, certificates } = certificates::authorities(&wanted.ca)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let (verifier, kind) = match wanted.required {
            true => (verifier, Demand::Required),
            false => (verifier.allow_unauthenticated(), Demand::Optional),
        };
        let verifier: Arc<dyn ClientCertVerifier> = verifier
            .build()
            .map_err(|e| TlsError::Rustls(rustls::Error::General(format!("{}: {e}", wanted.ca.display()))))?;
        let demand = demand(kind, &certificates);
        Ok(Self { verifier: Arc::new(OwnAuthority::new(verifier, certificates)), demand })
    }

    /// Asks for no certificate.
    pub(in crate::edge) fn nothing() -> Self {
        Self { verifier: Arc::new(NoClientAuth), demand: demand(Demand::Nothing, &[]) }
    }

    /// Of sessions over `transport`.
    pub(in crate::edge) fn class(&self, transport: Transport) -> Class {
        let mut context = Context::new(&SHA256);
        context.update(b"quic-router authentication class");
        context.update(&[match transport {
            Transport::Tcp => 1,
            Transport::Quic => 2,
        }]);
        context.update(&self.demand);
        Class(octets(context.finish()))
    }
}

impl Class {
    /// Of its sessions, those of connections with these limits.
    pub(in crate::edge) fn under(self, limits: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(limits);
        Self(octets(context.finish()))
    }

    /// For the derivation of keys, and to tell sessions apart.
    pub(in crate::edge) fn as_bytes(&self) -> &[u8; DIGEST_LEN] {
        &self.0
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "Class({first:02x}{second:02x}..)")
    }
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy)]
enum Demand {
    Nothing,
    Optional,
    Required,
}

/// Of the *set* of authorities: their order in the file and repetitions change nothing. Each one
/// counts by its whole certificate.
fn demand(demand: Demand, authorities: &[CertificateDer<'_>]) -> [u8; DIGEST_LEN] {
    let mut context = Context::new(&SHA256);
    context.update(&[match demand {
        Demand::Nothing => 0,
        Demand::Optional => 1,
        Demand::Required => 2,
    }]);
    let set: BTreeSet<_> = authorities.iter().map(|certificate| octets(digest(&SHA256, certificate))).collect();
    for authority in set {
        context.update(&authority);
    }
    octets(context.finish())
}

fn octets(digest: aws_lc_rs::digest::Digest) -> [u8; DIGEST_LEN] {
    digest.as_ref().try_into().expect("SHA-256 has 32 octets")
}

/// Octets of SHA-256.
const DIGEST_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_demand_the_set_of_authorities_and_the_transport() {
        let [a, b] = [b"a", b"b"].map(|der| CertificateDer::from_slice(der.as_slice()));
        let both = demand(Demand::Required, &[a.clone(), b.clone()]);
        assert_eq!(both, demand(Demand::Required, &[b.clone(), a.clone(), b.clone()]), "order and repetition");
        let demands = [
            demand(Demand::Nothing, &[]),
            demand(Demand::Optional, std::slice::from_ref(&a)),
            demand(Demand::Required, std::slice::from_ref(&a)),
            demand(Demand::Required, &[b]),
            both,
        ];
        let classes: BTreeSet<_> = demands
            .iter()
            .flat_map(|&demand| {
                let asked = Authentication { verifier: Arc::new(NoClientAuth), demand };
                [Transport::Tcp, Transport::Quic].map(|transport| asked.class(transport).0)
            })
            .collect();
        assert_eq!(classes.len(), 2 * demands.len());
    }
}
