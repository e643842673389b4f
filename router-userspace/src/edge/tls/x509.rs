//! What certificates say beside the names they are for.

use std::{fmt::Write as _, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderValue;
use rustls_pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

use super::distinguished_name;
use crate::edge::client::Certificate;

/// When a certificate ends, in seconds since 1970; none if it cannot be read.
pub(in crate::edge) fn not_after(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

/// A client's certificate, as servers are told of it.
pub(in crate::edge) fn certificate(certificate: &CertificateDer<'_>) -> Option<Arc<Certificate>> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    let subject = HeaderValue::try_from(distinguished_name::text(parsed.subject())?).ok()?;
    let mut fingerprint = String::with_capacity(64);
    for octet in digest(&SHA256, certificate).as_ref() {
        write!(fingerprint, "{octet:02x}").ok()?;
    }
    Some(Arc::new(Certificate { subject, fingerprint: HeaderValue::try_from(fingerprint).ok()? }))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn made(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        change(&mut params);
        params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").der().clone()
    }

    #[test]
    fn the_end_is_read() {
        let der = made(|params| params.not_after = rcgen::date_time_ymd(2031, 2, 3));
        assert_eq!(not_after(&der), Some(1_927_843_200));
        assert_eq!(not_after(&CertificateDer::from_slice(b"nonsense")), None);
    }

    #[test]
    fn the_subject_is_text_that_a_field_can_hold() {
        let der = made(|params| {
            params.distinguished_name.push(DnType::CommonName, "J\u{fc}rgen\r\nx: y");
            params.distinguished_name.push(DnType::OrganizationName, "Example");
        });
        let told = certificate(&der).expect("a certificate");
        let subject = told.subject.to_str().expect("text");
        assert_eq!(subject, r"O=Example,CN=J\c3\bcrgen\0d\0ax: y");
        assert_eq!(told.fingerprint.len(), 64);
    }
}
