//! Classify: what a datagram's first QUIC packet is, and which connection it names.
//!
//! By the invariants of RFC 8999 for every version, and by RFC 9000 and RFC 9369 for the
//! versions we know. Coalesced packets of a datagram carry the same destination
//! connection ID (RFC 9000 section 12.2), so the first one decides for all.

use crate::{
    bytes::{Bytes, Octets},
    connection_id::{ConnectionId, MAX_LENGTH},
    frame::Payload,
    reason::Reason,
};

/// The smallest UDP payload that may carry an Initial, in octets (RFC 9000 section 14.1).
pub const MIN_INITIAL_DATAGRAM: usize = 1200;

/// The first QUIC packet of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Its destination connection ID. In an unknown version one of more than 20 octets is
    /// cut there: enough to keep its connection together.
    pub destination: ConnectionId,
}

/// What kind of packet it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Begins a connection, or goes on with its handshake.
    Initial,
    /// Early data.
    ZeroRtt,
    /// The rest of a handshake.
    Handshake,
    /// Long header of a version that we do not know: the worker negotiates.
    UnknownVersion,
    /// Short header: a connection in progress.
    OneRtt,
}

impl Kind {
    /// Whether its destination connection ID may be one that the client chose.
    #[inline(always)]
    pub fn may_be_first_flight(self) -> bool {
        match self {
            Self::Initial | Self::ZeroRtt | Self::UnknownVersion => true,
            Self::Handshake | Self::OneRtt => false,
        }
    }
}

/// Reads the header of the first packet in `payload`.
///
/// `short_length` is the length of the connection IDs this node issues, in octets, which
/// short headers do not tell. The error is the reason to drop the datagram.
#[inline(always)]
pub fn classify<B: Bytes + ?Sized>(packet: &B, payload: Payload, short_length: usize) -> Result<Header, Reason> {
    // The first octet, a long header's version, and the length of its destination connection ID.
    let Octets::<6>([first, v0, v1, v2, v3, length]) = packet.read(payload.at).ok_or(Reason::Truncated)?;
    if first & LONG_HEADER == 0 {
        let destination = connection_id(packet, payload, ShortOrLong { at: 1, length: short_length })?;
        return Ok(Header { kind: Kind::OneRtt, destination });
    }
    if payload.length < LONG_ID_AT {
        return Err(Reason::Truncated);
    }
    let kind = long_kind(first, u32::from_be_bytes([v0, v1, v2, v3]), payload.length)?;
    let length = usize::from(length);
    let length = match (kind, length > MAX_LENGTH) {
        (_, false) => length,
        (Kind::UnknownVersion, true) => MAX_LENGTH,
        (_, true) => return Err(Reason::CidTooLong),
    };
    let destination = connection_id(packet, payload, ShortOrLong { at: LONG_ID_AT, length })?;
    Ok(Header { kind, destination })
}

/// Where a header keeps its destination connection ID, from the header's first octet on.
struct ShortOrLong {
    at: usize,
    length: usize,
}

/// The kind of a long-header packet: RFC 9000 section 17.2, RFC 9369 section 3.2.
#[inline(always)]
fn long_kind(first: u8, version: u32, datagram_length: usize) -> Result<Kind, Reason> {
    let small = datagram_length < MIN_INITIAL_DATAGRAM;
    let packet_type = match version {
        NEGOTIATION => return Err(Reason::ServerOnly),
        VERSION_1 => first >> 4 & 0b11,
        // Version 2 numbers the types one further: Retry is 0, Initial is 1.
        VERSION_2 => (first >> 4).wrapping_sub(1) & 0b11,
        _ if small => return Err(Reason::SmallUnknownVersion),
        _ => return Ok(Kind::UnknownVersion),
    };
    match packet_type {
        0 if small => Err(Reason::SmallInitial),
        0 => Ok(Kind::Initial),
        1 => Ok(Kind::ZeroRtt),
        2 => Ok(Kind::Handshake),
        _ => Err(Reason::ServerOnly),
    }
}

/// Reads a connection ID.
///
/// It reads 20 octets whatever the length and clears the rest, which is faster than a
/// loop. No packet is too short for that and yet valid: behind its connection ID come at
/// least 20 octets for header protection (RFC 9001 section 5.4.2), and what may be
/// shorter, an unknown version, has 1200 octets at least.
#[inline(always)]
fn connection_id<B: Bytes + ?Sized>(packet: &B, payload: Payload, place: ShortOrLong) -> Result<ConnectionId, Reason> {
    if payload.length < place.at + MAX_LENGTH {
        return Err(Reason::Truncated);
    }
    let bytes = packet.read(payload.at + place.at).ok_or(Reason::Truncated)?;
    Ok(ConnectionId::from_first(place.length, bytes))
}

/// First octet, version and the length of the connection ID come before it.
const LONG_ID_AT: usize = 6;
const LONG_HEADER: u8 = 0x80;
const NEGOTIATION: u32 = 0;
const VERSION_1: u32 = 1;
const VERSION_2: u32 = 0x6b33_43cf;
