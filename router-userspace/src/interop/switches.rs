//! What a case asks of a listener that no configuration file can say, and the TLS that follows from it.

use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use rustls::crypto::{
    CryptoProvider,
    aws_lc_rs::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256},
};

/// What a case asks of a listener that no configuration file can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// TLS_CHACHA20_POLY1305_SHA256 and no other cipher suite.
    pub chacha20: bool,
    /// Every client is sent a Retry.
    pub retry: bool,
}

impl Switches {
    /// Leaves the cipher suites that the case wants.
    pub(crate) fn narrow(self, mut provider: CryptoProvider) -> CryptoProvider {
        if self.chacha20 {
            provider.cipher_suites = vec![TLS13_CHACHA20_POLY1305_SHA256];
        }
        provider
    }
}

/// The TLS of QUIC where not every cipher suite is offered: Initial packets are protected by
/// AES-128-GCM all the same (RFC 9001 section 5.2).
pub(crate) fn quic(tls: Arc<rustls::ServerConfig>) -> Result<QuicServerConfig, NoInitialCipherSuite> {
    match TLS13_AES_128_GCM_SHA256.tls13().and_then(|suite| suite.quic_suite()) {
        Some(initial) => QuicServerConfig::with_initial(tls, initial),
        None => QuicServerConfig::try_from(tls),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, crypto::aws_lc_rs};

    use super::*;

    #[test]
    fn one_cipher_suite_is_left_where_a_case_wants_one() {
        let suites = |chacha20| {
            let narrowed = Switches { chacha20, retry: false }.narrow(aws_lc_rs::default_provider());
            narrowed.cipher_suites.iter().map(|suite| suite.suite()).collect::<Vec<_>>()
        };
        assert_eq!(suites(true), [CipherSuite::TLS13_CHACHA20_POLY1305_SHA256]);
        assert!(suites(false).contains(&CipherSuite::TLS13_AES_128_GCM_SHA256));
    }
}
