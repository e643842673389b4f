//! What an AF_XDP socket has to know of an interface: its index, its link address, its queues.

use std::fs;

use netlink_packet_route::link::{InfoKind, LinkAttribute};
use nix::net::if_::if_nametoindex;
use router_common::identifiers::IfIndex;

use super::{
    ethtool,
    xdp_links::{kind, link, name, neighbours},
};

/// What an interface is, now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceFacts {
    /// The kernel's number for it; another one when it was removed and has come back.
    pub index: IfIndex,
    /// Its link address.
    pub mac: [u8; 6],
    /// Receive queues in use.
    pub queues: u32,
    /// Transmit queues in use.
    pub transmit_queues: u32,
    /// Whether frames may come without a UDP checksum, because their sender, on this very host, leaves it to a
    /// device that there is not (veth).
    pub leaves_checksums_out: bool,
}

/// Looks at `interface`; nothing if there is none, or if it is no Ethernet.
pub fn device(interface: &str) -> Option<DeviceFacts> {
    let index = IfIndex::new(if_nametoindex(interface).ok()?);
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
    Some(DeviceFacts { index, mac, queues, transmit_queues, leaves_checksums_out: is_pair(interface) })
}

/// Whether `interface` is an end of a veth.
pub fn is_pair(interface: &str) -> bool {
    ethtool::driver(interface).as_deref() == Some("veth")
}

/// A VLAN on top of `interface` whose tags do not stand in the frames that XDP sees.
pub fn vlan_beside_frames(interface: &str) -> Option<String> {
    ethtool::receive_vlan_offload(interface).filter(|takes_off| *takes_off)?;
    let is_vlan = |name: &String| {
        if_nametoindex(&**name).ok().map(IfIndex::new).and_then(link).as_ref().and_then(kind) == Some(InfoKind::Vlan)
    };
    neighbours(interface).above.into_iter().find(is_vlan)
}

/// The VRF that `interface` belongs to, unless sockets outside of it get its packets all the same
/// (`net.ipv4.udp_l3mdev_accept`).
pub fn vrf(interface: &str) -> Option<String> {
    let attributes = link(IfIndex::new(if_nametoindex(interface).ok()?))?.attributes;
    let controller = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => link(IfIndex::new(*index)),
        _ => None,
    })?;
    let is_open = fs::read_to_string("/proc/sys/net/ipv4/udp_l3mdev_accept").is_ok_and(|text| text.trim() == "1");
    (kind(&controller) == Some(InfoKind::Vrf) && !is_open).then(|| name(&controller)).flatten()
}
