//! The host's addresses: only what is for them is judged, and goes to an AF_XDP socket. With them the broadcast
//! addresses of its subnets: what is for those is for many hosts, and for no worker here.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr},
};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use router_common::{frame::Address, maps::LocalKind};

use super::{addresses::mapped, steering::Steering};

/// What the maps `local_addresses` and `broadcast_addresses` say.
#[derive(Default)]
pub(super) struct LocalAddresses {
    known: RefCell<BTreeMap<[u8; 16], LocalKind>>,
    /// Whether another generation may have written the maps meanwhile.
    is_stale: Cell<bool>,
}

impl LocalAddresses {
    /// Tells the kernel and the workers which they are, if that has changed.
    pub(super) fn reconcile(&self, steering: &Steering) {
        let now = match local_addresses() {
            Ok(now) => now,
            Err(e) => return tracing::error!("cannot list local addresses: {e}"),
        };
        if !self.is_stale.get() && *self.known.borrow() == now {
            return;
        }
        match steering.set_local_addresses(&now) {
            Ok(()) => {
                *self.known.borrow_mut() = now;
                self.is_stale.set(false);
            }
            Err(e) => tracing::error!("the host's addresses: {e}"),
        }
    }

    /// Another generation writes the maps from now on.
    pub(super) fn leave(&self) {
        self.is_stale.set(true);
    }

    /// What an address is to this host, by the maps.
    pub(super) fn kind(&self, address: &Address) -> Option<LocalKind> {
        self.known.borrow().get(&address.octets().0).copied()
    }
}

/// The host's addresses and its subnets' broadcast addresses, as the maps have them.
fn local_addresses() -> io::Result<BTreeMap<[u8; 16], LocalKind>> {
    let interfaces: Vec<_> = getifaddrs()?.collect();
    let own = interfaces.iter().filter_map(own).map(|address| (address, LocalKind::Own));
    let broadcast = interfaces.iter().flat_map(broadcast).map(|address| (address.into(), LocalKind::Broadcast));
    // An address that the host has is its own, also where it is the last one of another subnet: the later counts.
    Ok(broadcast.chain(own).map(|(address, kind)| (mapped(address).octets().0, kind)).collect())
}

fn own(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address.as_ref()?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
}

/// The one that the interface was given, and the last one of its subnet: the kernel takes in both as broadcasts
/// (`fib_add_ifaddr`), the latter also where none was given.
fn broadcast(interface: &InterfaceAddress) -> impl Iterator<Item = Ipv4Addr> {
    let v4 = |address: &Option<nix::sys::socket::SockaddrStorage>| Some(address.as_ref()?.as_sockaddr_in()?.ip());
    let last = v4(&interface.address).zip(v4(&interface.netmask)).and_then(|(address, mask)| last_of(address, mask));
    let given = v4(&interface.broadcast).filter(|given| !given.is_unspecified());
    last.into_iter().chain(given)
}

/// The last address of a subnet; a subnet of one or two addresses has no broadcast address (RFC 3021).
fn last_of(address: Ipv4Addr, mask: Ipv4Addr) -> Option<Ipv4Addr> {
    (mask.to_bits().count_ones() < 31).then(|| Ipv4Addr::from_bits(address.to_bits() | !mask.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_ends_with_its_broadcast_address() {
        let last = |address: [u8; 4], mask: [u8; 4]| last_of(address.into(), mask.into());
        assert_eq!(last([10, 77, 0, 1], [255, 255, 255, 0]), Some([10, 77, 0, 255].into()));
        assert_eq!(last([127, 0, 0, 1], [255, 0, 0, 0]), Some([127, 255, 255, 255].into()));
        assert_eq!(last([192, 0, 2, 5], [255, 255, 255, 252]), Some([192, 0, 2, 7].into()));
        assert_eq!(last([192, 0, 2, 5], [255, 255, 255, 254]), None);
        assert_eq!(last([192, 0, 2, 5], [255; 4]), None);
    }

    #[test]
    fn the_loopback_is_there_and_its_broadcast_address() {
        let found = local_addresses().unwrap();
        let kind = |address: [u8; 4]| found.get(&mapped(IpAddr::from(address)).octets().0).copied();
        assert_eq!(kind([127, 0, 0, 1]), Some(LocalKind::Own));
        assert_eq!(kind([127, 255, 255, 255]), Some(LocalKind::Broadcast));
        assert_eq!(kind([192, 0, 2, 5]), None);
    }
}
