//! A node of a cluster: a namespace with an agent of its own, a wire to the fabric, and one to the servers.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};

use super::{
    super::{
        agent::{self, Agent},
        config::AgentConfig,
        control::Control,
        home::Home,
        netns::{Namespace, batch},
        program::{Finished, Program},
        relay::{self, Towards},
        topology::{UPSTREAM4, UPSTREAM6, receive_by_xdp},
        wire::Tap,
    },
    etcd::ETCD,
    fabric::{Fabric, Family},
};

/// A node in operation.
#[derive(Debug)]
pub struct Node {
    // In the order in which they have to end.
    agent: Option<Agent>,
    wiring: Wiring,
    home: Home,
    config: AgentConfig,
}

impl Node {
    /// A node without an agent, whose files begin with `PREFIX-nINDEX`.
    pub(super) fn new(prefix: &str, wiring: Wiring) -> Result<Self> {
        let home = Home::new(&format!("{prefix}-n{}", wiring.index))?;
        Ok(Self { agent: None, wiring, home, config: AgentConfig::new() })
    }

    /// Starts its agent, again if it has been stopped.
    pub fn start(&mut self) -> Result<()> {
        self.agent = None;
        let agent = Agent::start(&self.wiring.namespace, &self.home, &self.config);
        self.agent = Some(agent.with_context(|| format!("node {}", self.number()))?);
        Ok(())
    }

    /// Ends its agent in order, with the connections that it has, and starts it again.
    ///
    /// # Errors
    /// If none runs, or it does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.take_agent()?.terminate()?;
        self.start()
    }

    /// Its number in the cluster: its index and one.
    pub fn number(&self) -> u16 {
        u16::from(self.wiring.index) + 1
    }

    /// Its wires and addresses.
    pub fn wiring(&self) -> &Wiring {
        &self.wiring
    }

    /// The running agent.
    pub fn agent(&self) -> Result<&Agent> {
        self.agent.as_ref().with_context(|| format!("no agent runs on node {}", self.number()))
    }

    /// Takes the agent out, to end it in some way.
    pub fn take_agent(&mut self) -> Result<Agent> {
        self.agent.take().with_context(|| format!("no agent runs on node {}", self.number()))
    }

    /// Whether an agent was started and not taken out.
    pub fn has_agent(&self) -> bool {
        self.agent.is_some()
    }

    /// A client of the agent's control socket.
    pub fn control(&self) -> Control {
        Control::at(&self.home.control())
    }

    /// Runs a verb of its binary's command line on its control socket.
    pub fn cli(&self, arguments: &[&str]) -> Result<Finished> {
        let socket = self.home.control();
        let mut all = vec!["--control", socket.to_str().context("the socket's path is UTF-8")?];
        all.extend(arguments);
        agent::cli_of(&self.config.binary()?, &self.wiring.namespace, &all)
    }

    /// Runs a verb of the command line that reads its configuration, and needs no agent.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn cli_by_config(&self, arguments: &[&str]) -> Result<Finished> {
        let file = self.home.write(agent::CONFIG, &self.config.text(&self.home))?;
        let mut all = vec!["--config", file.to_str().context("the file's path is UTF-8")?];
        all.extend(arguments);
        agent::cli_of(&self.config.binary()?, &self.wiring.namespace, &all)
    }

    /// Its files and pins.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Writes its configuration, and has the running agent read it again; what has changed, one sentence each.
    pub fn reload(&mut self, change: impl FnOnce(&mut AgentConfig)) -> Result<Vec<String>> {
        change(&mut self.config);
        self.home.write(agent::CONFIG, &self.config.text(&self.home))?;
        self.control().reload().with_context(|| format!("node {}", self.number()))
    }

    /// Changes the configuration with which the agent is started the next time.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut AgentConfig)) {
        change(&mut self.config);
    }

    /// Replaces the agent by the next generation: its own binary, or another one.
    pub fn upgrade(&self, binary: Option<&Path>) -> Result<()> {
        self.agent()?.upgrade(binary).with_context(|| format!("node {}", self.number())).map(drop)
    }

    /// Installs `binary` in the node's home: what its agent is started from. A running agent is not told.
    ///
    /// # Errors
    /// If it cannot be copied.
    pub fn install(&mut self, binary: &Path) -> Result<()> {
        self.config.build = Some(self.home.install(binary)?);
        Ok(())
    }

    /// Upgrades the node as an operator does: installs `binary`, and says `quic-router upgrade`.
    ///
    /// # Errors
    /// If the agent that runs goes on.
    pub fn upgrade_to(&mut self, binary: &Path) -> Result<()> {
        self.install(binary)?;
        let said = self.cli(&["upgrade"])?.succeeded();
        said.with_context(|| format!("node {}", self.number())).map(drop)
    }
}

/// A node's namespace, its wires and its addresses.
#[derive(Debug)]
pub struct Wiring {
    _receivers: Vec<Program>,
    relay: Option<NodeRelay>,
    namespace: Namespace,
    index: u8,
}

/// What the wires of a node are like.
#[derive(Clone, Debug)]
pub(super) struct NodeShape {
    /// Receive and transmit queues at each end of the wire to the fabric.
    pub(super) queues: u16,
    /// What stands between the fabric and the node, if anything does.
    pub(super) policy: Option<Policy>,
}

/// For each frame, what is sent in its place: nothing, itself, or something else. [`Towards::Router`] is from the fabric
/// to the node.
#[derive(Clone)]
pub(super) struct Policy(pub(super) Arc<Decide>);

/// What is sent in a frame's place.
type Decide = dyn Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Send + Sync;

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Policy")
    }
}

impl Wiring {
    /// Makes the namespace `PREFIX-nodeINDEX` with the cluster's address on `lo`, and wires it up.
    pub(super) fn new(prefix: &str, index: u8, shape: &NodeShape, fabric: &Fabric) -> Result<Self> {
        let namespace = Namespace::new(format!("{prefix}-node{index}"))?;
        let mut wiring = Self { _receivers: Vec::new(), relay: None, namespace, index };
        wiring.connect_fabric(prefix, shape, fabric)?;
        wiring.move_in()?;
        wiring.connect_upstream(fabric.upstream())?;
        Ok(wiring)
    }

    /// Its place in the laboratory, from 0.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Where its agent runs.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The fabric's interface towards it.
    pub fn at_fabric(&self) -> String {
        format!("node{}", self.index)
    }

    /// Its own address, for other nodes.
    pub fn address(&self, family: Family) -> IpAddr {
        self.host(family, 2)
    }

    /// The fabric's address on its wire.
    pub fn gateway(&self, family: Family) -> IpAddr {
        self.host(family, 1)
    }

    /// Where other nodes send what is its.
    pub fn tunnel(&self) -> SocketAddr {
        (self.address(Family::V4), TUNNEL_PORT).into()
    }

    fn host(&self, family: Family, host: u8) -> IpAddr {
        match family {
            Family::V4 => IpAddr::from([10, 79, self.index, host]),
            Family::V6 => IpAddr::from([0xfd79, 0, 0, self.index.into(), 0, 0, 0, host.into()]),
        }
    }

    /// The wire to the fabric, with a relay in it where there is to be one.
    fn connect_fabric(&mut self, prefix: &str, shape: &NodeShape, fabric: &Fabric) -> Result<()> {
        let (there, queues) = (self.at_fabric(), shape.queues);
        let queues = format!("numtxqueues {queues} numrxqueues {queues}");
        let (router, node) = (fabric.router().name(), self.namespace.name());
        let Some(policy) = &shape.policy else {
            let link = format!("link add name {there} netns {router} {queues} type veth");
            batch(&[], &format!("{link} peer name {FABRIC} netns {node} {queues}\n"))?;
            self.namespace.ip(&format!("link set {FABRIC} up\n"))?;
            fabric.connect(self)?;
            // What an XDP program of the node sends is received by XDP only.
            self._receivers.push(receive_by_xdp(fabric.router(), &there)?);
            return Ok(());
        };
        let between = Namespace::new(format!("{prefix}-relay{}", self.index))?;
        let (name, inside, outside) = (between.name(), relay::INSIDE, relay::OUTSIDE);
        batch(
            &[],
            &format!(
                "link add name {there} netns {router} type veth peer name {inside} netns {name}\n\
                 link add name {outside} netns {name} {queues} type veth peer name {FABRIC} netns {node} {queues}\n"
            ),
        )?;
        between.ip(&format!("link set {inside} up\nlink set {outside} up\n"))?;
        fabric.router().offload(&there, &relay::WHOLE)?;
        self._receivers.push(receive_by_xdp(&between, outside)?);
        self.relay = Some(NodeRelay::new(between, policy.clone())?);
        fabric.connect(self)
    }

    /// Whatever the node sends to etcd gets lost from now on.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn cut_etcd(&self) -> Result<()> {
        self.namespace.ip(&format!("route replace blackhole {ETCD}\n"))
    }

    /// It reaches etcd again.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn mend_etcd(&self) -> Result<()> {
        let source = Self::at_upstream(self.index);
        self.namespace.ip(&format!("route del blackhole {ETCD}\nroute replace {ETCD} dev {UPSTREAM} src {source}\n"))
    }

    /// Its address towards the servers.
    fn at_upstream(index: u8) -> IpAddr {
        IpAddr::from([10, 78, 1, index + 1])
    }

    /// Gives the node its addresses.
    fn move_in(&self) -> Result<()> {
        let [v4, v6] = Family::BOTH.map(|family| self.address(family));
        let [gateway4, gateway6] = Family::BOTH.map(|family| self.gateway(family));
        let [vip4, vip6] = Family::BOTH.map(Family::vip);
        // Without a link-local address a host asks for no neighbour in the name of an address on `lo`.
        self.namespace.ip(&format!(
            "link set {FABRIC} up\naddr add fe80::2/64 dev {FABRIC} nodad\naddr add {v4}/24 dev {FABRIC}\naddr add {v6}/64 dev {FABRIC} nodad\n\
             addr add {vip4}/32 dev lo\naddr add {vip6}/128 dev lo nodad\n\
             route add default via {gateway4} dev {FABRIC}\nroute add default via {gateway6} dev {FABRIC}\n"
        ))?;
        self.namespace.offload(FABRIC, &["tx", "off", "gso", "off", "tso", "off"])
    }

    fn connect_upstream(&self, upstream: &Namespace) -> Result<()> {
        let (link, host) = (self.at_fabric(), self.index + 1);
        let (v4, v6) = (Self::at_upstream(self.index), format!("fd78:0:0:1::{host:x}"));
        let (name, there) = (self.namespace.name(), upstream.name());
        batch(&[], &format!("link add name {UPSTREAM} netns {name} type veth peer name {link} netns {there}\n"))?;
        upstream.ip(&format!("link set {link} up\nroute add {v4} dev {link}\nroute add {v6} dev {link}\n"))?;
        self.namespace.ip(&format!(
            "link set {UPSTREAM} up\naddr add {v4}/32 dev {UPSTREAM}\naddr add {v6}/128 dev {UPSTREAM} nodad\n\
             route add {ETCD} dev {UPSTREAM} src {v4}\nroute add {UPSTREAM4} dev {UPSTREAM} src {v4}\nroute add {UPSTREAM6} dev {UPSTREAM} src {v6}\n"
        ))
    }
}

/// A relay between the fabric and a node; ended on drop.
#[derive(Debug)]
struct NodeRelay {
    _taps: [Tap; 2],
    _namespace: Namespace,
}

impl NodeRelay {
    fn new(namespace: Namespace, Policy(policy): Policy) -> Result<Self> {
        let other = policy.clone();
        let there = relay::pass_on(&namespace, Towards::Router, None, move |towards, frame| policy(towards, frame))?;
        let back = relay::pass_on(&namespace, Towards::Clients, None, move |towards, frame| other(towards, frame))?;
        Ok(Self { _taps: [there, back], _namespace: namespace })
    }
}

/// A node's interface towards the fabric.
pub const FABRIC: &str = "fabric0";
/// A node's interface towards the servers.
const UPSTREAM: &str = "upstream0";
/// `[cluster] port`
pub const TUNNEL_PORT: u16 = 6080;
