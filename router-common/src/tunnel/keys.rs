//! What nodes vouch with for the packets that they forward.

use super::Inner;
use crate::{frame::Address, identifiers::NodeId, siphash};

/// A key, and the epoch that it is for.
///
/// It has no `Debug`, so that it comes into no log.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TunnelKey {
    key: [u64; 2],
    epoch: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<TunnelKey>() == 24);

impl TunnelKey {
    /// No key.
    pub const NONE: Self = Self { key: [0; 2], epoch: 0, reserved: 0 };

    /// That of an epoch, 1 or more.
    pub fn new(epoch: u32, key: [u64; 2]) -> Self {
        Self { key, epoch, reserved: 0 }
    }

    /// What a packet says of the epoch.
    #[inline(always)]
    pub fn octet(&self) -> u8 {
        self.epoch as u8
    }

    /// What vouches for a packet that `sender` forwards: SipHash-2-4 of its number, and the inner packet's addresses, ports,
    /// length, and first 16 octets of payload.
    #[inline(always)]
    pub fn tag(&self, sender: NodeId, inner: &Inner) -> u64 {
        let Inner { source, destination, payload_length, payload: [first, second] } = inner;
        let ports = u64::from(source.port) << 16 | u64::from(destination.port);
        let who = u64::from(sender.get()) << 48 | u64::from(*payload_length) << 32 | ports;
        let ([from0, from1], [to0, to1]) = (source.address.words(), destination.address.words());
        // By its length a message says of which family it is.
        match source.address.is_ipv4() {
            true => siphash::short_mac(&[who, from1 << 32 | to1 & 0xffff_ffff, *first, *second], self.key),
            false => siphash::short_mac(&[who, from0, from1, to0, to1, *first, *second], self.key),
        }
    }
}

/// The keys of two epochs, one behind the other: value of the map `tunnel_keys`, in the host's byte order.
///
/// Each has its place by its epoch's parity, so that the next one takes the place of the last while the one between is in
/// use, and a change of epoch is a change of one word.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TunnelKeys {
    keys: [TunnelKey; 2],
    sending: u32,
    reserved: u32,
    ends: [[u8; 16]; 2],
}

const _: () = assert!(size_of::<TunnelKeys>() == 88);

impl TunnelKeys {
    /// No keys: nothing is forwarded, and nothing is taken.
    pub const NONE: Self = Self { keys: [TunnelKey::NONE; 2], sending: 0, reserved: 0, ends: [[0; 16]; 2] };

    /// Packets are sent under `sending`, and those under either are taken.
    pub fn new(sending: TunnelKey, other: TunnelKey) -> Self {
        let keys = if sending.epoch.is_multiple_of(2) { [sending, other] } else { [other, sending] };
        Self { keys, sending: sending.epoch, ..Self::NONE }
    }

    /// The same for tunnels that end at these addresses of this node: two at most, the unspecified one for none.
    pub fn ending_at(self, ends: [Address; 2]) -> Self {
        Self { ends: ends.map(|end| end.octets().0), ..self }
    }

    /// Whether a tunnel ends at this address.
    #[inline(always)]
    pub fn end_at(&self, address: &Address) -> bool {
        let [first, second] = self.ends;
        (Address::new(first) == *address) | (Address::new(second) == *address)
    }

    /// The key to send under; none before there is one.
    #[inline(always)]
    pub fn sending(&self) -> Option<&TunnelKey> {
        self.of(self.sending as u8)
    }

    /// The key that a packet speaks of.
    #[inline(always)]
    pub fn of(&self, octet: u8) -> Option<&TunnelKey> {
        let key = &self.keys[usize::from(octet) % 2];
        (key.octet() == octet && key.epoch != 0).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_ends_where_it_is_said_to() {
        let (v4, v6) = (Address::ipv4([10, 0, 0, 1]), Address::new([0xfd; 16]));
        let keys = TunnelKeys::NONE.ending_at([v4, Address::UNSPECIFIED]);
        assert!(keys.end_at(&v4) && !keys.end_at(&v6));
        assert!(TunnelKeys::NONE.ending_at([v4, v6]).end_at(&v6));
    }

    #[test]
    fn a_packet_names_its_key_by_an_octet() {
        let (before, now, next) =
            (TunnelKey::new(255, [1; 2]), TunnelKey::new(256, [2; 2]), TunnelKey::new(257, [3; 2]));
        let keys = TunnelKeys::new(now, before);
        assert!(keys.sending() == Some(&now) && keys.of(255) == Some(&before) && keys.of(1).is_none());
        let keys = TunnelKeys::new(now, next);
        assert!(keys.sending() == Some(&now) && keys.of(1) == Some(&next) && keys.of(255).is_none());
        assert!(TunnelKeys::NONE.sending().is_none() && (0..=255).all(|octet| TunnelKeys::NONE.of(octet).is_none()));
    }
}
