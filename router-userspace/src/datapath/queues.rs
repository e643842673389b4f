//! What an AF_XDP socket has to know of an interface: its index, its link address, its queues.

use netlink_packet_route::link::LinkAttribute;
use nix::net::if_::if_nametoindex;

use super::{ethtool, xdp_links::link};

/// What an interface is, now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceFacts {
    /// The kernel's number for it; another one when it was removed and has come back.
    pub index: u32,
    /// Its link address.
    pub mac: [u8; 6],
    /// Receive queues in use.
    pub queues: u32,
    /// Transmit queues in use.
    pub transmit_queues: u32,
}

/// Looks at `interface`; nothing if there is none, or if it is no Ethernet.
pub fn device(interface: &str) -> Option<DeviceFacts> {
    let index = if_nametoindex(interface).ok()?;
    let attributes = link(index)?.attributes;
    let mac = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(octets) => <[u8; 6]>::try_from(&octets[..]).ok(),
        _ => None,
    })?;
    // A driver that does not tell how many are in use has all of them.
    let possible = |which: fn(&LinkAttribute) -> Option<u32>| attributes.iter().find_map(which).unwrap_or(1);
    let (queues, transmit_queues) = match ethtool::queues(interface) {
        Some(queues) => (queues.receive, queues.transmit),
        None => (
            possible(|attribute| if let LinkAttribute::NumRxQueues(all) = attribute { Some(*all) } else { None }),
            possible(|attribute| if let LinkAttribute::NumTxQueues(all) = attribute { Some(*all) } else { None }),
        ),
    };
    Some(DeviceFacts { index, mac, queues, transmit_queues })
}
