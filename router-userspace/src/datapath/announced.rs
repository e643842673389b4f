//! Routes by which a routing daemon is told what to announce: `blackhole ADDRESS`, in a routing table that no packet is
//! looked up in, under a protocol number that says whose they are.
//!
//! The rule this file keeps: nothing is changed but routes of our number, in the table that was named.

use std::{collections::BTreeSet, io, net::IpAddr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

use super::netlink::Netlink;

/// The protocol number of our routes (`proto` of `ip route`): neither the kernel's, nor one that a routing daemon is known
/// to use for what it writes itself, and which it would pass over.
const ROUTE_PROTOCOL: u8 = 114;

/// The routes of ours in a routing table of the kernel.
pub struct AnnouncedRoutes {
    netlink: Netlink,
    table: u32,
}

impl AnnouncedRoutes {
    /// Those of this table, in the network namespace of this thread.
    ///
    /// # Errors
    /// If there is no netlink socket to be had.
    pub fn open(table: u32) -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open_for_lists()?, table })
    }

    /// The addresses to which there is one.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn list(&mut self) -> io::Result<BTreeSet<IpAddr>> {
        let mut addresses = BTreeSet::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            addresses.extend(self.list_of(family)?);
        }
        Ok(addresses)
    }

    fn list_of(&mut self, family: AddressFamily) -> io::Result<Vec<IpAddr>> {
        for _ in 0..LISTS {
            match self.netlink.list(RouteNetlinkMessage::GetRoute(question(family, self.table))) {
                Ok(routes) => return Ok(routes.iter().filter_map(|route| ours(route, self.table)).collect()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // There is no such table before there is a route in it.
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(Vec::new()),
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// Makes the route to an address.
    ///
    /// # Errors
    /// What the kernel refuses: where another program has a route to the address in this table, that it is there.
    pub fn add(&mut self, address: IpAddr) -> io::Result<()> {
        let route = RouteNetlinkMessage::NewRoute(route(address, self.table));
        self.netlink.order(route, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes the route to an address, if it is there.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn remove(&mut self, address: IpAddr) -> io::Result<()> {
        match self.netlink.order(RouteNetlinkMessage::DelRoute(route(address, self.table)), 0) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => Ok(()),
            done => done,
        }
    }
}

/// For which routes the kernel is asked.
fn question(family: AddressFamily, table: u32) -> RouteMessage {
    let mut question = RouteMessage::default();
    question.header.address_family = family;
    question.header.protocol = RouteProtocol::from(ROUTE_PROTOCOL);
    question.header.kind = RouteType::BlackHole;
    question.attributes = vec![RouteAttribute::Table(table)];
    question
}

/// The one route to an address. A removal removes no route that differs from it.
fn route(address: IpAddr, table: u32) -> RouteMessage {
    let mut route = question(family(address), table);
    route.header.scope = RouteScope::Universe;
    route.header.destination_prefix_length = bits(address);
    route.attributes.push(RouteAttribute::Destination(address.into()));
    route
}

/// The address that a route is to, if it is one of ours: kernels that do not look at all that is asked give others, too.
fn ours(message: &RouteNetlinkMessage, table: u32) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let is_of_table = route.attributes.contains(&RouteAttribute::Table(table));
    let is_ours = route.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL);
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::from(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::from(*address)),
        _ => None,
    })?;
    let is_whole = route.header.destination_prefix_length == bits(address);
    (is_of_table && is_ours && is_whole && route.header.kind == RouteType::BlackHole).then_some(address)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// How often a list is asked for that changes meanwhile.
const LISTS: usize = 3;

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// What follows the header of the netlink message.
    fn octets(message: RouteNetlinkMessage) -> Vec<u8> {
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        octets[16..].to_vec()
    }

    #[test]
    fn a_route_as_the_kernel_reads_it() {
        let mut expected = vec![2, 32, 0, 0, 0, 114, 0, 6, 0, 0, 0, 0];
        // RTA_TABLE, also beyond the 255 that the header has room for, and RTA_DST.
        expected.extend([8, 0, 15, 0].into_iter().chain(1_000u32.to_ne_bytes()));
        expected.extend([8, 0, 1, 0, 192, 0, 2, 80]);
        let made = octets(RouteNetlinkMessage::NewRoute(route(address("192.0.2.80"), 1_000)));
        assert_eq!(made, expected);
        let v6 = route(address("2001:db8::80"), 100);
        assert_eq!((v6.header.address_family, v6.header.destination_prefix_length), (AddressFamily::Inet6, 128));
    }

    #[test]
    fn only_what_is_ours_is_found() {
        let of = |change: fn(&mut RouteMessage)| {
            let mut found = route(address("192.0.2.80"), 100);
            change(&mut found);
            ours(&RouteNetlinkMessage::NewRoute(found), 100)
        };
        assert_eq!(of(|_| {}), Some(address("192.0.2.80")));
        assert_eq!(ours(&RouteNetlinkMessage::NewRoute(route(address("::1"), 100)), 100), Some(address("::1")));
        let others: [fn(&mut RouteMessage); 4] = [
            |route| route.header.protocol = RouteProtocol::Static,
            |route| route.header.kind = RouteType::Unicast,
            |route| route.header.destination_prefix_length = 24,
            |route| route.attributes[0] = RouteAttribute::Table(101),
        ];
        for change in others {
            assert_eq!(of(change), None);
        }
    }

    /// The kernel answers these to anybody; that of a table without routes, too.
    #[test]
    fn a_table_without_routes_has_none_of_ours() {
        assert_eq!(AnnouncedRoutes::open(4_000_000_114).unwrap().list().unwrap(), BTreeSet::new());
    }
}
