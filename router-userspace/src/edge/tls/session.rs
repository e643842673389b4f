//! What a TLS session, as rustls writes it down, says of the client: the certificates it has shown.
//!
//! rustls has no way to ask, so this reads its encoding. A session that cannot be read counts as
//! none: after a change of the encoding clients of listeners with `client_certificates` shake hands
//! in full each time, and a test fails.

use rustls_pki_types::CertificateDer;

/// The chain of a session, the client's own certificate first; empty: it has shown none. `None`: it
/// cannot be read.
///
/// server name (optional), version, cipher suite, secret, extended master secret, chain (optional)
pub(in crate::edge) fn client_chain(session: &[u8]) -> Option<Vec<CertificateDer<'_>>> {
    let mut rest = Octets(session);
    if rest.flag()? {
        rest.vector(1)?;
    }
    rest.take(4)?;
    rest.vector(1)?;
    rest.flag()?;
    let mut chain = Vec::new();
    if rest.flag()? {
        let mut certificates = Octets(rest.vector(3)?);
        while !certificates.0.is_empty() {
            chain.push(CertificateDer::from_slice(certificates.vector(3)?));
        }
        // The flag says that there is one.
        chain.first()?;
    }
    Some(chain)
}

/// What is left to read.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    /// A vector whose length takes that many octets (RFC 8446 section 3.4).
    fn vector(&mut self, length_octets: usize) -> Option<&'a [u8]> {
        let length = self.take(length_octets)?.iter().fold(0, |length, &octet| length << 8 | usize::from(octet));
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Server name, version, suite, secret, extended master secret.
    const HEAD: [u8; 12] = [1, 2, b'a', b'b', 3, 4, 0x13, 1, 2, 7, 7, 0];

    #[test]
    fn the_chain_is_read_whole_or_not_at_all() {
        let without = [&HEAD[..], &[0, 9, 9]].concat();
        assert_eq!(client_chain(&without), Some(Vec::new()));
        let with = [&HEAD[..], &[1, 0, 0, 9, 0, 0, 2, 5, 6, 0, 0, 1, 8]].concat();
        let [leaf, issuer] = [&[5, 6][..], &[8]].map(CertificateDer::from_slice);
        assert_eq!(client_chain(&with), Some(vec![leaf, issuer]));
        for length in 0..with.len() {
            assert_eq!(client_chain(&with[..length]), None, "{length} octets");
        }
        assert_eq!(client_chain(&[&HEAD[..], &[1, 0, 0, 0]].concat()), None, "a chain of none");
        assert_eq!(client_chain(&[&HEAD[..], &[2]].concat()), None, "no flag");
    }
}
