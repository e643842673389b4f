//! The network of a cluster: clients, a router that spreads them over nodes by ECMP, and nodes that have one address.
//!
//! ```text
//! clients 0                 fabric               node 0 (VIP on lo)
//! [router0] ══ [clients0]         [node0] ══ N queues ══ [fabric0]    [upstream0] ── [node0]
//! clients 1                 ECMP                 node 1                              upstream
//! [router0] ══ [clients1]         [node1] ══ N queues ══ [fabric0]    [upstream0] ── [node1]
//! ```
//!
//! Nodes have no wire to each other: a packet that one sends on to another goes by way of the fabric. They learn their
//! neighbour by ARP and neighbour discovery, as in any network.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context, Result, ensure};

use super::{
    super::{
        netns::{Namespace, batch},
        topology::{Shape, UPSTREAM4, UPSTREAM6, Wire},
    },
    etcd::ETCD,
    node::Wiring,
};

/// How the router keeps flows on their nodes when the set of nodes changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ecmp {
    /// By hash threshold: when a node joins or leaves, flows of the others move, too.
    Plain,
    /// By buckets: few flows move (`ip nexthop ... type resilient`).
    Resilient,
}

/// The router of a cluster, its clients, and the servers behind the nodes.
#[derive(Debug)]
pub struct Fabric {
    clients: Vec<Wire>,
    router: Namespace,
    upstream: Namespace,
    ecmp: Ecmp,
    /// The nodes that new flows may go to, by their index.
    in_route: BTreeSet<u8>,
}

impl Fabric {
    /// Makes the namespaces `PREFIX-fabric`, `PREFIX-clients0`, ..., `PREFIX-upstream`. No node is in the route.
    pub(super) fn new(prefix: &str, shape: Shape, ecmp: Ecmp) -> Result<Self> {
        let router = Namespace::new(format!("{prefix}-fabric"))?;
        for (key, value) in ROUTER {
            router.set(key, value)?;
        }
        let upstream = Namespace::new(format!("{prefix}-upstream"))?;
        // The servers' addresses are on none of the wires, so that nodes may come and go.
        upstream.ip(&format!(
            "addr add {UPSTREAM4}/32 dev lo\naddr add {ETCD}/32 dev lo\naddr add {UPSTREAM6}/128 dev lo nodad\n"
        ))?;
        let clients = Wire::lay(prefix, &router, shape)?;
        for wire in &clients {
            lead_out(wire, wire.namespace())?;
        }
        Ok(Self { clients, router, upstream, ecmp, in_route: BTreeSet::new() })
    }

    /// The router's namespace.
    pub fn router(&self) -> &Namespace {
        &self.router
    }

    /// Where the servers run that the nodes proxy to.
    pub fn upstream(&self) -> &Namespace {
        &self.upstream
    }

    /// Where clients run.
    pub fn clients(&self) -> &[Wire] {
        &self.clients
    }

    /// The nodes that new flows may go to, by their index.
    pub fn in_route(&self) -> &BTreeSet<u8> {
        &self.in_route
    }

    /// Has new flows go to these nodes and no others. Established flows may move, by [`Ecmp`].
    ///
    /// # Errors
    /// If it names no node, or one whose wire is down.
    pub fn route(&mut self, nodes: impl IntoIterator<Item = u8>) -> Result<()> {
        let nodes: BTreeSet<_> = nodes.into_iter().collect();
        self.change(nodes.iter().copied()).make()?;
        self.in_route = nodes;
        Ok(())
    }

    /// Has the router know no way to the cluster's addresses, until something else tells it.
    pub(super) fn forget_route(&mut self) -> Result<()> {
        self.in_route.clear();
        self.router.ip(&Family::BOTH.map(|family| format!("route del {}\n", family.vip())).concat())
    }

    /// A change of the route to be made later, in the middle of something else.
    pub fn change(&self, nodes: impl IntoIterator<Item = u8>) -> RouteChange {
        let nodes: Vec<_> = nodes.into_iter().collect();
        let group = |family: Family| {
            let hops: Vec<_> = nodes.iter().map(|&node| family.hop(node).to_string()).collect();
            let kind = match self.ecmp {
                Ecmp::Plain => String::new(),
                Ecmp::Resilient => format!(" type resilient buckets {BUCKETS} idle_timer 1"),
            };
            format!("nexthop replace id {} group {}{kind}\n", family.group(), hops.join("/"))
        };
        let routes = Family::BOTH.map(|family| format!("route replace {} nhid {}\n", family.vip(), family.group()));
        let lines = [Family::BOTH.map(group).concat(), routes.concat()].concat();
        RouteChange { router: self.router.name().to_owned(), nodes, lines }
    }

    /// Makes the router's end of a node's wire, named `nodeINDEX`, ready, and the next hops by it. The node is not in the
    /// route yet. The other end has to be up: without a carrier there is no next hop.
    pub(super) fn connect(&self, node: &Wiring) -> Result<()> {
        // Without a link-local address a router asks for no neighbour that it forwards to.
        let (link, index) = (node.at_fabric(), node.index());
        let hops = Family::BOTH.map(|family| {
            let address = node.address(family);
            format!("nexthop replace id {} via {address} dev {link}\n", family.hop(index))
        });
        self.router.ip(&format!(
            "link set {link} up\naddr replace fe80::1/64 dev {link} nodad\n\
             addr replace {}/24 dev {link}\naddr replace {}/64 dev {link} nodad\n{}",
            node.gateway(Family::V4),
            node.gateway(Family::V6),
            hops.concat()
        ))
    }

    /// Takes the wire of a node down, as when its host loses power: the router notices, and takes it out of the route.
    pub(super) fn disconnect(&mut self, node: &Wiring) -> Result<()> {
        // The kernel removes the next hops of an interface that goes down, from their groups, too.
        self.in_route.remove(&node.index());
        self.router.ip(&format!("link set {} down\n", node.at_fabric()))
    }
}

/// A change of the route that is yet to be made.
#[derive(Clone, Debug)]
pub struct RouteChange {
    router: String,
    nodes: Vec<u8>,
    lines: String,
}

impl RouteChange {
    /// Makes it.
    ///
    /// # Errors
    /// If it names no node, or one whose wire is down.
    pub fn make(&self) -> Result<()> {
        ensure!(!self.nodes.is_empty(), "a route needs at least one node");
        batch(&["-n", &self.router], &self.lines).with_context(|| format!("cannot route to the nodes {:?}", self.nodes))
    }
}

/// Has clients in `namespace` reach everything by way of the router.
pub(super) fn lead_out(wire: &Wire, namespace: &Namespace) -> Result<()> {
    let [v4, v6] = wire.routers();
    namespace.ip(&format!("route add default via {v4} dev router0\nroute add default via {v6} dev router0\n"))?;
    // What an XDP program puts into a tunnel is never given a checksum any more.
    namespace.offload("router0", &["tx", "off", "gso", "off", "tso", "off"])
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The address that all nodes have.
    pub fn vip(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::from([10, 80, 0, 1]),
            Self::V6 => IpAddr::from([0xfd80, 0, 0, 0, 0, 0, 0, 1]),
        }
    }

    /// The number of its group of next hops.
    fn group(self) -> u32 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    /// The number of the next hop that is a node.
    fn hop(self, node: u8) -> u32 {
        let first = match self {
            Self::V4 => 1_000,
            Self::V6 => 2_000,
        };
        first + u32::from(node)
    }
}

/// Written before any link exists.
const ROUTER: [(&str, &str); 4] = [
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    // By ports, too: a NAT rebinding may bring a connection to another node.
    ("ipv4/fib_multipath_hash_policy", "1"),
    ("ipv6/fib_multipath_hash_policy", "1"),
];
/// Of a resilient group.
const BUCKETS: u32 = 64;
