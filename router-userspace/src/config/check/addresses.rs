//! Addresses and ports of this host's that a socket can be bound to.

use std::net::{IpAddr, SocketAddr};

use crate::config::{
    error::Findings,
    keys::{Key, kinds::Address},
    raw::At,
};

/// The address, if a socket can be bound there.
pub(super) fn read(
    key: &Key<Address>,
    At { place, value: text }: &At<String>,
    findings: &mut Findings<'_>,
) -> Option<At<SocketAddr>> {
    let Address { port, examples } = key.kind();
    let Ok(address) = text.parse::<SocketAddr>() else {
        findings.problem(*place, key.name(), format_args!("\"{text}\" is not an IP address and port"));
        findings.hint(match text.parse::<IpAddr>() {
            Ok(ip) => format!("{}, with a port", SocketAddr::new(ip, *port)),
            Err(_) => {
                let [one, another] = examples.map(|host| format!("{host}:{port}"));
                format!("an address such as {one} or {another}")
            }
        });
        return None;
    };
    if let Some(why) = unfit(address) {
        findings.problem(*place, key.name(), format_args!("{text} {why}"));
        return None;
    }
    Some(At { place: *place, value: address })
}

/// Why no socket of ours can be bound there.
fn unfit(address: SocketAddr) -> Option<&'static str> {
    if address.port() == 0 {
        return Some("has port 0: clients need to know the port, 1 to 65535");
    }
    if address.ip().is_multicast() {
        return Some("is a multicast address");
    }
    match address {
        SocketAddr::V4(v4) if v4.ip().is_broadcast() => Some("is the broadcast address"),
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => Some("is an IPv4 address: write it as one"),
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 => {
            Some("is link-local and needs its interface's index, [fe80::1%2]:443 (`ip link` shows it)")
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    }
}

/// Whether one of the two is the wildcard that stands for the other too. IPv6 sockets of ours are
/// IPv6 only, so families never meet.
pub(super) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let wildcard = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && (wildcard || one.ip() == other.ip())
}
