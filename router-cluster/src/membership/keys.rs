//! The secrets that nodes share. Never printed, and overwritten when they are dropped.

use std::fmt;

use zeroize::Zeroizing;

/// What the keys of all nodes are derived from: 32 octets, in place of a single node's master secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Master(Zeroizing<[u8; 32]>);

impl Master {
    /// The secret itself.
    pub fn octets(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Master {
    fn from(octets: [u8; 32]) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Master")
    }
}

/// The secrets of one configuration of connection IDs: the AES key, and the salt that its other keys are derived with.
#[derive(Clone, PartialEq, Eq)]
pub struct CidSecrets(Zeroizing<[u8; 36]>);

impl CidSecrets {
    /// The AES-128 key.
    pub fn key(&self) -> &[u8; 16] {
        self.0.first_chunk().expect("36 octets begin with 16")
    }

    /// What names the configuration where keys are derived for it, the stateless reset key for one. Nonces of one node
    /// must not begin with it: all nodes have the same.
    pub fn salt(&self) -> &[u8; 20] {
        self.0.last_chunk().expect("36 octets end with 20")
    }

    /// Both, the key first.
    pub fn octets(&self) -> &[u8; 36] {
        &self.0
    }
}

impl From<[u8; 36]> for CidSecrets {
    fn from(octets: [u8; 36]) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl fmt::Debug for CidSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CidSecrets")
    }
}
