//! What stands in front of a payload that is sent as a frame: Ethernet, IP and UDP, with all checksums.
//!
//! As the kernel writes it for the UDP sockets: never fragmented, because quinn looks for the path's
//! MTU by itself, and with quinn's ECN bits.

use std::net::{IpAddr, SocketAddr};

use quinn_udp::EcnCodepoint;
use router_common::frame::{ETHERNET_LENGTH, IPV6_LENGTH, UDP, UDP_LENGTH};

use super::NextHop;
use super::checksum::{ALL_ONES, folded, sum};

/// The heads of all datagrams of a train: they differ in lengths and checksums alone.
pub(in crate::worker) struct Heads {
    octets: [u8; LENGTH_MAX],
    /// Where UDP begins.
    udp_at: usize,
    /// The sum of what no payload changes: in the IPv4 header, and for UDP.
    fixed: [u64; 2],
}

impl Heads {
    /// Nothing if one address is of IPv4 and the other of IPv6.
    pub(super) fn new(hop: &NextHop, from: SocketAddr, to: SocketAddr, ecn: Option<EcnCodepoint>) -> Option<Self> {
        let mut heads = Self::without_link(from, to, ecn)?;
        heads.octets[..6].copy_from_slice(&hop.neighbour);
        heads.octets[6..12].copy_from_slice(&hop.own);
        Some(heads)
    }

    /// The same without link addresses: they are zeros.
    pub(in crate::worker) fn without_link(from: SocketAddr, to: SocketAddr, ecn: Option<EcnCodepoint>) -> Option<Self> {
        let ecn = ecn.map_or(0, |ecn| ecn as u8);
        let mut octets = [0; LENGTH_MAX];
        let ip = &mut octets[ETHERNET_LENGTH..];
        let (ether_type, ip_length, addresses) = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                // Version and length, ECN; no identification is needed where nothing is fragmented (RFC 6864).
                ip[..12].copy_from_slice(&[0x45, ecn, 0, 0, 0, 0, DONT_FRAGMENT, 0, HOPS, UDP, 0, 0]);
                ip[12..16].copy_from_slice(&from.octets());
                ip[16..20].copy_from_slice(&to.octets());
                ([0x08, 0x00], 20, 12..20)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                ip[..8].copy_from_slice(&[0x60, ecn << 4, 0, 0, 0, 0, UDP, HOPS]);
                ip[8..24].copy_from_slice(&from.octets());
                ip[24..40].copy_from_slice(&to.octets());
                ([0x86, 0xdd], 40, 8..40)
            }
            _ => return None,
        };
        let udp = &mut ip[ip_length..];
        udp[..2].copy_from_slice(&from.port().to_be_bytes());
        udp[2..4].copy_from_slice(&to.port().to_be_bytes());
        let pseudo_header = sum(&ip[addresses]) + u64::from(u16::from(UDP).to_be());
        let fixed = [sum(&ip[..ip_length]), pseudo_header + sum(&ip[ip_length..ip_length + 4])];
        octets[12..14].copy_from_slice(&ether_type);
        Some(Self { octets, udp_at: ETHERNET_LENGTH + ip_length, fixed })
    }

    /// How long a packet is, from its IP header on, whose payload has so many octets.
    pub(in crate::worker) fn packet_length(&self, payload: usize) -> usize {
        self.udp_at - ETHERNET_LENGTH + UDP_LENGTH + payload
    }

    /// The head of a payload, which is no longer than a UDP datagram's can be.
    pub(in crate::worker) fn of(&mut self, payload: &[u8]) -> &[u8] {
        let udp_length = ((UDP_LENGTH + payload.len()) as u16).to_be();
        let [of_ip, of_udp] = self.fixed;
        let ip = &mut self.octets[ETHERNET_LENGTH..self.udp_at];
        if ip.len() == 20 {
            let length = ((20 + UDP_LENGTH + payload.len()) as u16).to_be();
            ip[2..4].copy_from_slice(&length.to_ne_bytes());
            ip[10..12].copy_from_slice(&(!folded(of_ip + u64::from(length))).to_ne_bytes());
        } else {
            ip[4..6].copy_from_slice(&udp_length.to_ne_bytes());
        }
        // In the datagram, and once more in the pseudo-header.
        let all = of_udp + 2 * u64::from(udp_length) + sum(payload);
        let checksum = match !folded(all) {
            // Of zero it would say that there is none (RFC 768).
            0 => ALL_ONES,
            checksum => checksum,
        };
        let udp = &mut self.octets[self.udp_at..self.udp_at + UDP_LENGTH];
        udp[4..6].copy_from_slice(&udp_length.to_ne_bytes());
        udp[6..].copy_from_slice(&checksum.to_ne_bytes());
        &self.octets[..self.udp_at + UDP_LENGTH]
    }
}

const LENGTH_MAX: usize = ETHERNET_LENGTH + IPV6_LENGTH + UDP_LENGTH;
const DONT_FRAGMENT: u8 = 0x40;
/// Routers that it may pass: as many as the kernel says, unless it was told otherwise.
const HOPS: u8 = 64;

#[cfg(test)]
mod tests {
    use router_common::identifiers::IfIndex;

    use super::{super::decode, *};

    const HOP: NextHop = NextHop {
        interface: IfIndex::new(1),
        own: [0, 0, 0, 0, 0, 2],
        neighbour: [0, 0, 0, 0, 0, 1],
        mtu: 1_500,
        is_stale: false,
    };

    /// With checksums that another program has computed.
    const IPV4: &[u8] = &[
        0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0x08, 0x00, // Ethernet
        0x45, 0x02, 0x00, 0x21, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb6, 0xc6, 192, 0, 2, 1, 192, 0, 2,
        2, // IPv4
        0x0f, 0xa0, 0x01, 0xbb, 0x00, 0x0d, 0x26, 0xa3, b'h', b'e', b'l', b'l', b'o',
    ];

    fn heads(from: &str, to: &str, ecn: Option<EcnCodepoint>) -> Option<Heads> {
        Heads::new(&HOP, from.parse().unwrap(), to.parse().unwrap(), ecn)
    }

    #[test]
    fn as_another_program_writes_it() {
        let mut heads = heads("192.0.2.1:4000", "192.0.2.2:443", Some(EcnCodepoint::Ect0)).unwrap();
        // Nothing of the one before is left.
        heads.of(b"a longer one");
        assert_eq!([heads.of(b"hello"), b"hello"].concat(), IPV4);
        assert_eq!(heads.packet_length(5), IPV4.len() - ETHERNET_LENGTH);
    }

    /// What is written is read again, with every checksum looked at.
    #[test]
    fn every_length_and_mark_can_be_read() {
        for (from, to) in [("192.0.2.1:443", "198.51.100.7:50000"), ("[2001:db8::1]:443", "[2001:db8::7]:50000")] {
            for ecn in [None, Some(EcnCodepoint::Ect0), Some(EcnCodepoint::Ect1), Some(EcnCodepoint::Ce)] {
                let mut heads = heads(from, to, ecn).unwrap();
                for length in [1, 2, 3, 100, 1_199, 1_200, 1_452] {
                    let payload: Vec<u8> = (0..length).map(|at| (at * 31) as u8).collect();
                    let frame = [heads.of(&payload), &payload].concat();
                    let datagram = decode::read(&frame, decode::Checksums::Computed).unwrap();
                    assert_eq!((datagram.source, datagram.ecn), (from.parse().unwrap(), ecn));
                    let read_to = SocketAddr::new(datagram.to(), datagram.destination.port);
                    assert_eq!((read_to, &frame[datagram.payload]), (to.parse().unwrap(), &payload[..]));
                    assert_eq!(frame.len() - ETHERNET_LENGTH, heads.packet_length(length));
                }
            }
        }
        assert!(heads("192.0.2.1:443", "[2001:db8::7]:50000", None).is_none());
    }

    #[test]
    fn a_checksum_of_zero_is_written_as_all_ones() {
        let mut heads = heads("192.0.2.1:4000", "192.0.2.2:443", None).unwrap();
        let other = heads.of(&[0, 0]).to_vec();
        // What makes the sum complete.
        let payload = [other[40], other[41]];
        let head = heads.of(&payload);
        assert_eq!(head[40..42], [0xff, 0xff]);
        assert!(decode::read(&[head, &payload].concat(), decode::Checksums::Computed).is_ok());
    }
}
