//! One configuration: what the connection IDs of one rotation look like, how one tells
//! that they are ours, and where in them the slot stands.
//!
//! Decrypted, the first octets are the *identity*, the same in all connection IDs of a
//! node; the octet behind them is the slot. With the node ID for an identity, both make the
//! server ID. A server ID given from outside is the identity whole, and the slot is the
//! first octet of the nonce. Either way node and slot are encrypted together with the rest,
//! so two workers never make one ciphertext; and a decoder has one rule for both.

use super::{
    ConnectionId, MAX_LENGTH, UNROUTABLE,
    codec::{Algorithm, Body, Cipher, Lengths, MAX_SERVER_ID_LENGTH, first_bits, first_octet},
};
use crate::{
    aes::RoundKeys,
    hash,
    identifiers::{ConfigRotation, NodeId, SlotId},
};

/// Value of the map `cid_configs`, by rotation: how to decode its connection IDs.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CidConfig {
    encoding: u32,
    length: u32,
    server_id_length: u32,
    issuing: u32,
    describes_length: u32,
    identity_length: u32,
    identity: [u8; 16],
}

const _: () = assert!(size_of::<CidConfig>() == 40);

/// Value of the map `cid_keys`, by rotation: the secrets of a configuration.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CidKeys {
    aes: RoundKeys,
    slot_mask: [u64; 2],
}

const _: () = assert!(size_of::<CidKeys>() == 368);

impl CidKeys {
    /// No keys: what the map holds where they are not needed, or no longer.
    pub const NONE: Self = Self { aes: RoundKeys::NONE, slot_mask: [0; 2] };

    /// Those of a configuration: the AES key, expanded, and the key of the hash that masks a
    /// slot which travels in clear.
    pub fn new(key: &[u8; 16], slot_mask: [u64; 2]) -> Self {
        Self { aes: RoundKeys::expand(key), slot_mask }
    }
}

/// The keys of a configuration, however they are kept.
pub trait Keys: Cipher {
    /// The key of the hash that masks a slot which travels in clear.
    fn slot_mask(&self) -> [u64; 2];
}

impl Cipher for CidKeys {
    #[inline(always)]
    fn encrypt(&self, block: &mut crate::aes::Block) {
        self.aes.encrypt(block);
    }

    #[inline(always)]
    fn decrypt(&self, block: &mut crate::aes::Block) {
        self.aes.decrypt(block);
    }
}

impl Keys for CidKeys {
    #[inline(always)]
    fn slot_mask(&self) -> [u64; 2] {
        self.slot_mask
    }
}

/// How the connection IDs of a configuration are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// Server ID, slot within it, and nonce in clear.
    Clear,
    /// The same as one AES block.
    SinglePass,
    /// The same through the four-pass network.
    FourPass,
    /// In clear, but the slot, an octet of the nonce, is masked with a keyed hash of all the
    /// others (QUIC-LB, server process demultiplexing).
    ClearMaskedSlot,
}

impl Encoding {
    /// What it does to server ID and nonce.
    #[inline(always)]
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Clear | Self::ClearMaskedSlot => Algorithm::Clear,
            Self::SinglePass => Algorithm::SinglePass,
            Self::FourPass => Algorithm::FourPass,
        }
    }
}

/// What tells a node's connection IDs from others'.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    octets: [u8; 16],
    length: u8,
    is_server_id: bool,
}

impl Identity {
    /// A node ID: with the slot behind it, it is the server ID.
    pub fn node(node: u16) -> Self {
        let mut octets = [0; 16];
        octets[..2].copy_from_slice(&node.to_be_bytes());
        Self { octets, length: 2, is_server_id: false }
    }

    /// A whole server ID of 1 to 15 octets, given from outside; `None` if it has another length.
    pub fn server_id(server_id: &[u8]) -> Option<Self> {
        if !(1..=MAX_SERVER_ID_LENGTH).contains(&server_id.len()) {
            return None;
        }
        let mut octets = [0; 16];
        octets[..server_id.len()].copy_from_slice(server_id);
        Some(Self { octets, length: server_id.len() as u8, is_server_id: true })
    }

    /// Octets of the server IDs of its connection IDs.
    pub fn server_id_length(self) -> usize {
        usize::from(self.length) + usize::from(!self.is_server_id)
    }
}

impl CidConfig {
    /// Connection IDs of `length` octets in all, in clear. `None` if that leaves fewer than 4 octets for the nonce, or
    /// is over 20.
    pub fn in_clear(identity: Identity, length: usize) -> Option<Self> {
        let encoding = if identity.is_server_id { ENCODING_CLEAR_MASKED_SLOT } else { ENCODING_CLEAR };
        Self::new(identity, length, |_| encoding)
    }

    /// The same, encrypted: by the one pass or the four that their length asks for (QUIC-LB, encryption).
    pub fn encrypted(identity: Identity, length: usize) -> Option<Self> {
        Self::new(identity, length, |lengths| match Algorithm::encrypting(lengths.sum()) {
            Algorithm::SinglePass => ENCODING_SINGLE_PASS,
            Algorithm::Clear | Algorithm::FourPass => ENCODING_FOUR_PASS,
        })
    }

    fn new(identity: Identity, length: usize, encoding: impl FnOnce(Lengths) -> u32) -> Option<Self> {
        let server_id_length = identity.server_id_length();
        let lengths = Lengths::new(server_id_length, length.checked_sub(1 + server_id_length)?)?;
        Some(Self {
            encoding: encoding(lengths),
            length: length as u32,
            server_id_length: server_id_length as u32,
            issuing: 0,
            describes_length: 1,
            identity_length: identity.length.into(),
            identity: identity.octets,
        })
    }

    /// The same, saying whether new connection IDs follow it.
    pub fn issuing(self, yes: bool) -> Self {
        Self { issuing: yes.into(), ..self }
    }

    /// The same, saying whether the low five bits of the first octet tell the length of the
    /// rest, or are random (QUIC-LB, CID format).
    pub fn describing_length(self, yes: bool) -> Self {
        Self { describes_length: yes.into(), ..self }
    }

    /// How its connection IDs are written; `None` while there is no such configuration.
    #[inline(always)]
    pub fn encoding(&self) -> Option<Encoding> {
        match self.encoding {
            ENCODING_CLEAR => Some(Encoding::Clear),
            ENCODING_SINGLE_PASS => Some(Encoding::SinglePass),
            ENCODING_FOUR_PASS => Some(Encoding::FourPass),
            ENCODING_CLEAR_MASKED_SLOT => Some(Encoding::ClearMaskedSlot),
            _ => None,
        }
    }

    /// Octets of a whole connection ID.
    #[inline(always)]
    pub fn length(&self) -> usize {
        self.length as usize
    }

    /// Octets of the server ID.
    pub fn server_id_length(&self) -> usize {
        self.server_id_length as usize
    }

    /// Whether the first octet tells the length of the rest.
    pub fn describes_length(&self) -> bool {
        self.describes_length != 0
    }

    /// What its connection IDs begin with, decrypted.
    pub fn identity(&self) -> &[u8] {
        self.identity.get(..self.slot_at()).unwrap_or(&self.identity)
    }

    /// The node ID in a server ID of this configuration, unless those come from outside.
    pub fn node_in(&self, server_id: &[u8]) -> Option<u16> {
        match server_id {
            &[high, low, _slot] if self.slot_is_in_server_id() => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }

    /// Octets that a counter or random numbers have to fill: the nonce but for the slot, where
    /// that is in it. 3 to 18.
    pub fn free_octets(&self) -> usize {
        self.length() - 2 - self.slot_at()
    }

    /// The slot that `cid` names, if it is a connection ID of this node.
    #[inline(always)]
    pub fn slot<K: Keys>(&self, cid: &ConnectionId, keys: &K) -> Option<SlotId> {
        match self.owner(cid, keys)? {
            Owner::Slot(slot) => Some(slot),
            Owner::Node(_) => None,
        }
    }

    /// Who issued `cid`, as it says itself. `None` if that cannot be: it has another length, or another server ID, where
    /// those come from outside. Any other says something; of one that a client chose, what it says is random.
    ///
    /// The length bits of the first octet are not looked at: they are for those who do not
    /// know the configuration.
    #[inline(always)]
    pub fn owner<K: Keys>(&self, cid: &ConnectionId, keys: &K) -> Option<Owner> {
        let encoding = self.encoding()?;
        if cid.len() != self.length() {
            return None;
        }
        let slot_at = self.slot_at();
        let body = Body::of(cid).decrypt(encoding.algorithm(), self.length() - 1, slot_at + 1, keys);
        let [high, low] = body.front();
        let [mask_high, mask_low] = if slot_at == 0 { [0; 2] } else { first_bits(8 * slot_at as u32) };
        let [ours_high, ours_low] = self.identity_words();
        if (high ^ ours_high) & mask_high | (low ^ ours_low) & mask_low != 0 {
            return self.slot_is_in_server_id().then_some(Owner::Node(NodeId::new((high >> 48) as u16)));
        }
        let slot = if slot_at < 8 { high >> (56 - 8 * slot_at) } else { low >> (120 - 8 * slot_at) } as u8;
        match encoding {
            Encoding::ClearMaskedSlot => Some(Owner::Slot(SlotId::new(slot ^ self.mask(cid, keys)))),
            Encoding::Clear | Encoding::SinglePass | Encoding::FourPass => Some(Owner::Slot(SlotId::new(slot))),
        }
    }

    /// Everything in `cid`, whichever node's it is; `None` if it has another length.
    pub fn open<K: Keys>(&self, cid: &ConnectionId, keys: &K) -> Option<Opened> {
        let encoding = self.encoding()?;
        if cid.len() != self.length() {
            return None;
        }
        let length = self.length() - 1;
        let body = Body::of(cid).decrypt(encoding.algorithm(), length, MAX_LENGTH, keys);
        let mut octets = body.octets();
        if encoding == Encoding::ClearMaskedSlot {
            octets[self.slot_at()] ^= self.mask(cid, keys);
        }
        Some(Opened { octets, length, server_id_length: self.server_id_length(), slot_at: self.slot_at() })
    }

    /// The connection ID of `slot` under `rotation`, with a nonce taken from the front of
    /// `nonce` ([`free_octets`](Self::free_octets) of it), and the first octet's low bits, where
    /// they do not tell the length, from `low_bits`.
    ///
    /// With a key no nonce may come twice for one slot; in clear it has to be random: it is
    /// all that keeps one connection's IDs from being linked with each other (QUIC-LB, plaintext CIDs).
    pub fn encode<K: Keys>(
        &self,
        rotation: ConfigRotation,
        slot: SlotId,
        nonce: &Nonce,
        keys: &K,
    ) -> Option<ConnectionId> {
        let encoding = self.encoding()?;
        let length = self.length() - 1;
        let low = if self.describes_length() { length as u8 } else { nonce.low_bits };
        let first = first_octet(rotation, low).filter(|_| rotation < UNROUTABLE)?;
        let (slot_at, free) = (self.slot_at(), self.free_octets());
        let mut octets = [0; MAX_LENGTH - 1];
        octets[..slot_at].copy_from_slice(self.identity());
        octets[slot_at] = slot.get();
        octets[slot_at + 1..][..free].copy_from_slice(&nonce.octets[..free]);
        let body = Body::new(&octets)?.encrypt(encoding.algorithm(), length, keys);
        let cid = body.behind(first, length);
        match encoding {
            Encoding::ClearMaskedSlot => {
                octets[slot_at] ^= self.mask(&cid, keys);
                Some(Body::new(&octets)?.behind(first, length))
            }
            Encoding::Clear | Encoding::SinglePass | Encoding::FourPass => Some(cid),
        }
    }

    /// Octets before the slot, behind the first.
    #[inline(always)]
    fn slot_at(&self) -> usize {
        // The kernel's verifier, and the code that divides by it, want to know that it is small.
        (self.identity_length & 15) as usize
    }

    fn slot_is_in_server_id(&self) -> bool {
        self.slot_at() < self.server_id_length()
    }

    #[inline(always)]
    fn identity_words(&self) -> [u64; 2] {
        let i = &self.identity;
        [
            u64::from_be_bytes([i[0], i[1], i[2], i[3], i[4], i[5], i[6], i[7]]),
            u64::from_be_bytes([i[8], i[9], i[10], i[11], i[12], i[13], i[14], i[15]]),
        ]
    }

    /// What a slot in clear is masked with: a keyed hash of all other octets.
    #[inline(always)]
    fn mask<K: Keys>(&self, cid: &ConnectionId, keys: &K) -> u8 {
        // The slot's octet is the one behind the first and the identity.
        let at = 1 + self.slot_at() as u32;
        let [mut first, mut second, third] = cid.words();
        if at < 8 {
            first &= !(0xff << (8 * at));
        } else if at < 16 {
            second &= !(0xff << (8 * (at - 8)));
        } else {
            return hash::words([first, second, third & !0xff], keys.slot_mask()) as u8;
        }
        hash::words([first, second, third], keys.slot_mask()) as u8
    }
}

/// Who issued a connection ID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The worker in a slot of this node.
    Slot(SlotId),
    /// Another node, if there is one of this number.
    Node(NodeId),
}

/// What a nonce is taken from.
#[derive(Clone, Copy, Debug)]
pub struct Nonce {
    /// Its octets are the first of these, as many as the configuration has room for.
    pub octets: [u8; MAX_LENGTH],
    /// The first octet's low bits, where they are not the length.
    pub low_bits: u8,
}

/// A connection ID, decrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    octets: [u8; MAX_LENGTH - 1],
    length: usize,
    server_id_length: usize,
    slot_at: usize,
}

impl Opened {
    /// The server ID.
    pub fn server_id(&self) -> &[u8] {
        &self.octets[..self.server_id_length]
    }

    /// The nonce; the slot is its first octet where server IDs come from outside.
    pub fn nonce(&self) -> &[u8] {
        &self.octets[self.server_id_length..self.length]
    }

    /// The slot.
    pub fn slot(&self) -> SlotId {
        SlotId::new(self.octets[self.slot_at])
    }

    /// Whether the connection ID is of the node that `config` is about.
    pub fn is_of(&self, config: &CidConfig) -> bool {
        self.octets[..self.slot_at] == *config.identity()
    }
}

const ENCODING_CLEAR: u32 = 1;
const ENCODING_SINGLE_PASS: u32 = 2;
const ENCODING_FOUR_PASS: u32 = 3;
const ENCODING_CLEAR_MASKED_SLOT: u32 = 4;

#[cfg(test)]
mod tests;
