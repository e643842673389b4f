//! The QUIC-LB codec (draft-ietf-quic-load-balancers-21): server ID and nonce, in clear or
//! encrypted, behind the first octet.
//!
//! ```text
//! first octet          server ID              nonce
//! rotation, length     1 octet or more        4 octets or more: at most 19 for both
//!                      └────────── encrypted together ──────────┘
//! ```
//!
//! - No key: both stand there as they are.
//! - 16 octets for both: one AES block ("single pass").
//! - Any other sum: a Feistel network of four rounds whose round function is AES ("four
//!   pass"). It needs AES encryption only, in both directions.
//!
//! Everything works on words, big-endian, so that a half of the network or a block of the
//! cipher is two registers, in the kernel too.

use super::{ConnectionId, MAX_LENGTH, UNROUTABLE};
use crate::{
    aes::{Block, RoundKeys},
    bytes::Octets,
    identifiers::ConfigRotation,
};

/// The fewest octets a nonce may have (QUIC-LB, CID format).
pub const MIN_NONCE_LENGTH: usize = 4;

/// The most octets a server ID may have: what the shortest nonce leaves.
pub const MAX_SERVER_ID_LENGTH: usize = MAX_LENGTH - 1 - MIN_NONCE_LENGTH;

/// An AES-128 key, however it is kept.
pub trait Cipher {
    /// Encrypts one block.
    fn encrypt(&self, block: &mut Block);

    /// Decrypts one block.
    fn decrypt(&self, block: &mut Block);
}

impl Cipher for RoundKeys {
    #[inline(always)]
    fn encrypt(&self, block: &mut Block) {
        Self::encrypt(self, block);
    }

    #[inline(always)]
    fn decrypt(&self, block: &mut Block) {
        Self::decrypt(self, block);
    }
}

/// How server ID and nonce are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// As they are.
    Clear,
    /// As one AES block.
    SinglePass,
    /// Through the Feistel network.
    FourPass,
}

impl Algorithm {
    /// The one that encrypts `length` octets of server ID and nonce.
    pub fn encrypting(length: usize) -> Self {
        if length == 16 { Self::SinglePass } else { Self::FourPass }
    }
}

/// Octets of a server ID and of a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lengths {
    server_id: u8,
    nonce: u8,
}

impl Lengths {
    /// `None` unless the server ID has 1 octet or more, the nonce 4 or more, and both 19 at most.
    pub fn new(server_id: usize, nonce: usize) -> Option<Self> {
        let legal = server_id >= 1 && nonce >= MIN_NONCE_LENGTH && server_id + nonce < MAX_LENGTH;
        legal.then_some(Self { server_id: server_id as u8, nonce: nonce as u8 })
    }

    /// Octets of the server ID.
    pub fn server_id(self) -> usize {
        self.server_id.into()
    }

    /// Octets of the nonce.
    pub fn nonce(self) -> usize {
        self.nonce.into()
    }

    /// Octets of both.
    pub fn sum(self) -> usize {
        self.server_id() + self.nonce()
    }
}

/// The octets behind the first, in clear or encrypted: 5 to 19, and zeros behind them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Body {
    /// Octets 0 to 7 of the body.
    high: u64,
    /// Octets 8 to 15.
    middle: u64,
    /// Octets 16 to 18, at the upper end.
    low: u64,
}

impl Body {
    /// That of `cid`.
    #[inline(always)]
    pub fn of(cid: &ConnectionId) -> Self {
        let [a, b, c] = cid.words().map(u64::swap_bytes);
        Self { high: a << 8 | b >> 56, middle: b << 8 | c >> 56, low: c << 8 }
    }

    /// `octets`, of which there are at most 19, and zeros.
    pub fn new(octets: &[u8]) -> Option<Self> {
        let mut whole = [0; MAX_LENGTH];
        whole.get_mut(1..=octets.len())?.copy_from_slice(octets);
        Some(Self::of(&ConnectionId { bytes: whole, len: MAX_LENGTH as u32 }))
    }

    /// Its 19 octets.
    pub fn octets(&self) -> [u8; MAX_LENGTH - 1] {
        let mut octets = [0; MAX_LENGTH - 1];
        octets[..8].copy_from_slice(&self.high.to_be_bytes());
        octets[8..16].copy_from_slice(&self.middle.to_be_bytes());
        octets[16..].copy_from_slice(&self.low.to_be_bytes()[..3]);
        octets
    }

    /// The connection ID of its first `length` octets behind `first`.
    pub fn behind(&self, first: u8, length: usize) -> ConnectionId {
        let mut bytes = [0; MAX_LENGTH];
        bytes[0] = first;
        bytes[1..].copy_from_slice(&self.octets());
        ConnectionId::from_first(1 + length, Octets(bytes))
    }

    /// Its first 16 octets.
    #[inline(always)]
    pub(super) fn front(&self) -> Block {
        [self.high, self.middle]
    }

    /// The same with its first `length` octets (16 at most) encrypted as `algorithm` does.
    #[inline(always)]
    pub fn encrypt<C: Cipher>(self, algorithm: Algorithm, length: usize, cipher: &C) -> Self {
        match algorithm {
            Algorithm::Clear => self,
            Algorithm::SinglePass => {
                let mut block = self.front();
                cipher.encrypt(&mut block);
                Self { high: block[0], middle: block[1], low: 0 }
            }
            Algorithm::FourPass => {
                let network = Network::new(length, cipher);
                let (left, right) = network.split(self);
                let right = network.right(right, left, 1);
                let left = network.left(left, right, 2);
                let right = network.right(right, left, 3);
                let left = network.left(left, right, 4);
                network.join(left, right)
            }
        }
    }

    /// Undoes [`encrypt`](Self::encrypt), as far as the first `wanted` octets (16 at most) go:
    /// the network's last round is left out where they do not need it.
    #[inline(always)]
    pub fn decrypt<C: Cipher>(self, algorithm: Algorithm, length: usize, wanted: usize, cipher: &C) -> Self {
        match algorithm {
            Algorithm::Clear => self,
            Algorithm::SinglePass => {
                let mut block = self.front();
                cipher.decrypt(&mut block);
                Self { high: block[0], middle: block[1], low: 0 }
            }
            Algorithm::FourPass => {
                let network = Network::new(length, cipher);
                let (left, right) = network.split(self);
                let left = network.left(left, right, 4);
                let right = network.right(right, left, 3);
                let left = network.left(left, right, 2);
                if wanted <= length / 2 {
                    return Self { high: left[0], middle: left[1], low: 0 };
                }
                network.join(left, network.right(right, left, 1))
            }
        }
    }
}

/// Writes connection IDs of one configuration: `first` octet, `server_id`, `nonce`; encrypted
/// if there is a `cipher`. `None` if the lengths are not legal.
pub fn encode<C: Cipher>(first: u8, server_id: &[u8], nonce: &[u8], cipher: Option<&C>) -> Option<ConnectionId> {
    let lengths = Lengths::new(server_id.len(), nonce.len())?;
    let mut octets = [0; MAX_LENGTH - 1];
    octets[..lengths.server_id()].copy_from_slice(server_id);
    octets[lengths.server_id()..lengths.sum()].copy_from_slice(nonce);
    let body = Body::new(&octets)?;
    let body = match cipher {
        None => body,
        Some(cipher) => body.encrypt(Algorithm::encrypting(lengths.sum()), lengths.sum(), cipher),
    };
    Some(body.behind(first, lengths.sum()))
}

/// Reads them back: server ID and nonce, one behind the other. `None` if the connection ID
/// is not as long as `lengths` say.
pub fn decode<C: Cipher>(cid: &ConnectionId, lengths: Lengths, cipher: Option<&C>) -> Option<[u8; MAX_LENGTH - 1]> {
    if cid.len() != 1 + lengths.sum() {
        return None;
    }
    let body = Body::of(cid);
    let body = match cipher {
        None => body,
        Some(cipher) => body.decrypt(Algorithm::encrypting(lengths.sum()), lengths.sum(), MAX_LENGTH, cipher),
    };
    Some(body.octets())
}

/// The first octet of a connection ID (QUIC-LB, CID format): its rotation, and in the low
/// five bits `low`, such as the length of the rest. `None` if the rotation is over 7.
pub fn first_octet(rotation: ConfigRotation, low: u8) -> Option<u8> {
    (rotation <= UNROUTABLE).then_some(rotation.get() << 5 | low & 0x1f)
}

/// A half of the network's octets, at the upper end of two words; at most 10.
type Half = [u64; 2];

/// The four-pass network over `length` octets. For an odd `length` the halves share the
/// middle octet: its upper nibble is the left one's last, its lower one the right one's first.
struct Network<'a, C> {
    cipher: &'a C,
    /// Bits by which the right half starts behind the left one: 16 to 72, whole octets.
    shift: u32,
    length: u64,
    masks: [Half; 2],
}

impl<'a, C: Cipher> Network<'a, C> {
    #[inline(always)]
    fn new(length: usize, cipher: &'a C) -> Self {
        let odd = length as u32 & 1;
        let bits = 8 * (length as u32).div_ceil(2);
        let [high, low] = first_bits(bits);
        let masks = [first_bits(bits - 4 * odd), [high & u64::MAX >> (4 * odd), low]];
        Self { cipher, shift: 8 * (length as u32 / 2), length: length as u64, masks }
    }

    #[inline(always)]
    fn split(&self, body: Body) -> (Half, Half) {
        let Body { high, middle, low } = body;
        let right = if self.shift < 64 {
            [high << self.shift | middle >> (64 - self.shift), middle << self.shift | low >> (64 - self.shift)]
        } else {
            let rest = self.shift - 64;
            [middle << rest | low >> 1 >> (63 - rest), low << rest]
        };
        (and([high, middle], self.masks[0]), and(right, self.masks[1]))
    }

    #[inline(always)]
    fn join(&self, left: Half, right: Half) -> Body {
        if self.shift < 64 {
            Body {
                high: left[0] | right[0] >> self.shift,
                middle: left[1] | right[0] << (64 - self.shift) | right[1] >> self.shift,
                low: right[1] << (64 - self.shift),
            }
        } else {
            let rest = self.shift - 64;
            Body {
                high: left[0],
                middle: left[1] | right[0] >> rest,
                low: right[0] << 1 << (63 - rest) | right[1] >> rest,
            }
        }
    }

    /// The left half after `pass`, which encrypts the right one.
    #[inline(always)]
    fn left(&self, left: Half, right: Half, pass: u64) -> Half {
        xor(left, and(self.round(right, pass), self.masks[0]))
    }

    /// The right half after `pass`, which encrypts the left one.
    #[inline(always)]
    fn right(&self, right: Half, left: Half, pass: u64) -> Half {
        xor(right, and(self.round(left, pass), self.masks[1]))
    }

    /// The round function: the half, zeros up to 14 octets, the length, the pass; encrypted.
    #[inline(always)]
    fn round(&self, half: Half, pass: u64) -> Block {
        let mut block = [half[0], half[1] | self.length << 8 | pass];
        self.cipher.encrypt(&mut block);
        block
    }
}

/// Ones in the first `bits` (1 to 128) of two words.
#[inline(always)]
pub(super) fn first_bits(bits: u32) -> Half {
    if bits <= 64 { [u64::MAX << (64 - bits), 0] } else { [u64::MAX, u64::MAX << (128 - bits)] }
}

#[inline(always)]
fn and(a: Half, b: Half) -> Half {
    [a[0] & b[0], a[1] & b[1]]
}

#[inline(always)]
fn xor(a: Half, b: Half) -> Half {
    [a[0] ^ b[0], a[1] ^ b[1]]
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
    }

    fn keys(text: &str) -> RoundKeys {
        RoundKeys::expand(hex(text).first_chunk().expect("16 octets"))
    }

    /// The draft's test vectors, and its worked example of the four passes.
    #[test]
    fn the_drafts_vectors() {
        const KEY: &str = "8f95f09245765f80256934e50c66207f";
        for (rotation, key, server_id, nonce, cid) in [
            (0, None, "c4605e", "4504cc4f", "07c4605e4504cc4f"),
            (0, Some(KEY), "ed793a", "ee080dbf", "0720b1d07b359d3c"),
            (2, Some(KEY), "ed793a51d49b8f5f", "ee080dbf48c0d1e5", "504dd2d05a7b0de9b2b9907afb5ecf8cc3"),
            (0, Some("fdf726a9893ec05c0632d3956680baf0"), "31441a", "9c69c275", "0767947d29be054a"),
        ] {
            let (keys, server_id, nonce) = (key.map(keys), hex(server_id), hex(nonce));
            let lengths = Lengths::new(server_id.len(), nonce.len()).expect("legal");
            let first = first_octet(ConfigRotation::new(rotation), lengths.sum() as u8).expect("a rotation");
            let encoded = encode(first, &server_id, &nonce, keys.as_ref()).expect("legal");
            assert_eq!(encoded.as_slice(), hex(cid), "{cid}");
            let decoded = decode(&encoded, lengths, keys.as_ref()).expect("its length");
            assert_eq!(decoded[..lengths.sum()], [server_id, nonce].concat(), "{cid}");
        }
    }

    #[test]
    fn lengths_that_cannot_be() {
        for (server_id, nonce) in [(0, 4), (0, 19), (1, 3), (15, 5), (16, 4), (1, 19), (20, 0)] {
            assert_eq!(Lengths::new(server_id, nonce), None, "{server_id} {nonce}");
        }
        assert_eq!(first_octet(ConfigRotation::new(8), 0), None);
    }

    /// Every legal pair of lengths, with and without a key.
    fn each_pair(mut check: impl FnMut(Lengths)) {
        for server_id in 1..=MAX_SERVER_ID_LENGTH {
            for nonce in MIN_NONCE_LENGTH..MAX_LENGTH - server_id {
                check(Lengths::new(server_id, nonce).expect("legal"));
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes(key: [u8; 16], octets: [u8; 19], first: u8) {
            let keys = RoundKeys::expand(&key);
            let mut failed = None;
            each_pair(|lengths| {
                let (server_id, nonce) = octets[..lengths.sum()].split_at(lengths.server_id());
                for keys in [None, Some(&keys)] {
                    let cid = encode(first, server_id, nonce, keys).expect("legal");
                    let back = decode(&cid, lengths, keys).expect("its length");
                    let whole = cid.len() == 1 + lengths.sum() && cid.as_slice()[0] == first;
                    // By chance an octet may stay as it was; all of five will not.
                    let hidden = (cid.as_slice()[1..] != octets[..lengths.sum()]) == keys.is_some();
                    if back[..lengths.sum()] != octets[..lengths.sum()] || !whole || !hidden {
                        failed = Some((lengths, keys.is_some()));
                    }
                }
            });
            prop_assert_eq!(failed, None);
        }

        /// The fourth round is left out only where what is wanted does not need it.
        #[test]
        fn three_rounds_suffice_where_they_are_said_to(key: [u8; 16], octets: [u8; 19]) {
            let keys = RoundKeys::expand(&key);
            for length in 5..=19 {
                let body = Body::new(&octets[..length]).expect("at most 19 octets");
                let algorithm = Algorithm::encrypting(length);
                let encrypted = body.encrypt(algorithm, length, &keys);
                for wanted in 1..=length.min(16) {
                    let decrypted = encrypted.decrypt(algorithm, length, wanted, &keys);
                    prop_assert_eq!(&decrypted.octets()[..wanted], &octets[..wanted], "{} of {}", wanted, length);
                }
            }
        }

        /// Octets behind the body stay zero: two equal connection IDs are equal as keys of a map.
        #[test]
        fn nothing_stands_behind_the_body(key: [u8; 16], octets: [u8; 19]) {
            let keys = RoundKeys::expand(&key);
            for length in 5..=19 {
                let body = Body::new(&octets[..length]).expect("at most 19 octets");
                let encrypted = body.encrypt(Algorithm::encrypting(length), length, &keys);
                prop_assert!(encrypted.octets()[length..].iter().all(|&octet| octet == 0), "{}", length);
            }
        }
    }
}
