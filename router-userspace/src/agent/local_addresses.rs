//! The host's addresses: only what is for them is judged, and goes to an AF_XDP socket.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    io,
    net::IpAddr,
};

use nix::ifaddrs::getifaddrs;
use router_common::frame::Address;

use crate::agent::{addresses::mapped, kernel::Kernel};

/// What the map `local_addresses` says.
#[derive(Default)]
pub(in crate::agent) struct LocalAddresses {
    known: RefCell<BTreeSet<[u8; 16]>>,
    /// Whether another generation may have written the map meanwhile.
    is_stale: Cell<bool>,
}

impl LocalAddresses {
    /// Tells the kernel which they are, if that has changed.
    pub(in crate::agent) fn reconcile(&self, kernel: Option<&Kernel>) {
        let now = match local_addresses() {
            Ok(now) => now,
            Err(e) => return tracing::error!("cannot list local addresses: {e}"),
        };
        if !self.is_stale.get() && *self.known.borrow() == now {
            return;
        }
        let written = match kernel {
            Some(kernel) => kernel.datapath.borrow_mut().set_local_addresses(&now),
            None => Ok(()),
        };
        match written {
            Ok(()) => {
                *self.known.borrow_mut() = now;
                self.is_stale.set(false);
            }
            Err(e) => tracing::error!("the host's addresses: {e}"),
        }
    }

    /// Another generation writes the map from now on.
    pub(in crate::agent) fn leave(&self) {
        self.is_stale.set(true);
    }

    /// Whether the map has an address as the host's own.
    pub(in crate::agent) fn contains(&self, address: &Address) -> bool {
        self.known.borrow().contains(&address.octets().0)
    }
}

/// The host's addresses, as the maps have them.
fn local_addresses() -> io::Result<BTreeSet<[u8; 16]>> {
    let addresses = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    });
    Ok(addresses.map(|address| mapped(address).octets().0).collect())
}
