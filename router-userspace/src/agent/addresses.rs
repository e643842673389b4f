//! Addresses between the maps, which have all of them as IPv6, and what people write.

use std::net::{IpAddr, SocketAddr};

use router_common::frame::{Address, Endpoint};

/// An address as the maps have it: IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2).
pub(super) fn mapped(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => Address::ipv4(v4.octets()),
        IpAddr::V6(v6) => Address::new(v6.octets()),
    }
}

/// An endpoint of the maps as people write it.
pub(super) fn socket_address(endpoint: &Endpoint) -> SocketAddr {
    SocketAddr::new(IpAddr::from(endpoint.address.octets().0).to_canonical(), endpoint.port)
}
