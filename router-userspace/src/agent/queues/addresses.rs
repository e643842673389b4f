//! The host's addresses: only what is for them goes to an AF_XDP socket.

use std::{collections::BTreeSet, io, net::IpAddr};

use nix::ifaddrs::getifaddrs;

use super::super::{mapped, node::Node};

impl Node {
    /// Tells the kernel which they are, if that has changed.
    pub(super) fn look_after_addresses(&self) {
        let Some(kernel) = &self.kernel else { return };
        let now = match local_addresses() {
            Ok(now) => now,
            Err(e) => return tracing::error!("the host's addresses cannot be told: {e}"),
        };
        if *self.queues.addresses.borrow() != now {
            match kernel.datapath.borrow_mut().set_local_addresses(&now) {
                Ok(()) => *self.queues.addresses.borrow_mut() = now,
                Err(e) => tracing::error!("the host's addresses: {e}"),
            }
        }
    }
}

/// The host's addresses, as the maps have them: those that packets from elsewhere may be for. What
/// comes to a link-local one needs to know its link, so it takes the stack.
fn local_addresses() -> io::Result<BTreeSet<[u8; 16]>> {
    let addresses = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    });
    Ok(addresses.map(mapped).filter(|address| address.is_ordinary()).map(|address| address.octets().0).collect())
}
