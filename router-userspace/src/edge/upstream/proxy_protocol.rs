//! The header of the PROXY protocol, version 2: the client's address, told ahead of its stream.
//!
//! Specification: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>, section 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::address::Validated;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY. LOCAL is for connections without a client: we open none of those.
const VERSION_AND_COMMAND: u8 = 0x21;
/// What follows is carried to the server by TCP or a Unix socket, as a stream.
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header for a stream of the client at `client`, which reached us at `local`: 28 octets for
/// IPv4, 52 for IPv6.
///
/// An IPv4 address in IPv6's clothes is an IPv4 address. Where only one of the two is one, both
/// are told as IPv6, as a header has one family. A local address that isn't known is told as the
/// unspecified one, port 0.
pub(super) fn header(client: Validated, local: Option<SocketAddr>) -> Vec<u8> {
    let source = client.ip();
    let (destination, port) = match local {
        Some(local) => (local.ip().to_canonical(), local.port()),
        None if source.is_ipv4() => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        None => (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    };
    let mut header = Vec::with_capacity(52);
    header.extend_from_slice(&SIGNATURE);
    header.push(VERSION_AND_COMMAND);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            header.extend_from_slice(&[TCP_OVER_IPV4, 0, 12]);
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
        }
        _ => {
            header.extend_from_slice(&[TCP_OVER_IPV6, 0, 36]);
            header.extend_from_slice(&in_ipv6(source).octets());
            header.extend_from_slice(&in_ipv6(destination).octets());
        }
    }
    header.extend_from_slice(&client.socket_address().port().to_be_bytes());
    header.extend_from_slice(&port.to_be_bytes());
    header
}

fn in_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: [u8; 13] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21];

    fn of(client: &str, local: Option<&str>) -> Vec<u8> {
        let header = header(Validated::assumed(client), local.map(|local| local.parse().unwrap()));
        assert_eq!(header[..13], START);
        header[13..].to_vec()
    }

    #[test]
    fn ipv4_takes_28_octets() {
        let expected = [0x11, 0x00, 0x0c, 192, 0, 2, 7, 198, 51, 100, 9, 0xc3, 0x50, 0x11, 0x51];
        assert_eq!(of("192.0.2.7:50000", Some("198.51.100.9:4433")), expected);
        assert_eq!(of("[::ffff:192.0.2.7]:50000", Some("[::ffff:198.51.100.9]:4433")), expected);
    }

    #[test]
    fn ipv6_takes_52_octets() {
        let mut expected = vec![0x21, 0x00, 0x24];
        expected.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        expected.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend_from_slice(&[0xc3, 0x50, 0x11, 0x51]);
        assert_eq!(of("[2001:db8::1]:50000", Some("[2001:db8::2]:4433")), expected);
    }

    #[test]
    fn two_families_are_both_told_as_ipv6() {
        let mut expected = vec![0x21, 0x00, 0x24];
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7]);
        expected.extend_from_slice(&[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend_from_slice(&[0, 80, 1, 187]);
        assert_eq!(of("192.0.2.7:80", Some("[2001:db8::2]:443")), expected);
    }

    #[test]
    fn an_unknown_local_address_is_unspecified() {
        assert_eq!(of("192.0.2.7:80", None), [0x11, 0, 12, 192, 0, 2, 7, 0, 0, 0, 0, 0, 80, 0, 0]);
        let v6 = of("[2001:db8::1]:80", None);
        assert_eq!(v6[19..], [[0; 16].as_slice(), &[0, 80, 0, 0]].concat());
    }
}
