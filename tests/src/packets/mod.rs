//! Frames, octet by octet: well-formed by default, broken where a test asks for it.
//!
//! Lengths and checksums are computed in [`Packet::frame`]; what a test spoils on purpose
//! ([`Packet::overwrite`], [`Packet::cut`]) is spoilt after that.

mod cases;
pub mod cluster;
mod kernel;
pub mod quic;
mod random;
mod running;
mod world;

use self::cases::in_clear;
pub use self::{
    cases::{
        BLOCKS, BROADCAST, CID_LENGTH, Case, LISTENERS, LOCAL, NODE_ID, OF_ASKED, PLANTED_FLOWS, REFUSED_PORTS, SLOTS,
        cases, cid,
    },
    kernel::{Kernel, Tally},
    random::Random,
    running::{plant_flows, start},
    world::World,
};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IP packet in an Ethernet frame.
#[derive(Clone, Debug)]
pub struct Packet {
    macs: [[u8; 6]; 2],
    tags: Vec<[u16; 2]>,
    addresses: [IpAddr; 2],
    options: Vec<u8>,
    fragment: Option<Fragment>,
    extensions: Vec<u8>,
    transport: Transport,
    spoils: Vec<Spoil>,
}

#[derive(Clone, Copy, Debug)]
struct Fragment {
    offset: u16,
    more: MoreFragments,
}

/// The flag that all fragments of a packet have but the last (RFC 791 section 3.1, RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug)]
pub enum MoreFragments {
    /// It is the last.
    Clear,
    /// It is another.
    Set,
}

#[derive(Clone, Debug)]
enum Transport {
    Udp { ports: [u16; 2], payload: Vec<u8> },
    Tcp { ports: [u16; 2], flags: u8 },
    Echo { identifier: u16 },
    Other { protocol: u8, payload: Vec<u8> },
}

#[derive(Clone, Debug)]
enum Spoil {
    Overwrite { at: usize, octets: Vec<u8> },
    Cut { length: usize },
    Pad { octets: usize },
}

impl Packet {
    /// A UDP datagram. Both ends are IPv4, or both IPv6.
    pub fn udp(source: impl Into<SocketAddr>, destination: impl Into<SocketAddr>, payload: impl Into<Vec<u8>>) -> Self {
        let (source, destination) = (source.into(), destination.into());
        let ports = [source.port(), destination.port()];
        Self::new([source.ip(), destination.ip()], Transport::Udp { ports, payload: payload.into() })
    }

    /// A TCP segment with these flags and no data.
    pub fn tcp(source: impl Into<SocketAddr>, destination: impl Into<SocketAddr>, flags: u8) -> Self {
        let (source, destination) = (source.into(), destination.into());
        let ports = [source.port(), destination.port()];
        Self::new([source.ip(), destination.ip()], Transport::Tcp { ports, flags })
    }

    /// A ping: ICMP or ICMPv6 echo request.
    pub fn echo(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, identifier: u16) -> Self {
        Self::new([source.into(), destination.into()], Transport::Echo { identifier })
    }

    /// Any other protocol over IP.
    pub fn ip(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, protocol: u8) -> Self {
        Self::new([source.into(), destination.into()], Transport::Other { protocol, payload: vec![0; 32] })
    }

    fn new(addresses: [IpAddr; 2], transport: Transport) -> Self {
        Self {
            macs: [[0x02, 0x77, 0, 0, 0, 1], [0x02, 0x77, 0, 0, 0, 2]],
            tags: Vec::new(),
            addresses,
            options: Vec::new(),
            fragment: None,
            extensions: Vec::new(),
            transport,
            spoils: Vec::new(),
        }
    }

    /// One more 802.1Q tag, inside those there are.
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push([VLAN, id]);
        self
    }

    /// One more 802.1ad tag, inside those there are.
    pub fn service_vlan(mut self, id: u16) -> Self {
        self.tags.push([SERVICE_VLAN, id]);
        self
    }

    /// IPv4 options; a multiple of 4 octets, at most 40.
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.into();
        self
    }

    /// Makes it a fragment, beginning at `offset` (in units of 8 octets).
    pub fn fragment(mut self, offset: u16, more: MoreFragments) -> Self {
        self.fragment = Some(Fragment { offset, more });
        self
    }

    /// One more IPv6 extension header of this type, of 8 octets and empty, behind those there are.
    pub fn extension(mut self, next_header: u8) -> Self {
        self.extensions.push(next_header);
        self
    }

    /// Overwrites octets of the finished frame.
    pub fn overwrite(mut self, at: usize, octets: &[u8]) -> Self {
        self.spoils.push(Spoil::Overwrite { at, octets: octets.into() });
        self
    }

    /// Cuts the finished frame off after so many octets.
    pub fn cut(mut self, length: usize) -> Self {
        self.spoils.push(Spoil::Cut { length });
        self
    }

    /// Appends zeros to the finished frame, as Ethernet does with short ones.
    pub fn pad(mut self, octets: usize) -> Self {
        self.spoils.push(Spoil::Pad { octets });
        self
    }

    /// The whole frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut frame = self.macs.concat();
        for [kind, id] in &self.tags {
            frame.extend(kind.to_be_bytes());
            frame.extend(id.to_be_bytes());
        }
        match self.addresses {
            [IpAddr::V4(source), IpAddr::V4(destination)] => {
                frame.extend(0x0800_u16.to_be_bytes());
                frame.extend(self.ipv4(source, destination));
            }
            [IpAddr::V6(source), IpAddr::V6(destination)] => {
                frame.extend(0x86dd_u16.to_be_bytes());
                frame.extend(self.ipv6(source, destination));
            }
            mixed => panic!("one packet has addresses of both families: {mixed:?}"),
        }
        self.spoils.iter().for_each(|spoil| spoil.apply(&mut frame));
        frame
    }

    /// RFC 791 section 3.1.
    fn ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        assert!(self.options.len() <= 40 && self.options.len().is_multiple_of(4), "no legal IPv4 options");
        let (protocol, segment) = self.segment();
        let header_length = 20 + self.options.len();
        let fragment = self.fragment.map_or(DO_NOT_FRAGMENT, |at| (at.more as u16) << 13 | at.offset);
        let mut packet = vec![0x40 | (header_length / 4) as u8, 0];
        packet.extend(length(header_length + segment.len()));
        packet.extend([0x12, 0x34]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([HOPS, protocol, 0, 0]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(&self.options);
        let checksum = checksum(&packet);
        packet[10..12].copy_from_slice(&checksum);
        packet.extend(segment);
        packet
    }

    /// RFC 8200 sections 3 and 4.
    fn ipv6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
        let (protocol, segment) = self.segment();
        let mut chain = self.extensions.clone();
        chain.extend(self.fragment.map(|_| FRAGMENT));
        chain.push(protocol);
        let extensions: Vec<u8> = chain.windows(2).flat_map(|pair| self.extension_header(pair)).collect();
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(length(extensions.len() + segment.len()));
        packet.extend([chain[0], HOPS]);
        packet.extend(source.octets());
        packet.extend(destination.octets());
        packet.extend(extensions);
        packet.extend(segment);
        packet
    }

    /// The first header of `[this, next]`, 8 octets.
    fn extension_header(&self, pair: &[u8]) -> [u8; 8] {
        let (this, next) = (pair[0], pair[1]);
        match (this, self.fragment) {
            (FRAGMENT, Some(fragment)) => {
                let [high, low] = (fragment.offset << 3 | fragment.more as u16).to_be_bytes();
                [next, 0, high, low, 0, 0, 0, 1]
            }
            // A PadN option fills it (RFC 8200 section 4.2).
            _ => [next, 0, 1, 4, 0, 0, 0, 0],
        }
    }

    /// Protocol number and the IP packet's payload.
    fn segment(&self) -> (u8, Vec<u8>) {
        match &self.transport {
            Transport::Udp { ports, payload } => (UDP, self.udp_segment(*ports, payload)),
            Transport::Tcp { ports, flags } => (TCP, self.tcp_segment(*ports, *flags)),
            Transport::Echo { identifier } => self.echo_segment(*identifier),
            Transport::Other { protocol, payload } => (*protocol, payload.clone()),
        }
    }

    /// RFC 768.
    fn udp_segment(&self, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
        let mut segment = ports.map(u16::to_be_bytes).concat();
        segment.extend(length(8 + payload.len()));
        segment.extend([0, 0]);
        segment.extend(payload);
        let checksum = match self.transport_checksum(UDP, &segment) {
            [0, 0] => [0xff, 0xff],
            other => other,
        };
        segment[6..8].copy_from_slice(&checksum);
        segment
    }

    /// RFC 9293 section 3.1.
    fn tcp_segment(&self, ports: [u16; 2], flags: u8) -> Vec<u8> {
        let mut segment = ports.map(u16::to_be_bytes).concat();
        segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let checksum = self.transport_checksum(TCP, &segment);
        segment[16..18].copy_from_slice(&checksum);
        segment
    }

    /// RFC 792, RFC 4443 section 4.1.
    fn echo_segment(&self, identifier: u16) -> (u8, Vec<u8>) {
        let (protocol, kind) = if self.addresses[0].is_ipv4() { (ICMP, 8) } else { (ICMPV6, 128) };
        let mut segment = vec![kind, 0, 0, 0];
        segment.extend(identifier.to_be_bytes());
        segment.extend([0, 1]);
        segment.extend(*b"are you there?!!");
        let checksum = if protocol == ICMP { checksum(&segment) } else { self.transport_checksum(ICMPV6, &segment) };
        segment[2..4].copy_from_slice(&checksum);
        (protocol, segment)
    }

    /// Checksum of `segment` and its pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn transport_checksum(&self, protocol: u8, segment: &[u8]) -> [u8; 2] {
        let mut summed = Vec::new();
        for address in self.addresses {
            match address {
                IpAddr::V4(v4) => summed.extend(v4.octets()),
                IpAddr::V6(v6) => summed.extend(v6.octets()),
            }
        }
        summed.extend((segment.len() as u32).to_be_bytes());
        summed.extend([0, 0, 0, protocol]);
        summed.extend(segment);
        checksum(&summed)
    }
}

impl Spoil {
    fn apply(&self, frame: &mut Vec<u8>) {
        match self {
            Self::Overwrite { at, octets } => frame[*at..*at + octets.len()].copy_from_slice(octets),
            Self::Cut { length } => frame.truncate(*length),
            Self::Pad { octets } => frame.resize(frame.len() + octets, 0),
        }
    }
}

/// A whole ARP request: who has `target`?
pub fn arp(source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mac = [0x02, 0x77, 0, 0, 0, 2];
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(source.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// RFC 1071.
fn checksum(octets: &[u8]) -> [u8; 2] {
    let pairs = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| low.into()));
    let mut sum: u32 = pairs.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).expect("an IP packet has at most 65,535 octets").to_be_bytes()
}

/// TCP's SYN flag.
pub const SYN: u8 = 0x02;
/// IPv6 hop-by-hop options.
pub const HOP_BY_HOP: u8 = 0;
/// IPv6 routing header.
pub const ROUTING: u8 = 43;
/// IPv6 destination options.
pub const DESTINATION_OPTIONS: u8 = 60;

const FRAGMENT: u8 = 44;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
const DO_NOT_FRAGMENT: u16 = 0x4000;
const HOPS: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_frame_with_known_checksums() {
        let source = SocketAddr::from(([192, 168, 0, 1], 1000));
        let destination = SocketAddr::from(([192, 168, 0, 2], 443));
        let frame = Packet::udp(source, destination, *b"hi!").vlan(7).frame();
        assert_eq!(frame.len(), 14 + 4 + 20 + 8 + 3);
        assert_eq!(frame[12..18], [0x81, 0, 0, 7, 0x08, 0]);
        // A correct header, and a correct datagram with its pseudo-header, sum up to zero.
        assert_eq!(checksum(&frame[18..38]), [0, 0]);
        let pseudo = [&frame[30..38], &[0, 17, 0, 11], &frame[38..]].concat();
        assert_eq!(checksum(&pseudo), [0, 0]);
    }

    #[test]
    fn extension_headers_name_each_other() {
        let end = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let packet = Packet::udp(end(1), end(2), [0; 4]).extension(HOP_BY_HOP).fragment(1, MoreFragments::Set);
        let frame = packet.frame();
        assert_eq!((frame[20], frame[54], frame[62]), (HOP_BY_HOP, FRAGMENT, UDP));
        assert_eq!(frame[62..70], [UDP, 0, 0, 9, 0, 0, 0, 1]);
    }
}
