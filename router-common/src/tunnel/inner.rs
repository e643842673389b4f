//! The packet within a tunnel, or on its way into one: IP and UDP in their plainest form.
//!
//! What is not plain (options, extension headers, fragments) is forwarded by a worker, which has the datagram by then and
//! makes a plain packet of it.

use crate::{
    bytes::{Bytes, Octets},
    frame::{Address, Datagram, ETHERNET_LENGTH, Endpoint, IPV4_LENGTH, IPV6_LENGTH, Payload, UDP, UDP_LENGTH},
};

/// What the tag of a forwarded packet is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inner {
    /// Who sent it.
    pub source: Endpoint,
    /// The address and port that it was sent to.
    pub destination: Endpoint,
    /// Octets of its payload.
    pub payload_length: u16,
    /// The first 16 of them.
    pub payload: [u64; 2],
}

/// A plain packet: the datagram, and what its IP header says besides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InnerPacket {
    /// Whether it is IPv4; it is IPv6, else.
    pub is_ipv4: bool,
    /// The datagram.
    pub inner: Inner,
    /// The DS field: code point (upper 6 bits) and congestion mark (lower 2).
    pub ds: u8,
    /// Octets of the packet, from its IP header on.
    pub length: usize,
}

impl InnerPacket {
    /// The IPv4 packet (RFC 791 section 3.1) that begins at `AT`; `None` if it is not plain, or not whole, or has less than
    /// 16 octets of payload.
    #[inline(always)]
    pub fn ipv4<const AT: usize, B: Bytes + ?Sized>(packet: &B) -> Option<Self> {
        let Octets::<IPV4_LENGTH>(header) = packet.read(AT)?;
        // More fragments, or an offset.
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
        if header[0] != IPV4_FIRST || header[9] != UDP || fragment != 0 {
            return None;
        }
        let length = u16::from_be_bytes([header[2], header[3]]);
        let source = Address::ipv4([header[12], header[13], header[14], header[15]]);
        let destination = Address::ipv4([header[16], header[17], header[18], header[19]]);
        let udp = udp(packet, AT + IPV4_LENGTH, [source, destination])?;
        let is_whole = usize::from(udp.payload_length) + IPV4_LENGTH + UDP_LENGTH == usize::from(length);
        is_whole.then_some(Self { is_ipv4: true, inner: udp, ds: header[1], length: length.into() })
    }

    /// The same of an IPv6 packet (RFC 8200 section 3).
    #[inline(always)]
    pub fn ipv6<const AT: usize, B: Bytes + ?Sized>(packet: &B) -> Option<Self> {
        let Octets::<8>(first) = packet.read(AT)?;
        if first[0] >> 4 != 6 || first[6] != UDP {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([first[4], first[5]]));
        let source = Address::new(packet.read(AT + 8)?.0);
        let destination = Address::new(packet.read(AT + 24)?.0);
        let udp = udp(packet, AT + IPV6_LENGTH, [source, destination])?;
        let ds = first[0] << 4 | first[1] >> 4;
        let is_whole = usize::from(udp.payload_length) + UDP_LENGTH == length;
        is_whole.then_some(Self { is_ipv4: false, inner: udp, ds, length: IPV6_LENGTH + length })
    }

    /// Its datagram, in a frame where nothing but an Ethernet header stands before it.
    #[inline(always)]
    pub fn datagram(&self) -> Datagram {
        let Inner { source, destination, payload_length, .. } = self.inner;
        let network = if self.is_ipv4 { IPV4_LENGTH } else { IPV6_LENGTH };
        let payload = Payload { at: ETHERNET_LENGTH + network + UDP_LENGTH, length: payload_length.into() };
        Datagram { source, destination, payload }
    }
}

/// RFC 768.
#[inline(always)]
fn udp<B: Bytes + ?Sized>(packet: &B, at: usize, [source, destination]: [Address; 2]) -> Option<Inner> {
    let Octets::<UDP_LENGTH>(header) = packet.read(at)?;
    let Octets::<16>(payload) = packet.read(at + UDP_LENGTH)?;
    let length = u16::from_be_bytes([header[4], header[5]]);
    Some(Inner {
        source: Endpoint { address: source, port: u16::from_be_bytes([header[0], header[1]]) },
        destination: Endpoint { address: destination, port: u16::from_be_bytes([header[2], header[3]]) },
        payload_length: length.checked_sub(UDP_LENGTH as u16)?,
        payload: words(payload),
    })
}

impl Inner {
    /// Of a datagram with this payload; `None` if it has less than 16 octets, or more than a datagram can.
    pub fn of(source: Endpoint, destination: Endpoint, payload: &[u8]) -> Option<Self> {
        let first = *payload.first_chunk::<16>()?;
        let payload_length = u16::try_from(payload.len()).ok()?;
        Some(Self { source, destination, payload_length, payload: words(first) })
    }
}

/// 16 octets as two words, the first octet of each the highest.
#[inline(always)]
pub(super) fn words(o: [u8; 16]) -> [u64; 2] {
    [
        u64::from_be_bytes([o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]]),
        u64::from_be_bytes([o[8], o[9], o[10], o[11], o[12], o[13], o[14], o[15]]),
    ]
}

/// The first octet of an IPv4 header without options.
const IPV4_FIRST: u8 = 0x45;
