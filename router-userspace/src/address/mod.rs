//! Who a client is: its address, as far as it is known.
//!
//! Any sender can write any source address into a datagram. So an address is [`Unvalidated`] until the
//! client that claims it has shown that it receives there (RFC 9000 section 8), and [`Validated`] after.
//! Only a validated address is counted against a limit, refused for its number of connections,
//! logged, told to a server or hashed: these take [`Validated`], which only this room can make.

pub mod path;
pub mod tokens;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use quinn::Incoming;

use crate::config::Limits;

/// The source of a first Initial, and what its token proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// Nothing: it may be forged.
    Unvalidated(Unvalidated),
    /// By a token of a NEW_TOKEN frame: the client was there when it got that, and a token that
    /// another one got there would do as well. Good enough to be told, not to be counted.
    Known(Unvalidated, Validated),
    /// By the token of a Retry just now.
    Validated(Validated),
}

impl Address {
    /// Of a connection that begins.
    pub fn of(incoming: &Incoming) -> Self {
        let claimed = Unvalidated::new(incoming.remote_address());
        match (incoming.remote_address_validated(), incoming.may_retry()) {
            (false, _) => Self::Unvalidated(claimed),
            (true, true) => Self::Known(claimed, Validated(claimed.0)),
            (true, false) => Self::Validated(Validated(claimed.0)),
        }
    }

    /// By what it is counted.
    pub fn prefix(self, limits: &Limits) -> Prefix {
        match self {
            Self::Unvalidated(claimed) | Self::Known(claimed, _) => claimed.prefix(limits),
            Self::Validated(address) => address.prefix(limits),
        }
    }

    /// What is known before the handshake is complete.
    pub fn known(self) -> Option<Validated> {
        match self {
            Self::Unvalidated(_) => None,
            Self::Known(_, address) | Self::Validated(address) => Some(address),
        }
    }

    /// What is known when the handshake is complete: the client has received the server's part of it
    /// (RFC 9000 section 8.1). That part, and what completes it, went to and came from this address alone:
    /// quinn discards packets of other addresses until then (`handle_packet` in quinn-proto's
    /// `connection/mod.rs`).
    pub fn completed(self) -> Validated {
        match self {
            Self::Unvalidated(claimed) => Validated(claimed.0),
            Self::Known(_, address) | Self::Validated(address) => address,
        }
    }
}

/// An address that a sender claims, and may have forged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unvalidated(SocketAddr);

impl Unvalidated {
    /// What stands in a datagram.
    pub fn new(source: SocketAddr) -> Self {
        Self(canonical(source))
    }

    /// By what it is counted.
    pub fn prefix(self, limits: &Limits) -> Prefix {
        Prefix::of(self.0.ip(), limits)
    }
}

/// An address at which a client has received what was sent to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Validated(SocketAddr);

impl Validated {
    /// Of a TCP connection that was accepted: its handshake goes both ways.
    pub fn by_tcp(peer: SocketAddr) -> Self {
        Self(canonical(peer))
    }

    /// Any, where a test needs one.
    #[cfg(test)]
    pub const fn assume(address: SocketAddr) -> Self {
        Self(address)
    }

    /// The same, of its text.
    #[cfg(test)]
    pub fn assumed(text: &str) -> Self {
        Self(canonical(text.parse().unwrap()))
    }

    /// Address and port; an IPv4 address never in IPv6's notation.
    pub fn socket_address(self) -> SocketAddr {
        self.0
    }

    /// The address alone, likewise.
    pub fn ip(self) -> IpAddr {
        self.0.ip()
    }

    /// By what it is counted.
    pub fn prefix(self, limits: &Limits) -> Prefix {
        Prefix::of(self.0.ip(), limits)
    }
}

impl fmt::Display for Validated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Unvalidated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What counts as one client: the leading bits of an address. A host on IPv6 has a whole /64 to send
/// from (RFC 4291 section 2.5.1), so a count by address would be no count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix(IpAddr);

impl Prefix {
    fn of(address: IpAddr, limits: &Limits) -> Self {
        Self(match address {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(limits.client_prefix4.into()).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & !host).into()
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(limits.client_prefix6.into()).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & !host).into()
            }
        })
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str, (v4, v6): (u8, u8)) -> String {
        let limits = Limits { client_prefix4: v4, client_prefix6: v6, ..Limits::default() };
        Validated::assumed(text).prefix(&limits).0.to_string()
    }

    #[test]
    fn a_client_is_counted_by_its_prefix() {
        for (address, lengths, expected) in [
            ("192.0.2.77:1", (32, 64), "192.0.2.77"),
            ("[::ffff:192.0.2.77]:1", (32, 64), "192.0.2.77"),
            ("192.0.2.77:1", (24, 64), "192.0.2.0"),
            ("192.0.2.77:1", (1, 64), "128.0.0.0"),
            ("[2001:db8:1:2:3:4:5:6]:1", (32, 64), "2001:db8:1:2::"),
            ("[2001:db8:1:2:3:4:5:6]:1", (32, 48), "2001:db8:1::"),
            ("[2001:db8:1:2:3:4:5:6]:1", (32, 128), "2001:db8:1:2:3:4:5:6"),
        ] {
            assert_eq!(prefix(address, lengths), expected, "{address} {lengths:?}");
        }
    }
}
