//! The near end: the headers around a packet that is forwarded.

use super::{Header, InnerPacket, TunnelKey, header::HEADER_LENGTH};
use crate::{
    bytes::{Bytes, Octets},
    frame::{Address, ETHERNET_LENGTH, HOPS, IPV4, IPV4_LENGTH, IPV6, IPV6_LENGTH, UDP, UDP_LENGTH, checksum},
    identifiers::NodeId,
    maps::Node,
};

/// How a frame goes to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leaving {
    /// From where it is looked at, by a kernel program.
    Packet {
        /// The packet in it.
        packet: InnerPacket,
        /// Whether it is IPv4; it is IPv6, else.
        is_ipv4: bool,
    },
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
        let (packet, is_ipv4) = match u16::from_be_bytes(ethertype) {
            IPV4 => (InnerPacket::read::<ETHERNET_LENGTH, B>(frame, true), true),
            IPV6 => (InnerPacket::read::<ETHERNET_LENGTH, B>(frame, false), false),
            _ => return Self::Worker,
        };
        match packet {
            Some(packet) if packet.length > node.longest() => Self::TooLong,
            Some(packet) => Self::Packet { packet, is_ipv4 },
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

/// The octets of the headers, Ethernet's among them, in a buffer for whole words: [`OUTER_MAX`] are used at most.
pub type Outer = Octets<80>;

impl Outer {
    /// No headers yet.
    pub const EMPTY: Self = Octets([0; 80]);

    /// Writes the headers around `packet`, of a family, for its way to `node`; the octets that there are, Ethernet's
    /// among them.
    #[inline(always)]
    pub fn write(
        &mut self,
        packet: &InnerPacket,
        is_ipv4: bool,
        sender: NodeId,
        (key, node): (&TunnelKey, &Node),
    ) -> usize {
        let tag = key.tag(sender, &packet.inner);
        let header = Header { is_ipv4, key: key.octet(), sender, tag }.octets();
        let length = (UDP_LENGTH + HEADER_LENGTH + packet.length) as u16;
        let [s0, s1] = source_port(packet).to_be_bytes();
        let ([d0, d1], [l0, l1]) = (node.port().to_be_bytes(), length.to_be_bytes());
        let udp = Octets([s0, s1, d0, d1, l0, l1, 0, 0]);
        self.put::<0, 6>(&Octets(node.neighbour_mac()));
        self.put::<6, 6>(&Octets(node.own_mac()));
        let (from, to) = (node.source(), node.address());
        if to.is_ipv4() {
            self.put::<12, 2>(&Octets(IPV4.to_be_bytes()));
            self.put::<14, IPV4_LENGTH>(&ipv4(from, to, packet.ds, length));
            self.put::<34, UDP_LENGTH>(&udp);
            self.put::<42, HEADER_LENGTH>(&header);
        } else {
            let [first, second] = (0x6000 | u16::from(packet.ds) << 4).to_be_bytes();
            self.put::<12, 2>(&Octets(IPV6.to_be_bytes()));
            self.put::<14, 8>(&Octets([first, second, 0, 0, l0, l1, UDP, HOPS]));
            self.put::<22, 16>(&from.octets());
            self.put::<38, 16>(&to.octets());
            self.put::<54, UDP_LENGTH>(&udp);
            self.put::<62, HEADER_LENGTH>(&header);
        }
        ETHERNET_LENGTH + outer_length(to.is_ipv4())
    }
}

/// An IPv4 header (RFC 791 section 3.1) around a datagram of `length` octets. It may not be fragmented, and has no
/// identification then (RFC 6864 section 4.1).
#[inline(always)]
fn ipv4(from: Address, to: Address, ds: u8, length: u16) -> Octets<IPV4_LENGTH> {
    let total = IPV4_LENGTH as u16 + length;
    let fixed = 0x4500 + u32::from(ds) + 0x4000 + u32::from(u16::from_be_bytes([HOPS, UDP])) + u32::from(total);
    let [c0, c1] = checksum(fixed + from.sum() + to.sum()).to_be_bytes();
    let ([l0, l1], Octets(f), Octets(t)) = (total.to_be_bytes(), from.octets(), to.octets());
    Octets([0x45, ds, l0, l1, 0, 0, 0x40, 0, HOPS, UDP, c0, c1, f[12], f[13], f[14], f[15], t[12], t[13], t[14], t[15]])
}

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
