//! A range of addresses, by the bits that they begin with.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::ParseIntError,
    str::FromStr,
};

use crate::frame::Address;

/// A range of addresses of one family, by the bits that they begin with (RFC 4632, RFC 4291 section 2.3).
///
/// In order of the addresses, IPv4 as it is mapped into IPv6; a shorter prefix before the longer ones within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    bits: u128,
    length: u8,
}

/// Why a text names no prefix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrefixError {
    /// No address stands before the slash.
    Address,
    /// What stands behind the slash is no number of bits, or more than an address has.
    Length {
        /// Bits of an address of this family: 32 or 128.
        most: u8,
    },
    /// The address has bits set beyond the length: another prefix was meant, or another length.
    HostBits {
        /// The prefix of that length which holds the address.
        right: Prefix,
    },
    /// A prefix of IPv6 addresses, from `::/0` to `::/80`, in which the maps have the IPv4 addresses too.
    BothFamilies,
}

impl Prefix {
    /// The first `length` bits of `address`.
    ///
    /// # Errors
    /// If an address has fewer bits or has one set beyond `length`, or if the prefix would hold IPv4 and IPv6
    /// addresses.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        let address = address.to_canonical();
        let (most, before) = match address {
            IpAddr::V4(_) => (32, MAPPED_LENGTH),
            IpAddr::V6(_) => (128, 0),
        };
        if length > most {
            return Err(PrefixError::Length { most });
        }
        let (bits, length) = (bits(&address.into()), before + length);
        let right = Self { bits: bits & mask(length), length };
        match right.bits == bits {
            false => Err(PrefixError::HostBits { right }),
            true if length < MAPPED_LENGTH && right.holds(&Address::ipv4([0; 4])) => Err(PrefixError::BothFamilies),
            true => Ok(right),
        }
    }

    /// `address` and no other.
    pub fn host(address: Address) -> Self {
        Self { bits: bits(&address), length: 128 }
    }

    /// As a map has it; `None` if it is none that [`new`](Self::new) makes.
    pub fn of_map(address: Address, length: u32) -> Option<Self> {
        let length = u8::try_from(length).ok().filter(|&length| length <= 128)?;
        let bits = bits(&address);
        (bits & mask(length) == bits).then_some(Self { bits, length })
    }

    /// Its first address.
    pub fn address(&self) -> Address {
        Address::new(self.bits.to_be_bytes())
    }

    /// How many bits of an address as the maps have it, IPv4 mapped into IPv6, have to be those of
    /// [`address`](Self::address): 0 to 128.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether `address` is in it.
    pub fn holds(&self, address: &Address) -> bool {
        bits(address) & mask(self.length) == self.bits
    }

    /// The prefix of this length that holds `address`.
    pub fn around(address: &Address, length: u8) -> Self {
        Self { bits: bits(address) & mask(length), length }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `192.0.2.0/24`, `2001:db8::/32`, or an address alone.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address)?;
        let most = if address.to_canonical().is_ipv4() { 32 } else { 128 };
        let Some(length) = length else { return Self::new(address, most) };
        // A sign is none of a number of bits.
        let length: Result<u8, ParseIntError> = length.strip_prefix('+').map_or(length, |_| "").parse();
        let length = length.map_err(|_| PrefixError::Length { most })?;
        // In IPv6's notation the length of an IPv4 prefix counts from 96.
        match address {
            IpAddr::V6(_) if most == 32 => match length.checked_sub(MAPPED_LENGTH) {
                Some(length) => Self::new(address, length),
                None => Err(PrefixError::BothFamilies),
            },
            _ => Self::new(address, length),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length.checked_sub(MAPPED_LENGTH) {
            Some(length) if self.address().is_ipv4() => {
                write!(f, "{}/{length}", Ipv4Addr::from_bits(self.bits as u32))
            }
            _ => write!(f, "{}/{}", Ipv6Addr::from_bits(self.bits), self.length),
        }
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("not a prefix: 192.0.2.0/24, 2001:db8::/32, or an address alone"),
            Self::Length { most } => write!(f, "not a prefix: its length is 0 to {most}"),
            Self::HostBits { right } => write!(f, "bits are set beyond the length: the prefix is {right}"),
            Self::BothFamilies => f.write_str(
                "it would hold the IPv4 addresses too: 2000::/3 is every IPv6 address of the Internet, 0.0.0.0/0 every \
                 IPv4 address",
            ),
        }
    }
}

impl core::error::Error for PrefixError {}

/// Bits that stand before an IPv4 address that is mapped into IPv6.
const MAPPED_LENGTH: u8 = 96;

fn bits(address: &Address) -> u128 {
    u128::from_be_bytes(address.octets().0)
}

fn mask(length: u8) -> u128 {
    !u128::MAX.checked_shr(length.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    fn read(text: &str) -> Result<Prefix, PrefixError> {
        text.parse()
    }

    #[test]
    fn what_is_read_is_written_as_the_same() {
        for (text, written) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:DB8::1", "2001:db8::1/128"),
            ("2000::/3", "2000::/3"),
            ("::/81", "::/81"),
        ] {
            assert_eq!(read(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_right() {
        let wrong = |text: &str| read(text).unwrap_err();
        let right = |text: &str| PrefixError::HostBits { right: read(text).unwrap() };
        assert_eq!(wrong("192.0.2.7/24"), right("192.0.2.0/24"));
        assert_eq!(wrong("2001:db8::1/32"), right("2001:db8::/32"));
        assert_eq!(wrong("128.0.0.0/0"), right("0.0.0.0/0"));
        assert_eq!(wrong("192.0.2.0/33"), PrefixError::Length { most: 32 });
        assert_eq!(wrong("2001:db8::/129"), PrefixError::Length { most: 128 });
        for text in ["192.0.2.0/", "192.0.2.0/x", "192.0.2.0/-1", "192.0.2.0/+24", "192.0.2.0/256"] {
            assert_eq!(wrong(text), PrefixError::Length { most: 32 }, "{text}");
        }
        for text in ["", "/24", "192.0.2/24", "example.com", "192.0.2.0/24/8 "] {
            assert!(matches!(wrong(text), PrefixError::Address | PrefixError::Length { .. }), "{text}");
        }
        for text in ["::/0", "::/1", "::/80", "::ffff:0:0/95"] {
            assert!(matches!(wrong(text), PrefixError::BothFamilies | PrefixError::HostBits { .. }), "{text}");
        }
        assert_eq!(wrong("::/0"), PrefixError::BothFamilies);
    }

    #[test]
    fn a_prefix_holds_what_begins_as_it_does() {
        let holds =
            |prefix: &str, address: &str| read(prefix).unwrap().holds(&address.parse::<IpAddr>().unwrap().into());
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("0.0.0.0/0", "255.0.0.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/33", "2001:db8:7fff::") && !holds("2001:db8::/33", "2001:db8:8000::"));
        assert!(!holds("2000::/3", "192.0.2.1") && holds("192.0.2.1", "192.0.2.1"));
    }
}
