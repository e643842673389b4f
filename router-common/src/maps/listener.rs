//! `listeners` and `ports`: which destinations are ours.

use super::SLOTS;
use crate::{
    frame::{Address, Endpoint},
    identifiers::{ListenerId, SlotId},
};

/// Key of `listeners`: an address and port; the unspecified address matches every one of its family.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerKey {
    address: [u8; 16],
    port: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<ListenerKey>() == 24);

impl ListenerKey {
    /// The key for exactly this endpoint.
    #[inline(always)]
    pub fn exact(endpoint: &Endpoint) -> Self {
        Self { address: endpoint.address.octets().0, port: endpoint.port.into(), reserved: 0 }
    }

    /// The key for any address of this endpoint's family.
    pub fn wildcard(endpoint: &Endpoint) -> Self {
        Self::exact(&Endpoint { address: endpoint.address.unspecified(), port: endpoint.port })
    }

    /// Address (IPv4 mapped into IPv6) and port.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { address: Address::new(self.address), port: self.port as u16 }
    }
}

/// Value of `listeners`: its number, in the order of the configuration.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listener {
    id: u32,
}

impl Listener {
    /// The listener with this number.
    pub fn new(id: ListenerId) -> Self {
        Self { id: id.into() }
    }

    /// Its number.
    #[inline(always)]
    pub fn id(&self) -> ListenerId {
        ListenerId::new(self.id as u16)
    }

    /// The index of `slot`'s socket for this listener in the map `sockets`.
    #[inline(always)]
    pub fn socket_index(&self, slot: SlotId) -> u32 {
        self.id * SLOTS + u32::from(slot)
    }
}

/// Value of `ports`, by UDP port: which destinations on it are listeners'. Nearly every
/// packet that is not ours is told by this one look-up, and so is every packet for a
/// listener on all addresses.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Port {
    any_ipv4: u8,
    any_ipv6: u8,
    some: u8,
    tunnel: u8,
}

const _: () = assert!(size_of::<Port>() == 4);

/// Whether a destination is a listener's, as far as its port tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listens {
    /// Yes, whatever the address.
    Yes,
    /// If `listeners` has this very address.
    IfListed,
    /// No.
    No,
}

impl Port {
    /// The same with one more listener.
    pub fn with(mut self, key: &ListenerKey) -> Self {
        let address = key.endpoint().address;
        match (address == address.unspecified(), address.is_ipv4()) {
            (true, true) => self.any_ipv4 = 1,
            (true, false) => self.any_ipv6 = 1,
            (false, _) => self.some = 1,
        }
        self
    }

    /// The same, saying whether it is the port of the cluster's tunnel.
    pub fn with_tunnel(self, yes: bool) -> Self {
        Self { tunnel: yes.into(), ..self }
    }

    /// Whether it is the port of the cluster's tunnel.
    #[inline(always)]
    pub fn is_tunnel(&self) -> bool {
        self.tunnel != 0
    }

    /// Whether an address on this port is a listener's.
    #[inline(always)]
    pub fn listens(&self, address: Address) -> Listens {
        let any = if address.is_ipv4() { self.any_ipv4 } else { self.any_ipv6 };
        match (any, self.some) {
            (0, 0) => Listens::No,
            (0, _) => Listens::IfListed,
            _ => Listens::Yes,
        }
    }
}
