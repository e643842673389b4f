//! What the kernel's stack would have looked at before it gave a socket a datagram: the checksums.
//!
//! A frame is here because `steer` found it plain and whole, and for an address of this host: what is
//! left is what the device or the stack verify. Dropped is what the stack drops, and no more.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use quinn_udp::EcnCodepoint;
use router_common::frame::{self, Address, ETHERNET_LENGTH, Endpoint, UDP, UDP_LENGTH};

use super::checksum::{ALL_ONES, folded, sum};

/// A datagram in a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    /// Whom it is for, as the tables have it.
    pub(super) destination: Endpoint,
    pub(super) ecn: Option<EcnCodepoint>,
    /// Where its payload is in the frame.
    pub(super) payload: Range<usize>,
}

impl Datagram {
    /// The address it came to.
    pub(super) fn to(&self) -> IpAddr {
        ip(self.destination.address)
    }
}

/// Why a frame is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is no plain datagram. `steer` lets none of these come here.
    Unreadable,
    /// The checksum of its IPv4 header is wrong.
    IpChecksum,
    /// Its UDP checksum is wrong, or missing over IPv6.
    UdpChecksum,
}

/// What computes UDP checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksums {
    /// The sender, or its device.
    Computed,
    /// Perhaps nothing: a sender on this very host leaves it to the device, and a veth is none. In their place
    /// stands then what the device would have begun with, the sum of the pseudo-header. The stack is told of
    /// that beside the packet, and takes it.
    MayBeLeftOut,
}

/// Reads a frame.
pub(super) fn read(frame: &[u8], checksums: Checksums) -> Result<Datagram, Flaw> {
    let datagram = frame::parse(frame).ok().filter(frame::Datagram::is_plain).ok_or(Flaw::Unreadable)?;
    let frame::Payload { at, length } = datagram.payload;
    let (udp_at, payload) = (at - UDP_LENGTH, at..at + length);
    let header = &frame[ETHERNET_LENGTH..udp_at];
    let is_ipv4 = datagram.destination.address.is_ipv4();
    if is_ipv4 && folded(sum(header)) != ALL_ONES {
        return Err(Flaw::IpChecksum);
    }
    let is_missing = frame[udp_at + 6..udp_at + 8] == [0, 0];
    // RFC 768: over IPv4 it may be left out. RFC 8200 section 8.1: over IPv6 it may not.
    if !(is_missing && is_ipv4) {
        let addresses = if is_ipv4 { &header[12..20] } else { &header[8..40] };
        let udp_length = (UDP_LENGTH + length) as u16;
        let pseudo_header = sum(addresses) + u64::from(u16::from(UDP).to_be()) + u64::from(udp_length.to_be());
        let begun = u64::from(folded(pseudo_header)) == sum(&frame[udp_at + 6..udp_at + 8]);
        let is_left_out = checksums == Checksums::MayBeLeftOut && begun;
        let is_right = folded(pseudo_header + sum(&frame[udp_at..payload.end])) == ALL_ONES;
        if is_missing || !is_right && !is_left_out {
            return Err(Flaw::UdpChecksum);
        }
    }
    let traffic_class = if is_ipv4 { header[1] } else { header[0] << 4 | header[1] >> 4 };
    Ok(Datagram {
        source: SocketAddr::new(ip(datagram.source.address), datagram.source.port),
        destination: datagram.destination,
        ecn: EcnCodepoint::from_bits(traffic_class & 0b11),
        payload,
    })
}

fn ip(address: Address) -> IpAddr {
    IpAddr::from(address.octets().0).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With checksums that another program has computed.
    const IPV4: &[u8] = &[
        0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0x08, 0x00, // Ethernet
        0x45, 0x02, 0x00, 0x21, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb6, 0xc6, 192, 0, 2, 1, 192, 0, 2,
        2, // IPv4
        0x0f, 0xa0, 0x01, 0xbb, 0x00, 0x0d, 0x26, 0xa3, b'h', b'e', b'l', b'l', b'o',
    ];

    #[test]
    fn a_sound_frame() {
        let datagram = read_computed(IPV4).unwrap();
        assert_eq!(datagram.source, "192.0.2.1:4000".parse().unwrap());
        assert_eq!((datagram.to(), datagram.destination.port), ("192.0.2.2".parse().unwrap(), 443));
        assert_eq!((&IPV4[datagram.payload], datagram.ecn), (&b"hello"[..], Some(EcnCodepoint::Ect0)));
    }

    #[test]
    fn behind_its_end_there_may_be_padding() {
        let padded = [IPV4, &[0xaa; 13]].concat();
        assert_eq!(read_computed(&padded), read_computed(IPV4));
    }

    #[test]
    fn every_octet_counts() {
        for (at, flaw) in
            [(15, Flaw::IpChecksum), (22, Flaw::IpChecksum), (34, Flaw::UdpChecksum), (46, Flaw::UdpChecksum)]
        {
            let mut frame = IPV4.to_vec();
            frame[at] ^= 0x40;
            assert_eq!(read_computed(&frame), Err(flaw), "octet {at}");
        }
        assert_eq!(read_computed(&IPV4[..46]), Err(Flaw::Unreadable));
    }

    /// A client of the same host over a veth had lost every packet (xdp-tutorial#160).
    #[test]
    fn a_checksum_that_was_only_begun_is_taken_where_there_is_no_device() {
        let mut frame = IPV4.to_vec();
        let pseudo_header = sum(&IPV4[26..34]) + u64::from(u16::from(UDP).to_be()) + u64::from(13_u16.to_be());
        frame[40..42].copy_from_slice(&folded(pseudo_header).to_ne_bytes());
        assert_eq!(read_computed(&frame), Err(Flaw::UdpChecksum));
        assert_eq!(read(&frame, Checksums::MayBeLeftOut), read_computed(IPV4));
        frame[40] ^= 1;
        assert_eq!(read(&frame, Checksums::MayBeLeftOut), Err(Flaw::UdpChecksum));
        assert!(read(IPV4, Checksums::MayBeLeftOut).is_ok());
    }

    fn read_computed(frame: &[u8]) -> Result<Datagram, Flaw> {
        read(frame, Checksums::Computed)
    }

    #[test]
    fn a_checksum_may_be_left_out_over_ipv4_alone() {
        let mut frame = IPV4.to_vec();
        frame[40..42].fill(0);
        assert!(read_computed(&frame).is_ok());
        let mut frame = vec![0; 62 + 5];
        frame[12..18].copy_from_slice(&[0x86, 0xdd, 0x60, 0x10, 0, 0]);
        frame[18..22].copy_from_slice(&[0, 13, 17, 64]);
        frame[58..60].copy_from_slice(&[0, 13]);
        assert_eq!(read_computed(&frame), Err(Flaw::UdpChecksum));
        // Of zeros only: next header and twice the length are to be taken from all ones.
        let checksum = ALL_ONES - (17 + 13 + 13);
        frame[60..62].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(read_computed(&frame).unwrap().ecn, EcnCodepoint::from_bits(1));
    }
}
