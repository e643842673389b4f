//! Block and allow lists: prefixes of source addresses that the operator named.

use crate::{
    frame::{Address, Endpoint},
    steer::Tables,
};

/// What the list says of an address: the entry with the longest prefix that holds it decides.
///
/// By the numbers that the map has, so that a program need not tell them apart to hand one on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Listed {
    /// Nothing: no entry holds it, or the one that does has ended.
    No = 0,
    /// It passes what else is asked of a new connection.
    Allow = 1,
    /// It has to show that it receives at its address (RFC 9000 section 8.1.2).
    Challenge = 2,
    /// What comes from it is dropped.
    Drop = 3,
}

/// Where a packet comes from, read as far as it is asked for.
pub trait Source {
    /// UDP port.
    fn port(&self) -> u16;

    /// The address; `None` where it cannot be read.
    fn address(&self) -> Option<Address>;
}

impl Source for Endpoint {
    #[inline(always)]
    fn port(&self) -> u16 {
        self.port
    }

    #[inline(always)]
    fn address(&self) -> Option<Address> {
        Some(self.address)
    }
}

/// A source whose address takes a look at the packet, which is not taken where the list is empty.
pub(crate) struct Late<F> {
    pub(crate) port: u16,
    pub(crate) read: F,
}

impl<F: Fn() -> Option<Address>> Source for Late<F> {
    #[inline(always)]
    fn port(&self) -> u16 {
        self.port
    }

    #[inline(always)]
    fn address(&self) -> Option<Address> {
        (self.read)()
    }
}

/// What the list says of a packet's source; nothing is looked up while it is empty.
#[inline(always)]
pub fn listed<T: Tables>(source: Option<&Address>, tables: &T) -> Listed {
    if tables.settings().is_none_or(|settings| settings.blocks() == 0) {
        return Listed::No;
    }
    source.map_or(Listed::No, |address| tables.listed(address))
}
