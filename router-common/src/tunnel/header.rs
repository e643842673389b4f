//! GUE (draft-ietf-intarea-gue, version 0), and what stands behind it.

use crate::{bytes::Octets, identifiers::NodeId};

/// Octets of both.
pub const HEADER_LENGTH: usize = 16;

/// What a node says of a packet that it forwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether the inner packet is IPv4; it is IPv6, else.
    pub is_ipv4: bool,
    /// The key, by [`TunnelKey::octet`](super::TunnelKey::octet).
    pub key: u8,
    /// Who forwards it.
    pub sender: NodeId,
    /// [`TunnelKey::tag`](super::TunnelKey::tag).
    pub tag: u64,
}

/// What is no [`Header`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// A control message of GUE, which no kernel program reads: nodes tell each other so that they are there.
    Control,
    /// Anything else.
    Malformed,
}

impl Header {
    /// Its octets.
    #[inline(always)]
    pub fn octets(&self) -> Octets<HEADER_LENGTH> {
        let [gue, private, tag] = self.words();
        let ([_, _, _, _, g0, g1, g2, g3], [_, _, _, _, p0, p1, p2, p3]) = (gue.to_be_bytes(), private.to_be_bytes());
        let [t0, t1, t2, t3, t4, t5, t6, t7] = tag.to_be_bytes();
        Octets([g0, g1, g2, g3, p0, p1, p2, p3, t0, t1, t2, t3, t4, t5, t6, t7])
    }

    /// The same as numbers, of 4, 4 and 8 octets.
    #[inline(always)]
    pub(super) fn words(&self) -> [u64; 3] {
        let protocol = if self.is_ipv4 { PROTOCOL_IPV4 } else { PROTOCOL_IPV6 };
        let gue = u64::from(PRIVATE_WORDS) << 24 | u64::from(protocol) << 16;
        let private = u64::from(FORWARDED) << 24 | u64::from(self.key) << 16 | u64::from(self.sender.get());
        [gue, private, self.tag]
    }

    /// Reads them.
    ///
    /// # Errors
    /// Anything that [`octets`](Self::octets) would not have made.
    pub fn read(octets: &Octets<HEADER_LENGTH>) -> Result<Self, Unreadable> {
        let [a, b, c, d, e, f, g, h, tag @ ..] = octets.0;
        Self::of_words([u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(tag)])
    }

    /// The same of two words, the first octet of each the highest.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    #[inline(always)]
    pub(super) fn of_words([first, tag]: [u64; 2]) -> Result<Self, Unreadable> {
        if first >> 56 & (VERSION | CONTROL) == CONTROL {
            return Err(Unreadable::Control);
        }
        let is_ipv4 = match first >> 24 {
            OF_IPV4 => true,
            OF_IPV6 => false,
            _ => return Err(Unreadable::Malformed),
        };
        let (key, sender) = ((first >> 16) as u8, NodeId::new(first as u16));
        Ok(Self { is_ipv4, key, sender, tag })
    }
}

/// The first five octets, for each family.
const OF_IPV4: u64 = of(PROTOCOL_IPV4);
const OF_IPV6: u64 = of(PROTOCOL_IPV6);

const fn of(protocol: u8) -> u64 {
    ((PRIVATE_WORDS as u64) << 24 | (protocol as u64) << 16) << 8 | FORWARDED as u64
}

/// The first octet: version 0, no control message, three words behind the header of one.
const PRIVATE_WORDS: u8 = 3;
const VERSION: u64 = 0xc0;
const CONTROL: u64 = 0x20;
/// Protocol numbers of an inner packet.
const PROTOCOL_IPV4: u8 = 4;
const PROTOCOL_IPV6: u8 = 41;
/// A forwarded packet (upper half), in version 1 of this form (lower half).
const FORWARDED: u8 = 0x11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_octet_counts() {
        for is_ipv4 in [true, false] {
            let header = Header { is_ipv4, key: 9, sender: NodeId::new(0x1234), tag: 0x0102_0304_0506_0708 };
            let octets = header.octets();
            assert_eq!(Header::read(&octets), Ok(header));
            for at in 0..HEADER_LENGTH {
                for bit in 0..8 {
                    let mut other = octets;
                    other.0[at] ^= 1 << bit;
                    assert_ne!(Header::read(&other), Ok(header), "octet {at}, bit {bit}");
                }
            }
        }
        let control = Octets([0x20 | 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Header::read(&control), Err(Unreadable::Control));
        assert_eq!(Header::read(&Octets([0; 16])), Err(Unreadable::Malformed));
        assert_eq!(Header::read(&Octets([0xff; 16])), Err(Unreadable::Malformed), "of another version");
    }
}
