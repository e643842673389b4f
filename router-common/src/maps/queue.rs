//! `queues`, `local_addresses` and `broadcast_addresses`: what an AF_XDP socket may take off the wire.

use super::QUEUES_MAX;
use crate::{
    frame::Address,
    identifiers::{IfIndex, InterfaceQueue, QueueId, SlotId},
};

/// Value of `queues`, by [`index`](Self::index): a receive queue that a worker has.
///
/// It says itself which queue it is about: interfaces whose numbers are 64 apart share places.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Queue {
    interface: u32,
    queue: u32,
    owner: u32,
    places: u32,
    mac: [u8; 6],
    reserved: [u8; 2],
}

const _: () = assert!(size_of::<Queue>() == 24);

impl Queue {
    /// No worker has it.
    pub const NONE: Self = Self { interface: 0, queue: 0, owner: 0, places: 0, mac: [0; 6], reserved: [0; 2] };

    /// The queue `id` of an interface whose link address is `mac`: slot `owner` has it, which takes no new connections
    /// from it yet.
    pub fn new(id: InterfaceQueue, mac: [u8; 6], owner: SlotId) -> Self {
        Self { interface: id.interface.get(), queue: id.queue.get(), owner: owner.into(), mac, ..Self::NONE }
    }

    /// The same, saying whether new connections go to its owner.
    pub fn with_places(self, yes: bool) -> Self {
        Self { places: yes.into(), ..self }
    }

    /// Where a queue stands in the maps `queues` and `xsks`: each interface has 64 places for its
    /// own, and what it has beyond is in its neighbours'.
    #[inline(always)]
    pub fn index_of(id: InterfaceQueue) -> u32 {
        id.interface.get().wrapping_mul(QUEUES_OF_AN_INTERFACE).wrapping_add(id.queue.get()) & (QUEUES_MAX - 1)
    }

    /// Where this one stands.
    #[inline(always)]
    pub fn index(&self) -> u32 {
        Self::index_of(self.id())
    }

    /// The place of its socket.
    #[inline(always)]
    pub fn socket(&self) -> SocketPlace {
        SocketPlace(self.index())
    }

    /// Whether both are about the same queue.
    pub fn is_same(&self, other: &Self) -> bool {
        self.is(other.id())
    }

    /// Which queue it is.
    #[inline(always)]
    pub fn id(&self) -> InterfaceQueue {
        InterfaceQueue { interface: IfIndex::new(self.interface), queue: QueueId::new(self.queue) }
    }

    /// Whether this is that queue: no other one at the same place, and not an empty entry.
    #[inline(always)]
    pub fn is(&self, id: InterfaceQueue) -> bool {
        self.interface == id.interface.get() && self.queue == id.queue.get()
    }

    /// The slot that has it.
    #[inline(always)]
    pub fn owner(&self) -> SlotId {
        SlotId::new(self.owner as u8)
    }

    /// Whether new connections that come in on it go to its owner.
    #[inline(always)]
    pub fn places(&self) -> bool {
        self.places != 0
    }

    /// Whether this is the link address of its interface.
    #[inline(always)]
    pub fn is_at(&self, mac: [u8; 6]) -> bool {
        self.mac == mac
    }
}

/// The place of an AF_XDP socket in the map `xsks`, or none.
///
/// Not an `Option`: of its number the compiler would make something undefined where there is none,
/// which the verifier does not let a program so much as copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SocketPlace(u32);

impl SocketPlace {
    /// No socket.
    pub const NONE: Self = Self(u32::MAX);

    /// The index in the map `xsks`.
    #[inline(always)]
    pub fn index(self) -> Option<u32> {
        (self.0 < QUEUES_MAX).then_some(self.0)
    }
}

/// Key of `local_addresses` and `broadcast_addresses`.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LocalKey {
    address: [u8; 16],
}

const _: () = assert!(size_of::<LocalKey>() == 16);

impl LocalKey {
    /// This address.
    #[inline(always)]
    pub fn new(address: Address) -> Self {
        Self { address: address.octets().0 }
    }

    /// The address.
    pub fn address(&self) -> Address {
        Address::new(self.address)
    }
}

/// Which of the two an address is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LocalKind {
    /// `local_addresses`: the host has it.
    Own,
    /// `broadcast_addresses`: it is the broadcast address of a subnet that the host is in.
    Broadcast,
}

/// Value of `local_addresses` and `broadcast_addresses`: that it is there is all it says.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Local {
    reserved: u32,
}

const QUEUES_OF_AN_INTERFACE: u32 = 64;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn id(interface: u32, queue: u32) -> InterfaceQueue {
        InterfaceQueue { interface: IfIndex::new(interface), queue: QueueId::new(queue) }
    }

    #[test]
    fn queues_of_neighbours_do_not_share_a_place() {
        let places = (1..=64).flat_map(|interface| (0..64).map(move |queue| Queue::index_of(id(interface, queue))));
        let places: BTreeSet<_> = places.collect();
        assert_eq!(places.len(), QUEUES_MAX as usize);
        assert!(places.iter().all(|place| *place < QUEUES_MAX));
    }

    #[test]
    fn a_queue_knows_which_one_it_is() {
        let queue = Queue::new(id(3, 2), [1; 6], SlotId::new(9));
        assert!(queue.is(id(3, 2)) && !queue.is(id(3 + 64, 2)) && Queue::index_of(id(3 + 64, 2)) == queue.index());
        assert!(!Queue::NONE.is(id(1, 0)), "the loopback interface has the index 1");
    }
}
