//! Connection IDs, and the QUIC-LB codec that makes ours say where they belong
//! (draft-ietf-quic-load-balancers-21).
//!
//! ```text
//! first octet          server ID                  nonce
//! rotation, length     node (2 octets), slot (1)  at least 4 octets
//! ```
//!
//! The server ID of this router is always a node and a slot on it. The codec writes it in
//! clear (section 5.2 of the draft).

use crate::bytes::Octets;

/// The longest connection ID of QUIC versions 1 and 2, in octets (RFC 9000 section 17.2).
pub const MAX_LENGTH: usize = 20;

/// Octets of our server IDs: a node and a slot.
pub const SERVER_ID_LENGTH: usize = 3;

/// The fewest octets a nonce may have (QUIC-LB section 3.1).
pub const MIN_NONCE_LENGTH: usize = 4;

/// The rotation that says "issued without a configuration" (QUIC-LB section 3.1).
pub const UNROUTABLE: u8 = 7;

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
    pub fn rotation(&self) -> u8 {
        let [word, ..] = self.words();
        word as u8 >> 5
    }

    /// Low five bits of its first octet: the self-described length of the rest.
    pub fn length_bits(&self) -> u8 {
        self.bytes[0] & 0x1f
    }
}

/// Where a connection ID belongs: our server ID, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The host.
    pub node: u16,
    /// The worker's place on it.
    pub slot: u8,
}

/// The shape of one configuration's connection IDs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    rotation: u8,
    length: u8,
}

impl Layout {
    /// A layout of `length` octets in all under `rotation`.
    ///
    /// `None` unless the rotation is 0 to 6 and the length leaves room for a server ID and
    /// a nonce (8 to 20 octets).
    pub fn new(rotation: u8, length: u8) -> Option<Self> {
        let shortest = 1 + SERVER_ID_LENGTH + MIN_NONCE_LENGTH;
        (rotation < UNROUTABLE && (shortest..=MAX_LENGTH).contains(&usize::from(length)))
            .then_some(Self { rotation, length })
    }

    /// The rotation its connection IDs carry, 0 to 6.
    pub fn rotation(self) -> u8 {
        self.rotation
    }

    /// Octets of a whole connection ID.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Octets of the nonce.
    pub fn nonce_length(self) -> usize {
        usize::from(self.length) - 1 - SERVER_ID_LENGTH
    }

    /// The connection ID of `owner` with a nonce taken from the front of `nonce`.
    ///
    /// In clear the nonce has to be random: it is all that keeps one connection's IDs from
    /// being linked with each other (QUIC-LB section 5.2).
    pub fn encode(self, owner: Owner, nonce: [u8; MAX_LENGTH]) -> ConnectionId {
        let [node_high, node_low] = owner.node.to_be_bytes();
        let mut bytes = [0; MAX_LENGTH];
        bytes[0] = self.rotation << 5 | (self.length - 1);
        bytes[1..4].copy_from_slice(&[node_high, node_low, owner.slot]);
        bytes[4..].copy_from_slice(&nonce[..MAX_LENGTH - 4]);
        ConnectionId::from_first(usize::from(self.length), Octets(bytes))
    }

    /// Who issued `cid`, if it has this layout's length.
    ///
    /// The length bits of the first octet are not looked at: they are for those who do
    /// not know the configuration.
    #[inline(always)]
    pub fn decode(self, cid: &ConnectionId) -> Option<Owner> {
        let [word, ..] = cid.words();
        let server_id = word.swap_bytes() >> 32;
        (cid.len() == usize::from(self.length))
            .then_some(Owner { node: (server_id >> 8) as u16, slot: server_id as u8 })
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

    const OWNER: Owner = Owner { node: 0x1234, slot: 0x56 };

    #[test]
    fn ours_are_self_described_and_in_clear() {
        let layout = Layout::new(2, 17).expect("legal");
        let cid = layout.encode(OWNER, [0xaa; 20]);
        assert_eq!(cid.as_slice()[..4], [2 << 5 | 16, 0x12, 0x34, 0x56]);
        assert_eq!(cid.as_slice()[4..], [0xaa; 13]);
        assert_eq!((cid.rotation(), cid.length_bits()), (2, 16));
    }

    #[test]
    fn the_drafts_clear_vector() {
        // draft-ietf-quic-load-balancers-21, test vectors: server ID c4605e, nonce 4504cc4f.
        let mut nonce = [0; 20];
        nonce[..4].copy_from_slice(&[0x45, 0x04, 0xcc, 0x4f]);
        let layout = Layout::new(0, 8).expect("legal");
        let cid = layout.encode(Owner { node: 0xc460, slot: 0x5e }, nonce);
        assert_eq!(cid.as_slice(), [0x07, 0xc4, 0x60, 0x5e, 0x45, 0x04, 0xcc, 0x4f]);
        assert_eq!(layout.decode(&cid), Some(Owner { node: 0xc460, slot: 0x5e }));
    }

    #[test]
    fn layouts_that_cannot_be() {
        for (rotation, length) in [(7, 17), (8, 17), (0, 7), (0, 21), (0, 0)] {
            assert_eq!(Layout::new(rotation, length), None, "{rotation} {length}");
        }
    }

    proptest! {
        #[test]
        fn decodes_what_it_encoded(rotation in 0..7_u8, length in 8..=20_u8, node: u16, slot: u8, nonce: [u8; 20]) {
            let layout = Layout::new(rotation, length).expect("legal");
            let owner = Owner { node, slot };
            let cid = layout.encode(owner, nonce);
            prop_assert_eq!(cid.len(), usize::from(length));
            prop_assert_eq!(cid.rotation(), rotation);
            prop_assert_eq!(layout.decode(&cid), Some(owner));
        }

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
