//! The other nodes of the cluster, as workers know of them.

use std::{collections::BTreeMap, net::SocketAddr};

use router_common::{
    frame::{Endpoint, IPV4_LENGTH, IPV6_LENGTH, UDP_LENGTH},
    identifiers::{NodeId, SlotId},
    maps::{AssignedNode, Node},
    tunnel::TunnelKeys,
};

/// The other nodes, and what is between them and this one. Empty where there is no cluster.
///
/// It has no `Debug`, so that the keys come into no log.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeList {
    /// By number.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Which of them new connections are for; none: this node keeps what it gets. Only where workers look at packets
    /// first: what an XDP program let through is this node's.
    pub assignment: Option<Box<[AssignedNode]>>,
    /// What vouches for forwarded packets.
    pub keys: TunnelKeys,
    /// Where the tunnel ends on this node.
    pub tunnel: Option<Endpoint>,
    /// Where other generations of this node take what comes by the tunnel for their slots.
    pub generations: BTreeMap<SlotId, SocketAddr>,
    /// Whether what comes to workers' sockets has passed an XDP program, that of the tunnel's end among them: then a first
    /// flight may have been sent on already, and is not sent on again.
    pub is_behind_xdp: bool,
    /// The longest inner packet, in octets from its IP header on, that every other node can send to this one; 0 where it is
    /// not known.
    pub longest: u16,
}

impl NodeList {
    /// Nobody.
    pub const EMPTY: Self = Self {
        nodes: BTreeMap::new(),
        assignment: None,
        keys: TunnelKeys::NONE,
        tunnel: None,
        generations: BTreeMap::new(),
        is_behind_xdp: false,
        longest: 0,
    };

    /// The `max_udp_payload_size` (RFC 9000 section 18.2) of connections to a listener: what a client sends has to fit into
    /// the tunnel if another node gets it. `None`: quinn's own.
    pub fn max_udp_payload_size(&self, is_ipv4: bool) -> Option<u16> {
        let headers = UDP_LENGTH + if is_ipv4 { IPV4_LENGTH } else { IPV6_LENGTH };
        let fits = usize::from(self.longest).checked_sub(headers)?;
        Some(fits.clamp(PAYLOAD_MIN, PAYLOAD_MAX) as u16)
    }
}

/// The least that the parameter can say.
const PAYLOAD_MIN: usize = 1_200;
/// The most: what a link of 1,500 octets carries without a tunnel.
const PAYLOAD_MAX: usize = 1_472;

impl Default for NodeList {
    fn default() -> Self {
        Self::EMPTY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a fabric of 1,500 octets: 44 or 64 of the tunnel, 28 or 48 of the client's own packet.
    #[test]
    fn a_payload_fits_into_the_tunnel() {
        let size = |longest, is_ipv4| NodeList { longest, ..NodeList::EMPTY }.max_udp_payload_size(is_ipv4);
        assert_eq!((size(1_456, true), size(1_456, false)), (Some(1_428), Some(1_408)));
        assert_eq!((size(1_436, true), size(1_436, false)), (Some(1_408), Some(1_388)));
        assert_eq!((size(0, true), size(8_956, true), size(1_000, false)), (None, Some(1_472), Some(1_200)));
    }
}
