//! Every key of a node, derived from one master secret, so that any worker of any run
//! honours what another one issued.

use std::{fmt, sync::Arc};

use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use super::validation_key::{KernelTokenKeys, ValidationKey};
use crate::address::tokens::UsedTokens;

/// The keys derived from a master secret by HKDF-SHA256, one label each.
pub(super) struct Secrets {
    master: hkdf::Prk,
    used_tokens: Arc<UsedTokens>,
}

impl Secrets {
    pub(super) fn new(master: &[u8; 32]) -> Self {
        let master = hkdf::Salt::new(hkdf::HKDF_SHA256, b"quic-router master secret 1").extract(master);
        Self { master, used_tokens: Arc::default() }
    }

    /// Signs stateless reset tokens (RFC 9000 section 10.3.2) of the connection IDs of one
    /// configuration, which `salt` names.
    pub(super) fn reset_key(&self, salt: &[u8]) -> Arc<hmac::Key> {
        Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &*self.derive_for(b"stateless reset", salt)))
    }

    /// Masks the slot in connection IDs of one configuration, where it travels in clear.
    pub(super) fn slot_mask(&self, salt: &[u8]) -> [u64; 2] {
        words(&self.derive_for(b"slot mask", salt))
    }

    /// Seals Retry and NEW_TOKEN tokens (RFC 9000 section 8.1), and knows those that a kernel program issued.
    pub(super) fn token_key(&self) -> Arc<ValidationKey> {
        let sealing = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &*self.derive(b"address validation tokens"));
        Arc::new(ValidationKey::new(sealing, self.kernel_token_keys()))
    }

    /// Vouch for the tokens of Retries that a kernel program sends.
    pub(super) fn kernel_token_keys(&self) -> KernelTokenKeys {
        KernelTokenKeys::new(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &*self.derive(b"kernel tokens")))
    }

    /// The NEW_TOKEN tokens that were used in this run.
    pub(super) fn used_tokens(&self) -> Arc<UsedTokens> {
        Arc::clone(&self.used_tokens)
    }

    /// Seals session tickets.
    pub(super) fn ticket_secret(&self) -> Zeroizing<[u8; 32]> {
        self.derive(b"session tickets")
    }

    /// Seeds the hash that places new connections.
    pub(super) fn hash_seed(&self) -> [u64; 2] {
        words(&self.derive(b"assignment hash"))
    }

    /// Vouches for packets that nodes of a cluster forward to each other, in one epoch.
    pub(super) fn tunnel_key(&self, epoch: u32) -> [u64; 2] {
        words(&self.derive_for(b"tunnel", &epoch.to_be_bytes()))
    }

    fn derive(&self, label: &[u8]) -> Zeroizing<[u8; 32]> {
        self.derive_for(label, &[])
    }

    fn derive_for(&self, label: &[u8], salt: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        self.master
            .expand(&[label, salt], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut *key))
            .expect("HKDF-SHA256 gives 32 octets for any label");
        key
    }
}

fn words(key: &[u8; 32]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *key;
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p])]
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_its_own_key() {
        let secrets = Secrets::new(&[7; 32]);
        let labels: [&[u8]; 7] = [
            b"stateless reset",
            b"slot mask",
            b"address validation tokens",
            b"kernel tokens",
            b"session tickets",
            b"assignment hash",
            b"tunnel",
        ];
        let salts: [&[u8]; 3] = [b"", b"one", b"other"];
        let keys: std::collections::HashSet<_> =
            labels.iter().flat_map(|label| salts.map(|salt| *secrets.derive_for(label, salt))).collect();
        assert_eq!(keys.len(), labels.len() * salts.len());
        assert_eq!(secrets.ticket_secret(), Secrets::new(&[7; 32]).ticket_secret());
        assert_ne!(secrets.ticket_secret(), Secrets::new(&[8; 32]).ticket_secret());
    }
}
