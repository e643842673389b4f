//! The host's addresses: only what is for them is judged, and goes to an AF_XDP socket.

use std::{collections::BTreeSet, io, net::IpAddr};

use nix::ifaddrs::getifaddrs;

use crate::agent::{mapped, node::Node};

impl Node {
    /// Tells the kernel which they are, if that has changed.
    pub(in crate::agent) fn look_after_addresses(&self) {
        let now = match local_addresses() {
            Ok(now) => now,
            Err(e) => return tracing::error!("cannot list local addresses: {e}"),
        };
        if *self.queues.addresses.borrow() != now {
            let written = match self.steering.kernel() {
                Some(kernel) => kernel.datapath.borrow_mut().set_local_addresses(&now),
                None => Ok(()),
            };
            match written {
                Ok(()) => *self.queues.addresses.borrow_mut() = now,
                Err(e) => tracing::error!("the host's addresses: {e}"),
            }
        }
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
