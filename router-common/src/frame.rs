//! Parse: from the Ethernet header to the UDP payload.
//!
//! Up to two VLAN tags, IPv4 with options, IPv6 with extension headers. IPv4 and IPv6
//! differ in one function each, and meet again in [`Datagram`]. Nothing here drops: what
//! cannot be read is left to the kernel, with the reason.

use core::net::{IpAddr, SocketAddr};

use crate::{
    bytes::{Bytes, Octets},
    reason::Reason,
};

/// A UDP datagram within a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub source: Endpoint,
    /// The address and port that it is sent to.
    pub destination: Endpoint,
    /// Where its payload is.
    pub payload: Payload,
}

impl Datagram {
    /// Whether nothing stands before the payload but an Ethernet, an IP and a UDP header, each of
    /// the plainest form: no VLAN tag, no IP options, no extension headers.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        let network = if self.destination.address.is_ipv4() { IPV4_LENGTH } else { IPV6_LENGTH };
        self.payload.at == ETHERNET_LENGTH + network + UDP_LENGTH
    }
}

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// IPv6, or IPv4 mapped into it.
    pub address: Address,
    /// UDP port.
    pub port: u16,
}

impl Endpoint {
    /// Whether an answer can be sent there: a unicast address and a port other than 0. Anything else as a
    /// source is forged, and the kernel refuses to send to it.
    #[inline(always)]
    pub fn can_be_answered(&self) -> bool {
        self.port != 0 && self.address.is_unicast()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address: address.ip().into(), port: address.port() }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::ipv4(address.octets()),
            IpAddr::V6(address) => Self::new(address.octets()),
        }
    }
}

/// An IPv6 address, or an IPv4 address mapped into one (`::ffff:a.b.c.d`, RFC 4291 section
/// 2.5.5.2), kept as two words of its octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    first: u64,
    second: u64,
}

impl Address {
    /// `::`
    pub const UNSPECIFIED: Self = Self { first: 0, second: 0 };

    /// The IPv6 address with these octets.
    #[inline(always)]
    pub const fn new(o: [u8; 16]) -> Self {
        Self {
            first: u64::from_le_bytes([o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7]]),
            second: u64::from_le_bytes([o[8], o[9], o[10], o[11], o[12], o[13], o[14], o[15]]),
        }
    }

    /// The IPv4 address with these octets, mapped.
    #[inline(always)]
    pub const fn ipv4(octets: [u8; 4]) -> Self {
        Self { first: 0, second: (u32::from_le_bytes(octets) as u64) << 32 | MAPPED_PREFIX }
    }

    /// Its octets.
    #[inline(always)]
    pub fn octets(self) -> Octets<16> {
        let mut octets = Octets([0; 16]);
        let (words, _) = octets.0.as_chunks_mut::<8>();
        words[0] = self.first.to_le_bytes();
        words[1] = self.second.to_le_bytes();
        octets
    }

    /// Its octets as two numbers, the first octet of each the highest.
    #[inline(always)]
    pub(crate) fn words(self) -> [u64; 2] {
        [self.first.swap_bytes(), self.second.swap_bytes()]
    }

    /// The address with these words.
    #[inline(always)]
    pub(crate) fn of_words([first, second]: [u64; 2]) -> Self {
        Self { first: first.swap_bytes(), second: second.swap_bytes() }
    }

    /// The unspecified address of the same family.
    #[inline(always)]
    pub fn unspecified(self) -> Self {
        Self { first: 0, second: if self.is_ipv4() { MAPPED_PREFIX } else { 0 } }
    }

    /// Whether it is one of those that hosts have beyond their link. What else stands as the source of
    /// a packet, the kernel's stack judges: this network, loopback, multicast, link-local, mapped.
    #[inline(always)]
    pub fn is_ordinary(self) -> bool {
        let Octets(octets) = self.octets();
        match self.is_ipv4() {
            true => !matches!(octets[12], 0 | 127 | 224..),
            // Global unicast (2000::/3), and unique local (fc00::/7).
            false => octets[0] & 0xe0 == 0x20 || octets[0] & 0xfe == 0xfc,
        }
    }

    /// Whether it is one host's: not unspecified, multicast or the limited broadcast address
    /// (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2 and 2.7).
    #[inline(always)]
    pub fn is_unicast(self) -> bool {
        let Octets(octets) = self.octets();
        if self.is_ipv4() {
            let address = (self.second >> 32) as u32;
            address != 0 && address != u32::MAX && !matches!(octets[12], 224..=239)
        } else {
            self != Self::UNSPECIFIED && octets[0] != 0xff
        }
    }

    /// Whether it says by its bits alone that it is for many hosts: multicast (RFC 5771, RFC 4291 section
    /// 2.7) or the limited broadcast address (RFC 919). A subnet's broadcast address does not.
    #[inline(always)]
    pub fn is_for_many(self) -> bool {
        let Octets(octets) = self.octets();
        match self.is_ipv4() {
            true => matches!(octets[12], 224..=239) || (self.second >> 32) as u32 == u32::MAX,
            false => octets[0] == 0xff,
        }
    }

    /// Whether it holds on one link only: fe80::/10 (RFC 4291 section 2.5.6).
    #[inline(always)]
    pub fn is_link_local(self) -> bool {
        let Octets([first, second, ..]) = self.octets();
        first == 0xfe && second & 0xc0 == 0x80
    }

    /// The sum of its 16-bit words, for the Internet checksum (RFC 1071): of an IPv4 address, its own two.
    #[inline(always)]
    pub(crate) fn sum(self) -> u32 {
        let half = |word: u64| {
            let halves = (word & 0x0000_ffff_0000_ffff) + (word >> 16 & 0x0000_ffff_0000_ffff);
            (halves as u32) + (halves >> 32) as u32
        };
        if self.is_ipv4() {
            half(self.second.swap_bytes() & 0xffff_ffff)
        } else {
            half(self.first.swap_bytes()) + half(self.second.swap_bytes())
        }
    }

    /// Whether it is an IPv4 address, mapped.
    #[inline(always)]
    pub fn is_ipv4(self) -> bool {
        self.first == 0 && self.second & 0xffff_ffff == MAPPED_PREFIX
    }
}

/// The octets 0, 0, ff, ff that stand before a mapped IPv4 address, as the lower half of a word.
const MAPPED_PREFIX: u64 = 0xffff_0000;

/// The payload of a UDP datagram, by its place in the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload {
    /// Offset of its first octet.
    pub at: usize,
    /// Octets, by the UDP header (0 to 65,527).
    pub length: usize,
}

/// Finds the datagram in a frame; the reason to pass the frame on where there is none.
#[inline(always)]
pub fn parse<B: Bytes + ?Sized>(frame: &B) -> Result<Datagram, Reason> {
    let (ethertype, at) = ethertype(frame).ok_or(Reason::Malformed)?;
    let packet = match ethertype {
        IPV4 => ipv4(frame, at)?,
        IPV6 => ipv6(frame, at)?,
        _ => return Err(Reason::NotIp),
    };
    udp(frame, packet)
}

/// What the network layer says, with the offset of the transport header.
struct Packet {
    source: Address,
    destination: Address,
    transport_at: usize,
    end: usize,
}

/// The innermost EtherType and where its header begins, behind up to two VLAN tags.
#[inline(always)]
fn ethertype<B: Bytes + ?Sized>(frame: &B) -> Option<(u16, usize)> {
    let mut at = ETHERNET_LENGTH;
    let mut ethertype = u16::from_be_bytes(frame.read(at - 2)?.0);
    for _ in 0..MAX_VLAN_TAGS {
        if ethertype != VLAN && ethertype != QINQ {
            break;
        }
        at += VLAN_TAG_LENGTH;
        ethertype = u16::from_be_bytes(frame.read(at - 2)?.0);
    }
    Some((ethertype, at))
}

/// RFC 791 section 3.1.
#[inline(always)]
fn ipv4<B: Bytes + ?Sized>(frame: &B, at: usize) -> Result<Packet, Reason> {
    let Octets::<20>(header) = frame.read(at).ok_or(Reason::Malformed)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_length < 20 {
        return Err(Reason::Malformed);
    }
    if header[9] != UDP {
        return Err(Reason::NotUdp);
    }
    let more_fragments_or_offset = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    if more_fragments_or_offset != 0 {
        return Err(Reason::Fragment);
    }
    Ok(Packet {
        source: Address::ipv4([header[12], header[13], header[14], header[15]]),
        destination: Address::ipv4([header[16], header[17], header[18], header[19]]),
        transport_at: at + header_length,
        end: at + usize::from(u16::from_be_bytes([header[2], header[3]])),
    })
}

/// RFC 8200 sections 3 and 4.
#[inline(always)]
fn ipv6<B: Bytes + ?Sized>(frame: &B, at: usize) -> Result<Packet, Reason> {
    let Octets::<8>(first) = frame.read(at).ok_or(Reason::Malformed)?;
    if first[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let header_end = at + IPV6_LENGTH;
    Ok(Packet {
        source: Address::new(frame.read(at + 8).ok_or(Reason::Malformed)?.0),
        destination: Address::new(frame.read(at + 24).ok_or(Reason::Malformed)?.0),
        transport_at: skip_extensions(frame, first[6], header_end)?,
        end: header_end + usize::from(u16::from_be_bytes([first[4], first[5]])),
    })
}

/// Where the UDP header begins, behind IPv6 extension headers (RFC 8200 section 4.1).
#[inline(always)]
fn skip_extensions<B: Bytes + ?Sized>(frame: &B, mut next: u8, mut at: usize) -> Result<usize, Reason> {
    for _ in 0..MAX_EXTENSIONS {
        match next {
            UDP => return Ok(at),
            FRAGMENT => return Err(Reason::Fragment),
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let Octets::<2>([following, length]) = frame.read(at).ok_or(Reason::Malformed)?;
                next = following;
                at += (usize::from(length) + 1) * 8;
            }
            _ => return Err(Reason::NotUdp),
        }
    }
    if next == UDP { Ok(at) } else { Err(Reason::NotUdp) }
}

/// RFC 768; the payload has to lie within the IP packet and the frame.
#[inline(always)]
fn udp<B: Bytes + ?Sized>(frame: &B, packet: Packet) -> Result<Datagram, Reason> {
    let Octets::<UDP_LENGTH>(header) = frame.read(packet.transport_at).ok_or(Reason::Malformed)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let end = packet.transport_at + length;
    if length < UDP_LENGTH || end > packet.end || !frame.holds(packet.end) {
        return Err(Reason::Malformed);
    }
    Ok(Datagram {
        source: Endpoint { address: packet.source, port: u16::from_be_bytes([header[0], header[1]]) },
        destination: Endpoint { address: packet.destination, port: u16::from_be_bytes([header[2], header[3]]) },
        payload: Payload { at: packet.transport_at + UDP_LENGTH, length: length - UDP_LENGTH },
    })
}

/// Octets of an Ethernet header without VLAN tags.
pub const ETHERNET_LENGTH: usize = 14;
const VLAN_TAG_LENGTH: usize = 4;
const MAX_VLAN_TAGS: usize = 2;
/// Octets of an IPv4 header without options (RFC 791 section 3.1).
pub const IPV4_LENGTH: usize = 20;
/// Octets of an IPv6 header without extensions (RFC 8200 section 3).
pub const IPV6_LENGTH: usize = 40;
/// Octets of a UDP header (RFC 768).
pub const UDP_LENGTH: usize = 8;
/// More extension headers than real hosts send; what has more is left to the kernel.
const MAX_EXTENSIONS: usize = 6;

/// The EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// The EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

/// Time to live, hop limit: what Linux sends with.
pub(crate) const HOPS: u8 = 64;

/// The Internet checksum (RFC 1071) of 16-bit words with this sum.
#[inline(always)]
pub(crate) fn checksum(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// A checksum after one of its 16-bit words has changed (RFC 1624).
#[inline(always)]
pub fn updated_checksum(sum: u16, was: u16, is: u16) -> u16 {
    checksum(u32::from(!sum) + u32::from(!was) + u32::from(is))
}

/// The protocol number of UDP.
pub const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION: u8 = 60;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the bytes, the parser ends, and what it finds lies within them.
        #[test]
        fn a_payload_lies_within_the_frame(frame: std::vec::Vec<u8>) {
            if let Ok(datagram) = parse(&frame[..]) {
                prop_assert!(datagram.payload.at + datagram.payload.length <= frame.len());
            }
        }

        /// The same with frames that get past the first checks.
        #[test]
        fn a_payload_lies_within_an_ip_frame(v6: bool, header: [u8; 60], rest: std::vec::Vec<u8>) {
            let mut frame = std::vec![0; 12];
            frame.extend(if v6 { [0x86, 0xdd, 0x60] } else { [0x08, 0x00, 0x45] });
            frame.extend(header);
            frame.extend(rest);
            frame[if v6 { 20 } else { 23 }] = UDP;
            if let Ok(datagram) = parse(&frame[..]) {
                prop_assert!(datagram.payload.at + datagram.payload.length <= frame.len());
            }
        }
    }
}
