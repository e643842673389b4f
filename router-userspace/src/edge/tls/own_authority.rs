//! Authorities that show their own certificate: a self-signed one, in the file of those to trust.
//!
//! webpki refuses a certificate of an authority (`CA:TRUE`, which `openssl req -x509` makes) as that of
//! a client or server. The holder of its key can sign any other certificate, so accepting this one adds
//! no risk: it is trusted as itself, octet for octet, while it is valid and, for a server, if it has the
//! server's name.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::parse_x509_certificate;

/// Verifies like `verifier`, and accepts `certificates`, which are of authorities, as themselves.
#[derive(Debug)]
pub(in crate::edge) struct OwnAuthority<V: ?Sized> {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<V>,
}

impl<V: ?Sized> OwnAuthority<V> {
    pub(in crate::edge) fn new(verifier: Arc<V>, certificates: Vec<CertificateDer<'static>>) -> Self {
        Self { certificates, verifier }
    }

    /// Whether it is one of the authorities' own; an error if it is, but not at this time.
    fn is_own(&self, shown: &CertificateDer<'_>, now: UnixTime) -> Result<bool, CertificateError> {
        if !self.certificates.iter().any(|own| own == shown) {
            return Ok(false);
        }
        let (_, certificate) = parse_x509_certificate(shown).map_err(|_| CertificateError::BadEncoding)?;
        if !certificate.is_ca() {
            return Ok(false);
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < certificate.validity().not_before.timestamp() {
            return Err(CertificateError::NotValidYet);
        }
        if now > certificate.validity().not_after.timestamp() {
            return Err(CertificateError::Expired);
        }
        Ok(true)
    }
}

impl ClientCertVerifier for OwnAuthority<dyn ClientCertVerifier> {
    fn offer_client_auth(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.verifier.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.is_own(shown, now)? {
            true => Ok(ClientCertVerified::assertion()),
            false => self.verifier.verify_client_cert(shown, issuers, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, shown, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl ServerCertVerifier for OwnAuthority<dyn ServerCertVerifier> {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.is_own(shown, now)? {
            return self.verifier.verify_server_cert(shown, issuers, name, stapled, now);
        }
        let certificate = webpki::EndEntityCert::try_from(shown).map_err(|_| CertificateError::BadEncoding)?;
        match certificate.verify_is_valid_for_subject_name(name) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(_) => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, shown, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
