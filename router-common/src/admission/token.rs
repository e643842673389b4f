//! The token of a Retry that the kernel sends: it says that a client receives at its address (RFC 9000 section 8.1.2).
//!
//! ```text
//! type 0 · family · address · port · original destination connection ID · issued      what quinn puts in a Retry's token
//! message authentication code                                                         16 octets
//! "qr", 1 · epoch of the key · source connection ID of the Retry                      16 octets: quinn's nonce
//! ```
//!
//! quinn takes the last 16 octets for a nonce and what stands before for sealed, and asks its key to open it. The
//! agent's key sees by the nonce that a kernel made the token, looks at the code, and hands back the first line. Nothing
//! in it is secret: the client knows all of it. The code is SipHash-2-4 with 128 bits, of everything that the token says
//! and of the version that the Retry was for.
//!
//! Keys change by epochs of an hour, and are derived from a secret that the nodes of a cluster share: each honours what
//! another one's kernel has issued.

use super::answer::{Fields, address_words};
use crate::{
    bytes::{Bytes, Octets},
    connection_id::{ConnectionId, MAX_LENGTH},
    frame::{Address, Endpoint, Payload},
    siphash,
};

/// For how long a token is good, in seconds: quinn's default.
pub const TOKEN_LIFETIME: u64 = 15;

/// How long a key is in use, in seconds.
pub const EPOCH_LENGTH: u64 = 3_600;

/// A key, and the hours from 1970 on to the one that it is for.
///
/// It has no `Debug`, so that it comes into no log.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKey {
    key: [u64; 2],
    epoch: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<TokenKey>() == 24);

impl TokenKey {
    /// No key.
    pub const NONE: Self = Self { key: [0; 2], epoch: 0, reserved: 0 };

    /// That of an epoch.
    pub fn new(epoch: u32, key: [u64; 2]) -> Self {
        Self { key, epoch, reserved: 0 }
    }

    /// The epoch that `seconds` from 1970 on are in.
    pub fn epoch_at(seconds: u64) -> u32 {
        (seconds / EPOCH_LENGTH) as u32
    }
}

/// The keys of two epochs, one behind the other. Value of a map, in the host's byte order.
///
/// Each has its place by its epoch's parity. So the key of the next epoch takes that of the last one while the one
/// between is in use, and a change of epoch is a change of one word.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKeys {
    keys: [TokenKey; 2],
    issuing: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<TokenKeys>() == 56);

impl TokenKeys {
    /// No keys.
    pub const NONE: Self = Self { keys: [TokenKey::NONE; 2], issuing: 0, reserved: 0 };

    /// The epochs whose keys are of use at `seconds` from 1970 on: the one they are in, and the nearer of its
    /// neighbours, in which the token may have been issued or another node's clock may be.
    pub fn epochs_at(seconds: u64) -> [u32; 2] {
        let epoch = TokenKey::epoch_at(seconds);
        let is_late = seconds % EPOCH_LENGTH >= EPOCH_LENGTH / 2;
        [epoch, if is_late { epoch.wrapping_add(1) } else { epoch.wrapping_sub(1) }]
    }

    /// Tokens are issued under the key `issuing`, and those under either are honoured.
    pub fn new(issuing: TokenKey, other: TokenKey) -> Self {
        let keys = if issuing.epoch.is_multiple_of(2) { [issuing, other] } else { [other, issuing] };
        Self { keys, issuing: issuing.epoch, reserved: 0 }
    }

    /// The key to issue tokens under; none before there is one.
    #[inline(always)]
    pub fn issuing(&self) -> Option<&TokenKey> {
        self.of(self.issuing)
    }

    /// The key of an epoch.
    #[inline(always)]
    pub fn of(&self, epoch: u32) -> Option<&TokenKey> {
        let key = &self.keys[epoch as usize % 2];
        (key.epoch == epoch && epoch != 0).then_some(key)
    }
}

/// What a token says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    /// Whom it was sent to.
    pub(super) client: Endpoint,
    /// The destination connection ID that the client had chosen.
    pub(super) original: ConnectionId,
    /// The seconds from 1970 on to when it was issued.
    pub(super) issued: u64,
    /// The source connection ID of the Retry, big-endian: the client's destination connection ID from then on.
    pub(super) retry_source: u64,
}

impl Token {
    /// Its message authentication code, in a packet of `version`.
    #[inline(always)]
    fn code(&self, key: &TokenKey, version: u32) -> [u64; 2] {
        let [high, low] = address_words(self.client.address);
        let [first, second, third] = self.original.words();
        let others = u64::from(version) << 32 | u64::from(self.client.port) << 8 | self.original.len() as u64;
        siphash::mac(&[self.issued, others, high, low, first, second, third, self.retry_source], key.key)
    }

    /// Writes the token, for a Retry of `version`.
    #[inline(always)]
    pub(super) fn write(&self, key: &TokenKey, version: u32, fields: &mut Fields<'_>) {
        fields.u8(TYPE_RETRY);
        fields.u8(if self.client.address.is_ipv4() { FAMILY_IPV4 } else { FAMILY_IPV6 });
        fields.address(self.client.address);
        fields.u16(self.client.port);
        fields.connection_id(&self.original);
        fields.u64(self.issued);
        fields.block(self.code(key, version));
        fields.u32(MARK);
        fields.u32(key.epoch);
        fields.u64(self.retry_source);
    }
}

/// A token as it came, with what vouches for it.
struct Received {
    token: Token,
    code: [u64; 2],
    epoch: u32,
}

impl Received {
    /// Reads a token; `None` unless it has the form of those that a kernel issues.
    #[inline(always)]
    fn read<B: Bytes + ?Sized>(packet: &B, Payload { at, length }: Payload) -> Option<Self> {
        let Octets::<2>([kind, family]) = packet.read(at)?;
        let (client, original_at) = match (kind, family) {
            (TYPE_RETRY, FAMILY_IPV4) => (ipv4(packet, at + 2)?, at + 2 + 4 + 2),
            (TYPE_RETRY, FAMILY_IPV6) => (ipv6(packet, at + 2)?, at + 2 + 16 + 2),
            _ => return None,
        };
        let Octets::<2>([original_length, _]) = packet.read(original_at)?;
        let original_length = usize::from(original_length);
        let issued_at = original_at + 1 + original_length;
        if original_length > MAX_LENGTH || issued_at + BEHIND_ORIGINAL != at + length {
            return None;
        }
        let original = ConnectionId::from_first(original_length, packet.read(original_at + 1)?);
        let Octets::<8>(issued) = packet.read(issued_at)?;
        let Octets::<16>(code) = packet.read(issued_at + 8)?;
        let Octets::<16>(nonce) = packet.read(issued_at + 8 + CODE_LENGTH)?;
        let [mark_and_epoch, retry_source] = words(nonce);
        if (mark_and_epoch >> 32) as u32 != MARK {
            return None;
        }
        let token = Token { client, original, issued: u64::from_be_bytes(issued), retry_source };
        Some(Self { token, code: words(code), epoch: mark_and_epoch as u32 })
    }

    /// Whether it was issued under `key` for a packet of `version`. Takes the same time wherever the codes differ.
    #[inline(always)]
    fn is_genuine(&self, key: &TokenKey, version: u32) -> bool {
        let [first, second] = self.token.code(key, version);
        (first ^ self.code[0]) | (second ^ self.code[1]) == 0
    }
}

/// How a token came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Presented {
    /// Whom from.
    pub client: Endpoint,
    /// The packet's version.
    pub version: u32,
    /// Its destination connection ID.
    pub destination: ConnectionId,
    /// The seconds from 1970 on.
    pub now: u64,
}

/// Why a token proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenFault {
    /// No kernel made it, by its form; quinn may have.
    NotOurs,
    /// It was not issued under a key that is known, or has been changed, or was for another version.
    Forged,
    /// It was issued more than 15 seconds ago.
    Expired,
    /// It was issued to another address or port.
    OtherClient,
    /// It was issued for another connection than the one that it came with.
    OtherConnection,
}

/// Looks at the token of an Initial, which is at `place` in `packet`: the connection ID that the client had first
/// chosen.
///
/// # Errors
/// If it does not prove that the client receives at its address.
#[inline(always)]
pub fn verify<B: Bytes + ?Sized>(
    packet: &B,
    place: Payload,
    presented: &Presented,
    keys: &TokenKeys,
) -> Result<ConnectionId, TokenFault> {
    let received = Received::read(packet, place).ok_or(TokenFault::NotOurs)?;
    let key = keys.of(received.epoch).ok_or(TokenFault::Forged)?;
    if !received.is_genuine(key, presented.version) {
        return Err(TokenFault::Forged);
    }
    let Token { client, original, issued, retry_source } = received.token;
    if client != presented.client {
        Err(TokenFault::OtherClient)
    } else if presented.now.saturating_sub(issued) > TOKEN_LIFETIME {
        Err(TokenFault::Expired)
    } else if !is_retry_source(&presented.destination, retry_source) {
        Err(TokenFault::OtherConnection)
    } else {
        Ok(original)
    }
}

/// The epoch of the key that a token would have been issued under, by its last 16 octets; `None` if no kernel made it.
pub fn epoch_of_nonce(nonce: &[u8; 16]) -> Option<u32> {
    let [mark_and_epoch, _] = words(*nonce);
    ((mark_and_epoch >> 32) as u32 == MARK).then_some(mark_and_epoch as u32)
}

/// What of `token` quinn reads, if it was issued under `key` for version 1: all but the code and the nonce. Whether it is
/// still good, and to whom, quinn asks itself.
pub fn open_token<'a>(token: &'a [u8], key: &TokenKey) -> Option<&'a [u8]> {
    let received = Received::read(token, Payload { at: 0, length: token.len() })?;
    let is_genuine = received.epoch == key.epoch && received.is_genuine(key, crate::quic::VERSION_1);
    token.get(..token.len() - CODE_LENGTH - NONCE_LENGTH).filter(|_| is_genuine)
}

/// Whether `id` is the source connection ID of a Retry with these octets. Word by word: a comparison of arrays would be
/// a call, to a function that the kernel's verifier does not admit.
#[inline(always)]
pub(super) fn is_retry_source(id: &ConnectionId, octets: u64) -> bool {
    let [first, ..] = id.words();
    id.len() == RETRY_SOURCE_LENGTH && first == octets.swap_bytes()
}

#[inline(always)]
fn ipv4<B: Bytes + ?Sized>(packet: &B, at: usize) -> Option<Endpoint> {
    let Octets::<6>([a, b, c, d, high, low]) = packet.read(at)?;
    Some(Endpoint { address: Address::ipv4([a, b, c, d]), port: u16::from_be_bytes([high, low]) })
}

#[inline(always)]
fn ipv6<B: Bytes + ?Sized>(packet: &B, at: usize) -> Option<Endpoint> {
    let Octets::<16>(address) = packet.read(at)?;
    let Octets::<2>(port) = packet.read(at + 16)?;
    let address = Address::new(address);
    // One that is mapped has the other family: no token can be written in two ways.
    (!address.is_ipv4()).then_some(Endpoint { address, port: u16::from_be_bytes(port) })
}

#[inline(always)]
fn words([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]: [u8; 16]) -> [u64; 2] {
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

/// Octets of a Retry's source connection ID.
pub(super) const RETRY_SOURCE_LENGTH: usize = 8;

const TYPE_RETRY: u8 = 0;
const FAMILY_IPV4: u8 = 0;
const FAMILY_IPV6: u8 = 1;
const CODE_LENGTH: usize = 16;
const NONCE_LENGTH: usize = 16;
/// What stands behind the original connection ID.
const BEHIND_ORIGINAL: usize = 8 + CODE_LENGTH + NONCE_LENGTH;
/// What the nonce of a token begins with that a kernel made: `qr`, this format's number.
const MARK: u32 = u32::from_be_bytes([b'q', b'r', 0, 1]);
