//! Connection IDs, and what makes ours say where they belong: QUIC-LB
//! (draft-ietf-quic-load-balancers-21).
//!
//! [`codec`] writes and reads server ID and nonce, in clear and encrypted; [`CidConfig`] is
//! one configuration of it, and knows where the slot stands.

pub mod codec;
mod config;

pub use self::config::{CidConfig, CidKeys, Encoding, Identity, Keys, Nonce, Opened, Owner};
use crate::{bytes::Octets, identifiers::ConfigRotation};

/// The longest connection ID of QUIC versions 1 and 2, in octets (RFC 9000 section 17.2).
pub const MAX_LENGTH: usize = 20;

/// Configurations that can be told apart by the top three bits of the first octet: rotations
/// 0 to 6.
pub const ROTATIONS: u8 = 7;

/// The rotation that says "issued without a configuration".
pub const UNROUTABLE: ConfigRotation = ConfigRotation::new(7);

/// A connection ID of 0 to 20 octets; the rest of the array is zero.
///
/// Its layout is that of the flow table's key, so the kernel needs no second copy.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId {
    bytes: [u8; MAX_LENGTH],
    len: u32,
}

const _: () = assert!(size_of::<ConnectionId>() == 24);

impl ConnectionId {
    /// Copies `bytes`; `None` if there are more than 20.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut padded = [0; MAX_LENGTH];
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { len: bytes.len() as u32, bytes: padded })
    }

    /// The first `len` octets of `bytes` (all 20 if `len` is more); the others are cleared.
    #[inline(always)]
    pub fn from_first(len: usize, Octets(bytes): Octets<MAX_LENGTH>) -> Self {
        let len = if len > MAX_LENGTH { MAX_LENGTH } else { len };
        Self { len: len as u32, bytes: keep_first(len, bytes) }
    }

    /// Octets in it.
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "nothing here asks whether a connection ID is empty")]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Its octets, followed by zeros.
    #[inline(always)]
    pub fn padded(&self) -> &[u8; MAX_LENGTH] {
        &self.bytes
    }

    /// Its octets.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or(&self.bytes)
    }

    /// Its padded octets as little-endian words; the upper half of the last one is zero.
    #[inline(always)]
    pub(crate) fn words(&self) -> [u64; 3] {
        let b = &self.bytes;
        [
            u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            u64::from_le_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]),
            u64::from(u32::from_le_bytes([b[16], b[17], b[18], b[19]])),
        ]
    }

    /// The configuration it claims to follow: 0 to 6, or [`UNROUTABLE`].
    #[inline(always)]
    pub fn rotation(&self) -> ConfigRotation {
        let [word, ..] = self.words();
        ConfigRotation::new(word as u8 >> 5)
    }

    /// Low five bits of its first octet: the self-described length of the rest.
    pub fn length_bits(&self) -> u8 {
        self.bytes[0] & 0x1f
    }
}

/// Clears what follows the first `len` octets, a word at a time.
#[inline(always)]
fn keep_first(len: usize, b: [u8; MAX_LENGTH]) -> [u8; MAX_LENGTH] {
    let first = u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) & mask(len);
    let second =
        u64::from_le_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]) & mask(len.saturating_sub(8));
    let last = u32::from_le_bytes([b[16], b[17], b[18], b[19]]) & mask(len.saturating_sub(16)) as u32;
    let mut kept = [0; MAX_LENGTH];
    let (words, rest) = kept.as_chunks_mut::<8>();
    words[0] = first.to_le_bytes();
    words[1] = second.to_le_bytes();
    rest.copy_from_slice(&last.to_le_bytes());
    kept
}

/// Ones for the first `len` octets of a little-endian word.
#[inline(always)]
fn mask(len: usize) -> u64 {
    if len >= 8 { u64::MAX } else { (1 << (len * 8)) - 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn clears_exactly_the_rest(len in 0..=25_usize, bytes: [u8; 20]) {
            let cid = ConnectionId::from_first(len, Octets(bytes));
            let len = len.min(20);
            prop_assert_eq!(cid.as_slice(), &bytes[..len]);
            prop_assert!(cid.padded()[len..].iter().all(|&octet| octet == 0));
            prop_assert_eq!(ConnectionId::new(&bytes[..len]), Some(cid));
        }
    }
}
