//! The far end: which packets of a tunnel are taken.

use super::{Header, InnerPacket, TunnelKeys, Unreadable, decapsulated, header::HEADER_LENGTH, inner::words};
use crate::{bytes::Bytes, frame::Address, identifiers::NodeId, maps::Node, reason::Reason};

/// A packet that another node has forwarded, as it came out of the tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Who forwarded it.
    pub sender: NodeId,
    /// The packet, from [`HEADER_LENGTH`] octets behind the beginning of the outer UDP payload on.
    pub packet: InnerPacket,
    /// The DS field that it has from now on.
    pub ds: u8,
}

/// What is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It is for the socket that the tunnel's port has: a control message.
    Control,
    /// No node of this cluster made it, or not for this packet.
    Forged {
        /// The node that it claims to be of, where there is such a one.
        sender: Option<NodeId>,
    },
}

impl Refused {
    /// Why.
    #[inline(always)]
    pub fn reason(self) -> Reason {
        match self {
            Self::Control => Reason::TunnelSocket,
            Self::Forged { .. } => Reason::TunnelForged,
        }
    }
}

/// What came in a tunnel's outer packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OuterFacts {
    /// Its source address.
    pub source: Address,
    /// Its DS field.
    pub ds: u8,
    /// Octets of its UDP payload.
    pub payload_length: usize,
    /// The first 16 of them, as two words, the first octet of each the highest.
    pub header: [u64; 2],
}

/// Opens the tunnel's packet whose inner packet begins at `INNER` of `packet`.
///
/// # Errors
/// If it is none of a node's, by its form, the sender's address, and the tag.
#[inline(always)]
pub fn open<'a, const INNER: usize, B: Bytes + ?Sized>(
    packet: &B,
    outer: &OuterFacts,
    keys: Option<&TunnelKeys>,
    node: impl FnOnce(NodeId) -> Option<&'a Node>,
) -> Result<Opened, Refused> {
    let forged = Refused::Forged { sender: None };
    let header = match Header::of_words(outer.header) {
        Ok(header) => header,
        Err(Unreadable::Control) => return Err(Refused::Control),
        Err(Unreadable::Malformed) => return Err(forged),
    };
    let sender = header.sender;
    let is_the_senders = node(sender).ok_or(forged)?.address() == outer.source;
    let forged = Refused::Forged { sender: Some(sender) };
    let inner = match header.is_ipv4 {
        true => InnerPacket::ipv4::<INNER, B>(packet),
        false => InnerPacket::ipv6::<INNER, B>(packet),
    }
    .ok_or(forged)?;
    let key = keys.and_then(|keys| keys.of(header.key)).ok_or(forged)?;
    let is_whole = inner.length + HEADER_LENGTH == outer.payload_length;
    // One comparison, whatever differs.
    let is_genuine = key.tag(sender, &inner.inner) ^ header.tag == 0;
    if !(is_the_senders && is_whole && is_genuine) {
        return Err(forged);
    }
    let ds = decapsulated(inner.ds, outer.ds).ok_or(forged)?;
    Ok(Opened { sender, packet: inner, ds })
}

/// What a socket tells of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CameFrom {
    /// Its source address.
    pub source: Address,
    /// Its DS field.
    pub ds: u8,
}

/// Opens the UDP payload that a tunnel's socket has received; the inner packet begins at its octet [`HEADER_LENGTH`].
///
/// # Errors
/// As of [`open`]; also if it is too short to say anything.
pub fn open_payload<'a>(
    payload: &[u8],
    from: CameFrom,
    keys: &TunnelKeys,
    node: impl FnOnce(NodeId) -> Option<&'a Node>,
) -> Result<Opened, Refused> {
    let Some(header) = payload.first_chunk::<HEADER_LENGTH>() else {
        // The shortest control message is 4 octets.
        let is_control = payload.first().is_some_and(|first| first & 0xe0 == 0x20);
        return Err(if is_control { Refused::Control } else { Refused::Forged { sender: None } });
    };
    let CameFrom { source, ds } = from;
    let outer = OuterFacts { source, ds, payload_length: payload.len(), header: words(*header) };
    open::<HEADER_LENGTH, _>(payload, &outer, Some(keys), node)
}
