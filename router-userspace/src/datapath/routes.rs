//! Where a datagram goes that the kernel's stack does not send: by which interface, and between which
//! link addresses.
//!
//! The rule this file keeps: what is not plain is not answered, and then the stack sends. Plain is a
//! unicast route without tunnel or labels, by an Ethernet device that is up, to a neighbour whose link
//! address the kernel has.

use std::{io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};

use router_common::{frame::UDP, identifiers::IfIndex};

use super::netlink::Netlink;

/// The routes and neighbours of a network namespace, as they are when they are asked for.
pub struct Routes(Netlink);

/// The way to another host, as far as the next one on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The interface it goes out by.
    pub interface: IfIndex,
    /// The interface's link address.
    pub own: [u8; 6],
    /// The neighbour's.
    pub neighbour: [u8; 6],
    /// The longest packet that the interface carries, from its IP header on.
    pub mtu: u32,
    /// The kernel does not know whether the neighbour is still there, and looks when it next sends to it.
    pub is_stale: bool,
}

impl Routes {
    /// Those of this thread's namespace.
    ///
    /// # Errors
    /// If there is no netlink socket to be had.
    pub fn open() -> io::Result<Self> {
        Netlink::open().map(Self)
    }

    /// The next hop of a datagram between two addresses; nothing where it has to take the stack.
    pub fn hop(&mut self, from: IpAddr, to: IpAddr) -> Option<Hop> {
        if !goes_far(to) {
            return None;
        }
        let (interface, next) = self.route(from, to)?;
        let (own, mtu) = plain_link(&self.0.link(interface)?)?;
        let (neighbour, is_stale) = self.neighbour(interface, next)?;
        Some(Hop { interface, own, neighbour, mtu, is_stale })
    }

    /// The longest packet, from its IP header on, that the interface carries by which a datagram between two addresses
    /// leaves, be its next hop known or not.
    pub fn mtu(&mut self, from: IpAddr, to: IpAddr) -> Option<u32> {
        let (interface, _) = self.route(from, to)?;
        let link = self.0.link(interface)?;
        link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })
    }

    /// By which interface and to whom (`RTM_GETROUTE`).
    fn route(&mut self, from: IpAddr, to: IpAddr) -> Option<(IfIndex, IpAddr)> {
        let mut question = RouteMessage::default();
        question.header.address_family = family(to);
        let bits = if to.is_ipv4() { 32 } else { 128 };
        (question.header.destination_prefix_length, question.header.source_prefix_length) = (bits, bits);
        question.attributes = vec![
            RouteAttribute::Destination(to.into()),
            RouteAttribute::Source(from.into()),
            RouteAttribute::IpProto(UDP),
        ];
        let RouteNetlinkMessage::NewRoute(route) = self.0.ask(RouteNetlinkMessage::GetRoute(question))? else {
            return None;
        };
        plain_route(&route, to)
    }

    /// The link address of a neighbour, and whether it is stale (`RTM_GETNEIGH`).
    fn neighbour(&mut self, interface: IfIndex, next: IpAddr) -> Option<([u8; 6], bool)> {
        let mut question = NeighbourMessage::default();
        question.header.family = family(next);
        question.header.ifindex = interface.get();
        let address = match next {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        };
        question.attributes = vec![NeighbourAttribute::Destination(address)];
        match self.0.ask(RouteNetlinkMessage::GetNeighbour(question))? {
            RouteNetlinkMessage::NewNeighbour(neighbour) => known_neighbour(&neighbour),
            _ => None,
        }
    }
}

/// Whether an address says by itself where it is: a link-local one does not.
fn goes_far(to: IpAddr) -> bool {
    let is_link_local = match to {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !is_link_local && !to.is_multicast() && !to.is_unspecified() && !to.is_loopback()
}

fn plain_route(route: &RouteMessage, to: IpAddr) -> Option<(IfIndex, IpAddr)> {
    let (mut interface, mut next) = (None, to);
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(IfIndex::new(*index)),
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => next = (*gateway).into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => next = (*gateway).into(),
            RouteAttribute::Gateway(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::Encap(_)
            | RouteAttribute::EncapType(_)
            | RouteAttribute::NewDestination(_)
            | RouteAttribute::MultiPath(_) => return None,
            _ => {}
        }
    }
    interface.zip(Some(next)).filter(|(_, next)| next.is_ipv4() == to.is_ipv4())
}

/// The link address and MTU of an Ethernet device that is up.
fn plain_link(link: &LinkMessage) -> Option<([u8; 6], u32)> {
    let is_up = link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    if !is_up || link.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    let own = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(octets) => <[u8; 6]>::try_from(&octets[..]).ok(),
        _ => None,
    });
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    own.zip(mtu)
}

fn known_neighbour(neighbour: &NeighbourMessage) -> Option<([u8; 6], bool)> {
    let is_stale = match neighbour.header.state {
        NeighbourState::Permanent | NeighbourState::Reachable | NeighbourState::Delay | NeighbourState::Probe => false,
        NeighbourState::Stale => true,
        _ => return None,
    };
    let address = neighbour.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(octets) => <[u8; 6]>::try_from(&octets[..]).ok(),
        _ => None,
    })?;
    Some((address, is_stale))
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_here_or_on_the_link_has_no_hop() {
        for to in ["127.0.0.1", "::1", "0.0.0.0", "255.255.255.255", "224.0.0.251", "169.254.1.1", "fe80::1", "ff02::1"]
        {
            assert!(!goes_far(to.parse().unwrap()), "{to}");
        }
        assert!(goes_far("192.0.2.1".parse().unwrap()) && goes_far("2001:db8::1".parse().unwrap()));
        let mut routes = Routes::open().unwrap();
        let own = "127.0.0.1".parse().unwrap();
        assert_eq!(routes.hop(own, own), None);
        // The socket is good for the next question also after a refusal.
        assert_eq!(routes.route("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()), None, "not our address");
        assert_eq!(routes.route(own, "127.9.9.9".parse().unwrap()), None, "a local route");
        assert!(plain_link(&routes.0.link(IfIndex::new(1)).unwrap()).is_none(), "the loopback is no Ethernet");
    }

    #[test]
    fn a_route_that_is_not_plain_is_left_to_the_stack() {
        let to = "192.0.2.1".parse().unwrap();
        let route = |attributes: Vec<RouteAttribute>| {
            let mut route = RouteMessage::default();
            route.header.kind = RouteType::Unicast;
            route.attributes = attributes;
            plain_route(&route, to)
        };
        let gateway = |address: &str| RouteAttribute::Gateway(address.parse::<IpAddr>().unwrap().into());
        assert_eq!(route(vec![RouteAttribute::Oif(3)]), Some((IfIndex::new(3), to)));
        assert_eq!(route(vec![RouteAttribute::Oif(3), gateway("10.0.0.1")]).unwrap().1.to_string(), "10.0.0.1");
        assert_eq!(route(vec![RouteAttribute::Oif(3), gateway("fe80::1")]), None, "another family's");
        assert_eq!(route(vec![RouteAttribute::Oif(3), RouteAttribute::Encap(Vec::new())]), None);
        assert_eq!(route(vec![gateway("10.0.0.1")]), None);
    }

    #[test]
    fn only_a_neighbour_that_the_kernel_would_send_to() {
        let known = |state| {
            let mut neighbour = NeighbourMessage::default();
            neighbour.header.state = state;
            neighbour.attributes = vec![NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 9])];
            known_neighbour(&neighbour)
        };
        assert_eq!(known(NeighbourState::Reachable), Some(([2, 0, 0, 0, 0, 9], false)));
        assert_eq!(known(NeighbourState::Stale), Some(([2, 0, 0, 0, 0, 9], true)));
        for state in [NeighbourState::Failed, NeighbourState::Incomplete, NeighbourState::Noarp, NeighbourState::None] {
            assert_eq!(known(state), None, "{state:?}");
        }
    }
}
