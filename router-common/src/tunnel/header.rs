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
        let protocol = if self.is_ipv4 { PROTOCOL_IPV4 } else { PROTOCOL_IPV6 };
        let [s0, s1] = self.sender.get().to_be_bytes();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = self.tag.to_be_bytes();
        Octets([PRIVATE_WORDS, protocol, 0, 0, FORWARDED, self.key, s0, s1, t0, t1, t2, t3, t4, t5, t6, t7])
    }

    /// Reads them.
    ///
    /// # Errors
    /// Anything that [`octets`](Self::octets) would not have made.
    #[inline(always)]
    pub fn read(octets: &Octets<HEADER_LENGTH>) -> Result<Self, Unreadable> {
        let Octets([first, protocol, f0, f1, kind, key, s0, s1, t0, t1, t2, t3, t4, t5, t6, t7]) = *octets;
        if first & VERSION == 0 && first & CONTROL != 0 {
            return Err(Unreadable::Control);
        }
        let is_ipv4 = protocol == PROTOCOL_IPV4;
        let is_ours = first == PRIVATE_WORDS && f0 | f1 == 0 && kind == FORWARDED;
        if !is_ours || !is_ipv4 && protocol != PROTOCOL_IPV6 {
            return Err(Unreadable::Malformed);
        }
        let sender = NodeId::new(u16::from_be_bytes([s0, s1]));
        Ok(Self { is_ipv4, key, sender, tag: u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]) })
    }
}

/// The first octet: version 0, no control message, three words behind the header of one.
const PRIVATE_WORDS: u8 = 3;
const VERSION: u8 = 0xc0;
const CONTROL: u8 = 0x20;
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
