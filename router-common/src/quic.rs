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

/// The versions that connections may have: what Version Negotiation offers, in this order.
pub const SUPPORTED_VERSIONS: [u32; 1] = [VERSION_1];

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

/// What a long header says (RFC 8999 section 5.1), of which [`classify`] reads only what steers a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongHeader {
    /// The version.
    pub version: u32,
    /// The destination connection ID.
    pub destination: ConnectionId,
    /// The source connection ID.
    pub source: ConnectionId,
    /// Octets of all this: what follows is the version's own.
    pub length: usize,
}

/// Reads the long header of the first packet in `payload`. `None` unless that is one, with connection IDs of at most
/// 20 octets each, in a datagram that may carry an Initial.
#[inline(always)]
pub fn long_header<B: Bytes + ?Sized>(packet: &B, payload: Payload) -> Option<LongHeader> {
    let Octets::<6>([first, v0, v1, v2, v3, length]) = packet.read(payload.at)?;
    if first & LONG_HEADER == 0 || payload.length < MIN_INITIAL_DATAGRAM {
        return None;
    }
    let destination = long_id(packet, payload.at + LONG_ID_AT, length)?;
    let length_at = LONG_ID_AT + destination.len();
    let Octets::<2>([length, _]) = packet.read(payload.at + length_at)?;
    let source = long_id(packet, payload.at + length_at + 1, length)?;
    let version = u32::from_be_bytes([v0, v1, v2, v3]);
    Some(LongHeader { version, destination, source, length: length_at + 1 + source.len() })
}

/// Reads a connection ID of at most 20 octets, in a datagram that has more behind it.
#[inline(always)]
fn long_id<B: Bytes + ?Sized>(packet: &B, at: usize, length: u8) -> Option<ConnectionId> {
    let length = usize::from(length);
    if length > MAX_LENGTH {
        return None;
    }
    Some(ConnectionId::from_first(length, packet.read(at)?))
}

/// Where the token of an Initial is (RFC 9000 section 17.2.2) whose long header is `header`; of no octets, if it has
/// none. `None` if it is longer than the datagram.
#[inline(always)]
pub fn initial_token<B: Bytes + ?Sized>(packet: &B, payload: Payload, header: &LongHeader) -> Option<Payload> {
    // A variable-length integer (RFC 9000 section 16): the logarithm of its octets, then its value. They are 1, 2, 4
    // or 8: of a mask the kernel's verifier knows the range, of a shift to the left it does not.
    let word = u64::from_be_bytes(packet.read(payload.at + header.length)?.0);
    let octets = 0x8421_usize >> (4 * (word >> 62)) & 0xf;
    let length = word << 2 >> 2 >> (64 - 8 * octets);
    let at = header.length + octets;
    let fits = length <= payload.length.saturating_sub(at) as u64;
    fits.then_some(Payload { at: payload.at + at, length: length as usize })
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
/// Sets a long header apart from a short one, in the first octet (RFC 8999 section 5).
pub const LONG_HEADER: u8 = 0x80;
/// The version of a Version Negotiation packet (RFC 8999 section 6).
pub const NEGOTIATION: u32 = 0;
/// Version 1 (RFC 9000).
pub const VERSION_1: u32 = 1;
const VERSION_2: u32 = 0x6b33_43cf;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn id() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..=20)
    }

    /// A packet behind some octets of other headers.
    fn packet(header: &[u8], length: usize) -> (Vec<u8>, Payload) {
        let mut packet = std::vec![0xee; 42];
        packet.extend(header);
        packet.resize(42 + length, 0xdd);
        (packet, Payload { at: 42, length })
    }

    proptest! {
        #[test]
        fn a_long_header_and_its_token(
            version: u32,
            (destination, source) in (id(), id()),
            token in proptest::collection::vec(any::<u8>(), 0..200),
            width in 0..4_u32,
        ) {
            let mut header = std::vec![0xc0];
            header.extend(version.to_be_bytes());
            for id in [&destination, &source] {
                header.push(id.len() as u8);
                header.extend(id);
            }
            let length = header.len();
            // Lengths need not have the shortest form.
            let width = width.max(u32::from(token.len() > 63));
            let number = (token.len() as u64 | u64::from(width) << (8 * (1 << width) - 2)).to_be_bytes();
            header.extend(&number[8 - (1 << width)..]);
            header.extend(&token);
            let (packet, payload) = packet(&header, 1_200);
            let read = long_header(&packet[..], payload).unwrap();
            let id = |octets: &[u8]| ConnectionId::new(octets).unwrap();
            prop_assert_eq!(read, LongHeader { version, destination: id(&destination), source: id(&source), length });
            let place = initial_token(&packet[..], payload, &read).unwrap();
            prop_assert_eq!(&packet[place.at..place.at + place.length], &token[..]);
        }

        /// Whatever the octets, reading ends, and a token lies within its datagram.
        #[test]
        fn a_token_lies_within_its_datagram(
            destination in 0..=20_u8,
            header in proptest::collection::vec(any::<u8>(), 6..60),
            length in 1_190..1_210_usize,
        ) {
            let mut header = header;
            header[5] = destination;
            let (packet, payload) = packet(&header, length);
            if let Some(header) = long_header(&packet[..], payload)
                && let Some(place) = initial_token(&packet[..], payload, &header)
            {
                prop_assert!(place.at + place.length <= packet.len());
            }
        }
    }

    #[test]
    fn what_is_no_long_header_of_a_first_flight() {
        for (header, length) in [
            (&[0x40, 0, 0, 0, 1, 0, 0][..], 1_200),
            (&[0xc0, 0, 0, 0, 1, 0, 0], 1_199),
            (&[0xc0, 0, 0, 0, 1, 21, 0], 1_200),
            (&[0xc0, 0, 0, 0, 1, 0, 21], 1_200),
        ] {
            let (packet, payload) = packet(header, length);
            assert_eq!(long_header(&packet[..], payload), None, "{header:x?}");
        }
    }
}
