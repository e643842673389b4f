//! Which hosts a packet is for: this one, many, or another one.

use crate::{frame::Address, steer::Tables};

/// What a destination is to this host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// This host has the address.
    Own,
    /// It is for many hosts, this one among them: multicast, the limited broadcast address, or the broadcast
    /// address of a subnet of this host's.
    Many,
    /// Another host has it, or none.
    Other,
}

/// What `address` is to this host.
///
/// One look-up for what is the host's own; anything else is asked of that is not.
#[inline(always)]
pub fn destination<T: Tables>(address: &Address, tables: &T) -> Destination {
    if tables.is_local(address) {
        Destination::Own
    } else if address.is_for_many() || tables.is_broadcast(address) {
        Destination::Many
    } else {
        Destination::Other
    }
}
