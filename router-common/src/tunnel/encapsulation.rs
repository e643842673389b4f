//! The near end: the headers around a packet that is forwarded.

use super::{Header, InnerPacket, TunnelKey, header::HEADER_LENGTH};
use crate::{
    bytes::{Bytes, Octets},
    frame::{ETHERNET_LENGTH, HOPS, IPV4, IPV4_LENGTH, IPV6, IPV6_LENGTH, UDP, UDP_LENGTH, checksum},
    identifiers::NodeId,
    maps::Node,
};

/// How a frame goes to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// From where it is looked at, by a kernel program.
    Packet(InnerPacket),
    /// By a worker: the packet is not plain, or only workers' sockets lead there.
    Worker,
    /// Not at all: it is longer than what fits.
    TooLong,
}

impl Leaving {
    /// The way of a frame to `node`.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized>(frame: &B, node: &Node) -> Self {
        let Some(Octets::<2>(ethertype)) = frame.read(ETHERNET_LENGTH - 2).filter(|_| node.interface().is_some())
        else {
            return Self::Worker;
        };
        let packet = match u16::from_be_bytes(ethertype) {
            IPV4 => InnerPacket::ipv4::<ETHERNET_LENGTH, B>(frame),
            IPV6 => InnerPacket::ipv6::<ETHERNET_LENGTH, B>(frame),
            _ => None,
        };
        match packet {
            Some(packet) if packet.length > node.longest() => Self::TooLong,
            Some(packet) => Self::Packet(packet),
            None => Self::Worker,
        }
    }
}

/// Octets of the longest outer headers, with an Ethernet header before them.
pub const OUTER_MAX: usize = ETHERNET_LENGTH + IPV6_LENGTH + UDP_LENGTH + HEADER_LENGTH;

/// Octets that a tunnel puts before an inner packet: 44 over IPv4, 64 over IPv6.
#[inline(always)]
pub const fn outer_length(is_ipv4: bool) -> usize {
    (if is_ipv4 { IPV4_LENGTH } else { IPV6_LENGTH }) + UDP_LENGTH + HEADER_LENGTH
}

/// The headers around a packet, Ethernet's among them.
///
/// As words, each with its first octet the highest. Two octets before the first header are left out, so that the IP header
/// begins a word.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outer {
    words: [u64; OUTER_WORDS],
}

/// Words of [`Outer`].
pub const OUTER_WORDS: usize = 10;

impl Outer {
    /// No headers yet.
    pub const EMPTY: Self = Self { words: [0; OUTER_WORDS] };

    /// Writes the headers around `packet` for its way to another node; how many octets there are.
    #[inline(always)]
    pub fn write(&mut self, packet: &InnerPacket, sender: NodeId, to: Receiver<'_>) -> usize {
        let Receiver { key, node } = to;
        let header = Header { is_ipv4: packet.is_ipv4, key: key.octet(), sender, tag: key.tag(sender, &packet.inner) };
        let length = UDP_LENGTH + HEADER_LENGTH + packet.length;
        let ports = u64::from(source_port(packet)) << 16 | u64::from(node.port());
        let [gue, private, tag] = header.words();
        let (from, to) = (node.source(), node.address());
        let words = &mut self.words;
        words[0] = number(node.neighbour_mac());
        if to.is_ipv4() {
            let ([_, from], [_, to]) = (from.words(), to.words());
            let (from, to) = (from & LOW_HALF, to & LOW_HALF);
            let total = (IPV4_LENGTH + length) as u64;
            let first = 0x4500_0000_0000_4000 | u64::from(packet.ds) << 48 | total << 32;
            let hops = u64::from(u16::from_be_bytes([HOPS, UDP]));
            // It may not be fragmented, and has no identification then (RFC 6864 section 4.1).
            let sum =
                (first >> 48) + total + 0x4000 + hops + (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff);
            words[1] = number(node.own_mac()) << 16 | u64::from(IPV4);
            words[2] = first;
            words[3] = hops << 48 | u64::from(checksum(sum as u32)) << 32 | from;
            words[4] = to << 32 | ports;
            words[5] = (length as u64) << 48 | gue;
            words[6] = private << 32 | tag >> 32;
            words[7] = tag << 32;
        } else {
            let first = 0x6000_0000_0000_0000 | u64::from(packet.ds) << 52;
            words[1] = number(node.own_mac()) << 16 | u64::from(IPV6);
            words[2] = first | (length as u64) << 16 | u64::from(u16::from_be_bytes([UDP, HOPS]));
            [words[3], words[4]] = from.words();
            [words[5], words[6]] = to.words();
            words[7] = ports << 32 | (length as u64) << 16;
            words[8] = gue << 32 | private;
            words[9] = tag;
        }
        ETHERNET_LENGTH + outer_length(to.is_ipv4())
    }

    /// The word at `index`, its octets as they stand in a packet; those of the first are its last six.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u64 {
        self.words[index].to_be()
    }

    /// The octets: [`write`](Self::write) has said how many there are.
    pub fn octets(&self) -> [u8; OUTER_MAX] {
        let mut octets = [0; OUTER_MAX];
        let all = self.words.iter().flat_map(|word| word.to_be_bytes()).skip(2);
        octets.iter_mut().zip(all).for_each(|(to, octet)| *to = octet);
        octets
    }
}

const _: () = assert!(OUTER_MAX == 8 * OUTER_WORDS - 2);

/// Who a packet is for, and what vouches for it there.
#[derive(Clone, Copy)]
pub struct Receiver<'a> {
    /// The key.
    pub key: &'a TunnelKey,
    /// The node.
    pub node: &'a Node,
}

/// A link address as a number.
#[inline(always)]
fn number([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

const LOW_HALF: u64 = 0xffff_ffff;

/// The outer source port: one of a flow's own, so that the far end's receive queues share the flows.
#[inline(always)]
fn source_port(packet: &InnerPacket) -> u16 {
    let ([_, from], [_, to]) = (packet.inner.source.address.words(), packet.inner.destination.address.words());
    let ports = u64::from(packet.inner.source.port) << 16 | u64::from(packet.inner.destination.port);
    let mixed = (from ^ to.rotate_left(32) ^ ports).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    EPHEMERAL | (mixed >> 50) as u16
}

/// The dynamic ports (RFC 6335 section 6): the upper quarter.
const EPHEMERAL: u16 = 0xc000;
