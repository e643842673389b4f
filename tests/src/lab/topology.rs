//! Which namespaces and addresses are on which wire.
//!
//! ```text
//! clients 0                    router                     upstream
//! [router0] ══ N queues ══ [clients0]
//! clients 1                            [upstream0] ══ [router0]
//! [router0] ══ N queues ══ [clients1]
//! ```
//!
//! Interfaces are named after what is at the other end. The clients' wires are quiet: their
//! ends know each other from the start and speak no ARP and no neighbour discovery, nor do
//! they report the multicast groups of that, so no such packet disturbs a count.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;

use super::{
    Program,
    awaiting::until,
    netns::{Namespace, batch, run},
};

/// An XDP program for the clients' end of a wire.
const XDP_PASS: &str = include_str!("../../peers/xdp-pass.py");

/// The namespaces of a laboratory and the wires between them.
#[derive(Debug)]
pub struct Network {
    clients: Vec<Wire>,
    router: Namespace,
    upstream: Namespace,
}

/// What the wires are like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Namespaces of clients, 1 to 9.
    pub clients: u8,
    /// Receive and transmit queues of their wires, at each end.
    pub queues: u16,
}

/// A namespace of clients and its wire to the router.
#[derive(Debug)]
pub struct Wire {
    namespace: Namespace,
    number: u8,
}

impl Network {
    /// Makes the namespaces `PREFIX-router`, `PREFIX-clients0`, ..., `PREFIX-upstream`, and
    /// wires them up.
    pub fn new(prefix: &str, shape: Shape) -> Result<Self> {
        let router = Namespace::new(format!("{prefix}-router"))?;
        let upstream = Namespace::new(format!("{prefix}-upstream"))?;
        connect_upstream(&router, &upstream)?;
        let clients = Wire::lay(prefix, &router, shape)?;
        Ok(Self { clients, router, upstream })
    }

    /// Where the agent runs.
    pub fn router(&self) -> &Namespace {
        &self.router
    }

    /// Where the servers run that the agent proxies to.
    pub fn upstream(&self) -> &Namespace {
        &self.upstream
    }

    /// Where clients run.
    pub fn clients(&self) -> &[Wire] {
        &self.clients
    }
}

impl Wire {
    /// Makes the namespaces `PREFIX-clients0`, ..., each with a wire to `router`.
    pub(super) fn lay(prefix: &str, router: &Namespace, shape: Shape) -> Result<Vec<Self>> {
        let wire = |number| {
            let namespace = Namespace::new(format!("{prefix}-clients{number}"))?;
            let wire = Self { namespace, number };
            wire.connect(router, shape)?;
            Ok(wire)
        };
        (0..shape.clients).map(wire).collect()
    }

    /// The namespace of the clients.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Has the clients' end receive by XDP for as long as the result lives: what an XDP program of the router's sends
    /// back is lost on a veth else.
    pub fn receiving_by_xdp(&self) -> Result<Program> {
        receive_by_xdp(&self.namespace, "router0")
    }

    /// The router's interface on this wire.
    pub fn router_interface(&self) -> String {
        format!("clients{}", self.number)
    }

    /// The router's IPv4 address on this wire.
    pub fn router4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 1)
    }

    /// The router's IPv6 address on this wire.
    pub fn router6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, 0, 0, self.number.into(), 0, 0, 0, 1)
    }

    /// Both.
    pub fn routers(&self) -> [IpAddr; 2] {
        [self.router4().into(), self.router6().into()]
    }

    /// The clients' IPv4 addresses: the first one is used until [`move_clients`](Self::move_clients).
    pub fn client4(&self) -> [Ipv4Addr; 2] {
        [2, 3].map(|host| Ipv4Addr::new(10, 77, self.number, host))
    }

    /// The clients' IPv6 addresses, likewise.
    pub fn client6(&self) -> [Ipv6Addr; 2] {
        [2, 3].map(|host| Ipv6Addr::new(0xfd77, 0, 0, self.number.into(), 0, 0, 0, host))
    }

    /// The Ethernet addresses on this wire: the router's and the clients'.
    pub fn macs(&self) -> [[u8; 6]; 2] {
        [1, 2].map(|end| [0x02, 0x77, 0, 0, self.number, end])
    }

    /// What the router's listener on any address and `port` is to these clients.
    pub fn router(&self, port: u16) -> SocketAddr {
        (self.router4(), port).into()
    }

    /// What a NAT does to clients behind it: from now on all that they send, also in
    /// connections they have, comes from their address `which` (0 or 1). Their ports stay,
    /// and both addresses receive.
    pub fn move_clients(&self, which: usize) -> Result<()> {
        self.namespace.ip(&self.sources(which))
    }

    /// Commands that choose which addresses clients send from.
    fn sources(&self, which: usize) -> String {
        let (v4, v6) = (self.client4()[which], self.client6()[which]);
        format!(
            "route replace 10.77.{n}.0/24 dev router0 src {v4}\n\
             route replace fd77:0:0:{n}::/64 dev router0 src {v6} metric 10\n",
            n = self.number
        )
    }

    /// The router's end goes down and comes up again. What the kernel forgets over that is put back.
    pub fn flap(&self, router: &Namespace) -> Result<()> {
        let link = self.router_interface();
        router.ip(&format!("link set {link} down\nlink set {link} up\n{}", self.at_router()))
    }

    /// The wire is taken away.
    pub fn remove(&self, router: &Namespace) -> Result<()> {
        router.ip(&format!("link del {}\n", self.router_interface()))
    }

    /// What clients send while their wire is away gets lost from now on, instead of being refused by
    /// their own kernel.
    pub fn lead_nowhere_else(&self) -> Result<()> {
        self.namespace
            .ip("link add nowhere type veth peer name nowhere1\nlink set nowhere1 up\nlink set nowhere arp off up\n\
             addr add 10.76.0.1/32 dev nowhere\nroute add 0.0.0.0/0 dev nowhere metric 10000\n")
    }

    /// Another wire of the same names is put in its place, with so many queues.
    pub fn put_back(&self, router: &Namespace, queues: u16) -> Result<()> {
        self.connect(router, Shape { clients: 1, queues })
    }

    /// Other numbers of receive queues are in use at the router's end, before and after. The clients'
    /// end never sends on more than those: native XDP on a veth wants that.
    pub fn use_queues(&self, router: &Namespace, [before, after]: [u16; 2]) -> Result<()> {
        let set = |namespace: &Namespace, link: &str, kind: &str| {
            let mut ethtool = namespace.command("ethtool");
            run(ethtool.args(["-L", link, kind, &after.to_string()])).map(drop)
        };
        let receiving = || set(router, &self.router_interface(), "rx");
        let sending = || set(&self.namespace, "router0", "tx");
        if after < before { sending().and_then(|()| receiving()) } else { receiving().and_then(|()| sending()) }
    }

    /// Commands that give the router's end its addresses, and name the neighbours at the other end.
    fn at_router(&self) -> String {
        let (link, [_, client_mac]) = (self.router_interface(), self.macs().map(mac));
        let ([c4, c4_other], [c6, c6_other]) = (self.client4().map(IpAddr::from), self.client6().map(IpAddr::from));
        format!(
            "addr replace {}/24 dev {link}\naddr replace {}/64 dev {link} nodad\n{}",
            self.router4(),
            self.router6(),
            neighbours(&link, &client_mac, [c4, c4_other, c6, c6_other])
        )
    }

    fn connect(&self, router: &Namespace, shape: Shape) -> Result<()> {
        let (here, there) = ("router0", self.router_interface());
        let [router_mac, client_mac] = self.macs().map(mac);
        let queues = format!("numtxqueues {q} numrxqueues {q}", q = shape.queues);
        batch(
            &[],
            &format!(
                "link add name {there} netns {} address {router_mac} {queues} type veth \
                 peer name {here} netns {} address {client_mac} {queues}\n",
                router.name(),
                self.namespace.name()
            ),
        )?;
        router.ip(&format!("link set {there} arp off up\n{}", self.at_router()))?;
        self.move_in(&self.namespace)
    }

    /// Makes `namespace`, which has an interface `router0`, the home of the clients.
    pub(super) fn move_in(&self, namespace: &Namespace) -> Result<()> {
        let [router_mac, client_mac] = self.macs().map(mac);
        let ([c4, c4_other], [c6, c6_other]) = (self.client4(), self.client6());
        namespace.ip(&format!(
            "link set router0 address {client_mac}\nlink set router0 arp off up\n\
             addr add {c4}/24 dev router0\naddr add {c4_other}/24 dev router0\n\
             addr add {c6}/64 dev router0 nodad\naddr add {c6_other}/64 dev router0 nodad\n{}{}",
            neighbours("router0", &router_mac, [self.router4().into(), self.router6().into()]),
            self.sources(0)
        ))?;
        // A redirected frame has lost the word that its checksum is yet to be filled in:
        // the sender computes it.
        namespace.offload("router0", &["tx", "off"])
    }
}

/// Has the interface `link` of `namespace` receive by XDP for as long as the result lives.
pub(super) fn receive_by_xdp(namespace: &Namespace, link: &str) -> Result<Program> {
    let mut command = namespace.command("python3");
    let passing = Program::start("xdp-pass.py", command.args(["-c", XDP_PASS, link]))?;
    until(|| namespace.has_xdp(link), |has_xdp| *has_xdp)?;
    Ok(passing)
}

/// The servers' address as the router sees it.
pub const UPSTREAM4: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);

/// The servers' IPv6 address as the router sees it.
pub const UPSTREAM6: Ipv6Addr = Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2);

/// The router's interface towards the servers.
const UPSTREAM_INTERFACE: &str = "upstream0";

fn connect_upstream(router: &Namespace, upstream: &Namespace) -> Result<()> {
    batch(
        &[],
        &format!(
            "link add name {UPSTREAM_INTERFACE} netns {} type veth peer name router0 netns {}\n",
            router.name(),
            upstream.name()
        ),
    )?;
    router.ip(&format!(
        "link set {UPSTREAM_INTERFACE} up\naddr add 10.78.0.1/24 dev {UPSTREAM_INTERFACE}\n\
         addr add fd78::1/64 dev {UPSTREAM_INTERFACE} nodad\n"
    ))?;
    upstream.ip(&format!(
        "link set router0 up\naddr add {UPSTREAM4}/24 dev router0\naddr add {UPSTREAM6}/64 dev router0 nodad\n"
    ))
}

/// Commands that make it known for good that `addresses` are at `mac` on `link`.
fn neighbours<const N: usize>(link: &str, mac: &str, addresses: [IpAddr; N]) -> String {
    addresses.map(|address| format!("neigh replace {address} lladdr {mac} dev {link} nud permanent\n")).concat()
}

/// An Ethernet address as `ip` writes it.
pub fn mac(octets: [u8; 6]) -> String {
    octets.map(|octet| format!("{octet:02x}")).join(":")
}
