//! A laboratory of several nodes with one address, behind a router that spreads clients over them by ECMP.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use router_tests::lab::cluster::Cluster;
//!
//! let mut cluster = Cluster::new().nodes(3).start()?;
//! let clients = cluster.quic_go().echo(1_000).connections(30).until_told().start()?;
//! cluster.route([0, 2])?;
//! clients.succeed()?;
//! cluster.expect_nothing_lost()?;
//! # Ok(()) }
//! ```
//!
//! Dropping it ends the programs and removes namespaces, pins and files. It needs root, and a process has one laboratory
//! at a time.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use nix::sys::signal::Signal;

use super::{
    AgentConfig, Home, ONE_AT_A_TIME, PORT, Program, Relay, Towards, Upstream, Wire, next_prefix,
    peers::{Aioquic, QuicGo},
    topology::Shape,
};

mod awaiting;
mod bgp;
mod etcd;
mod fabric;
mod members;
mod node;
mod sums;

use self::{
    etcd::Etcd,
    members::Members,
    node::{NodeShape, Policy},
};
pub use self::{
    fabric::{Ecmp, Fabric, Family, RouteChange},
    members::{Member, MemberState},
    node::{FABRIC, Node, TUNNEL_PORT, Wiring},
    sums::{Counts, Pair},
};

/// What a laboratory of several nodes is to be like.
#[derive(Clone, Debug)]
pub struct Cluster {
    nodes: u8,
    clients: u8,
    queues: u16,
    ecmp: Ecmp,
    engines: Vec<String>,
    installed: Option<PathBuf>,
    config: AgentConfig,
    keys: BTreeMap<String, String>,
    relayed: BTreeMap<u8, Policy>,
}

impl Cluster {
    /// Three nodes of two workers and two queues each, one namespace of clients, plain ECMP; the engine `xdp` unless the
    /// tests are run with another.
    pub fn new() -> Self {
        let mut config = AgentConfig::new();
        for (key, value) in [("workers", "2"), ("interfaces", &format!("[\"{FABRIC}\"]"))] {
            config.set_router(key, value);
        }
        Self {
            nodes: 3,
            clients: 1,
            queues: 2,
            ecmp: Ecmp::Plain,
            engines: Vec::new(),
            installed: None,
            config,
            keys: BTreeMap::new(),
            relayed: BTreeMap::new(),
        }
    }

    /// `count` nodes, 1 to 9. All of them are in the route.
    pub fn nodes(mut self, count: u8) -> Self {
        self.nodes = count;
        self
    }

    /// `count` namespaces of clients, 1 to 9.
    pub fn clients(mut self, count: u8) -> Self {
        self.clients = count;
        self
    }

    /// How the router keeps flows on their nodes.
    pub fn ecmp(mut self, ecmp: Ecmp) -> Self {
        self.ecmp = ecmp;
        self
    }

    /// `[router] engine` of the nodes, in turn.
    pub fn engines(mut self, engines: &[&str]) -> Self {
        self.engines = engines.iter().map(|&engine| engine.to_owned()).collect();
        self
    }

    /// Each node has a copy of `binary` of its own, at a place where another version can be [installed](Node::install).
    pub fn installed(mut self, binary: PathBuf) -> Self {
        self.installed = Some(binary);
        self
    }

    /// Sets `key` of `[cluster]` on all nodes to `value`, which is TOML.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.keys.insert(key.into(), value.into());
        self
    }

    /// With an etcd that says which nodes there are, in place of a file.
    pub fn etcd(self) -> Self {
        self.set("engine", "\"etcd\"").set("endpoints", &format!("[\"{}\"]", etcd::url()))
    }

    /// Changes the configuration of all nodes in any other way.
    pub fn config(mut self, change: impl FnOnce(&mut AgentConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Puts a relay between the fabric and the node `index`. For each frame `policy` says what is sent in its place:
    /// nothing, itself, or something else. [`Towards::Router`] is towards the node.
    pub fn relay(mut self, index: u8, policy: impl Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.relayed.insert(index, Policy(Arc::new(policy)));
        self
    }

    /// Builds it, with servers, without agents.
    ///
    /// # Errors
    /// Without root, or if the kernel or `ip` lacks something.
    pub fn build(self) -> Result<Running> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = next_prefix();
        let home = Home::new(&prefix)?;
        let members = Members::new(&home)?;
        let shape = Shape { clients: self.clients, queues: self.queues };
        let fabric = Fabric::new(&prefix, shape, self.ecmp).context("cannot build the network (it needs root)")?;
        let upstream = Upstream::start(fabric.upstream())?;
        let has_etcd = self.keys.contains_key("endpoints");
        let etcd = has_etcd.then(|| Etcd::start(fabric.upstream(), &home)).transpose()?;
        let (count, shape, nodes, birds) = (self.nodes, self, Vec::new(), Vec::new());
        let mut cluster =
            Running { birds, nodes, members, _upstream: upstream, etcd, fabric, home, shape, _alone: alone };
        for _ in 0..count {
            cluster.add_node()?;
        }
        if has_etcd {
            cluster.node(0).cli_by_config(&["cluster", "init"])?.succeeded()?;
        }
        cluster.route(0..count)?;
        Ok(cluster)
    }

    /// Builds it, starts the agents of all nodes, and waits until they hear each other.
    ///
    /// # Errors
    /// As [`build`](Self::build), or if an agent does not start.
    pub fn start(self) -> Result<Running> {
        let mut cluster = self.build()?;
        cluster.nodes.iter_mut().try_for_each(Node::start)?;
        cluster.await_together()?;
        Ok(cluster)
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

/// A laboratory of several nodes in operation.
#[derive(Debug)]
pub struct Running {
    // In the order in which they have to end.
    birds: Vec<Program>,
    nodes: Vec<Node>,
    members: Members,
    _upstream: Upstream,
    etcd: Option<Etcd>,
    fabric: Fabric,
    home: Home,
    shape: Cluster,
    _alone: MutexGuard<'static, ()>,
}

impl Running {
    /// Its nodes, by their index.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One of them.
    pub fn node(&self, index: u8) -> &Node {
        &self.nodes[usize::from(index)]
    }

    /// One of them, to change.
    pub fn node_mut(&mut self, index: u8) -> &mut Node {
        &mut self.nodes[usize::from(index)]
    }

    /// The network.
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The file of members.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Makes one more node, without an agent and in no route, and puts it into the file of members; running agents are not
    /// told. Its index.
    ///
    /// # Errors
    /// If its network or files cannot be made.
    pub fn add_node(&mut self) -> Result<u8> {
        let index = u8::try_from(self.nodes.len())?;
        let prefix = self.home.prefix();
        let shape = NodeShape { queues: self.shape.queues, policy: self.shape.relayed.get(&index).cloned() };
        let wiring = Wiring::new(&prefix, index, &shape, &self.fabric)?;
        self.members.add(&wiring)?;
        let mut config = self.shape.config.clone();
        let mut node = Node::new(&prefix, wiring)?;
        for file in CERTIFICATE {
            fs::copy(self.home.path(file), node.home().path(file)).with_context(|| format!("cannot copy {file}"))?;
        }
        self.members.join(&node, &mut config, &self.shape.keys);
        if let Some(engine) = self.shape.engines.get(usize::from(index) % self.shape.engines.len().max(1)) {
            config.set_router("engine", &format!("\"{engine}\""));
        }
        node.reconfigure(|own| *own = config);
        if let Some(binary) = &self.shape.installed {
            node.install(binary)?;
        }
        self.nodes.push(node);
        Ok(index)
    }

    /// Changes the file of members, and has all running agents read it.
    ///
    /// # Errors
    /// If an agent refuses it.
    pub fn change_members(&mut self, change: impl FnOnce(&mut Vec<Member>)) -> Result<()> {
        self.members.change(change)?;
        let reload = |node: &Node| node.control().reload().with_context(|| format!("node {}", node.number())).map(drop);
        self.running().try_for_each(reload)
    }

    /// Has the file of members say which connection-ID configurations nodes decode and by which they issue, both as TOML,
    /// and all running agents read it.
    ///
    /// # Errors
    /// If an agent refuses it.
    pub fn announce(&mut self, announced: &str, issuing: &str) -> Result<()> {
        self.members.announce(announced, issuing);
        self.change_members(|_| {})
    }

    /// Has new flows go to these nodes, by their index, and no others; flows that exist may move.
    ///
    /// # Errors
    /// If it names no node, or one whose wire is down.
    pub fn route(&mut self, nodes: impl IntoIterator<Item = u8>) -> Result<()> {
        self.fabric.route(nodes)
    }

    /// A node ends at once, as a host that loses power: its agent gets no chance to say anything, and its wire is dead.
    ///
    /// # Errors
    /// If no agent runs there.
    pub fn kill(&mut self, index: u8) -> Result<()> {
        let node = &mut self.nodes[usize::from(index)];
        self.fabric.disconnect(node.wiring())?;
        node.take_agent()?.kill()
    }

    /// The wire of a node is cut and its agent lives on.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn cut(&mut self, index: u8) -> Result<()> {
        self.fabric.disconnect(self.nodes[usize::from(index)].wiring())
    }

    /// The wire of a node is whole again. It is not in the route.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn mend(&mut self, index: u8) -> Result<()> {
        self.fabric.connect(self.nodes[usize::from(index)].wiring())
    }

    /// Etcd ends at once; its data stay.
    ///
    /// # Errors
    /// If none runs.
    pub fn stop_etcd(&mut self) -> Result<()> {
        self.etcd.as_mut().context("no etcd runs in this laboratory")?.stop()
    }

    /// Etcd ends at once, and knows nothing any more.
    ///
    /// # Errors
    /// If none runs.
    pub fn wipe_etcd(&mut self) -> Result<()> {
        self.etcd.as_mut().context("no etcd runs in this laboratory")?.wipe()
    }

    /// Etcd starts again, with the data that it has.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn start_etcd(&mut self) -> Result<()> {
        self.etcd.as_mut().context("this laboratory has no etcd")?.run(self.fabric.upstream())
    }

    /// The names of what the cluster has in etcd, without what all begin with: `nodes/1`.
    ///
    /// # Errors
    /// If none runs, or it does not answer.
    pub fn names_in_etcd(&self) -> Result<Vec<String>> {
        self.etcd.as_ref().context("no etcd runs in this laboratory")?.names(self.fabric.upstream())
    }

    /// Etcd does nothing any more, and its connections stay: what a hung host looks like.
    ///
    /// # Errors
    /// If none runs.
    pub fn halt_etcd(&self) -> Result<()> {
        self.etcd.as_ref().context("no etcd runs in this laboratory")?.signal(Signal::SIGSTOP)
    }

    /// Etcd goes on.
    ///
    /// # Errors
    /// If none runs.
    pub fn resume_etcd(&self) -> Result<()> {
        self.etcd.as_ref().context("no etcd runs in this laboratory")?.signal(Signal::SIGCONT)
    }

    /// Puts a relay between the first clients and the fabric. For each frame `policy` says what is sent in its place:
    /// nothing, itself, or something else.
    ///
    /// # Errors
    /// If its network cannot be made.
    pub fn relay(&self, policy: impl Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Clone + Send + 'static) -> Result<Relay> {
        let relay = Relay::new(self.wire(), self.fabric.router(), None, policy)?;
        fabric::lead_out(self.wire(), relay.clients())?;
        Ok(relay)
    }

    /// The wire of the first clients.
    pub fn wire(&self) -> &Wire {
        &self.fabric.clients()[0]
    }

    /// The address and port that all nodes listen on.
    pub fn vip(&self, family: Family) -> SocketAddr {
        (family.vip(), PORT).into()
    }

    /// quic-go clients among the first clients, against the IPv4 address of the cluster.
    pub fn quic_go(&self) -> QuicGo<'_> {
        self.quic_go_by(Family::V4)
    }

    /// The same, against its address of this family.
    pub fn quic_go_by(&self, family: Family) -> QuicGo<'_> {
        QuicGo::new(self.wire().namespace(), self.vip(family))
    }

    /// aioquic clients among the first clients that fetch `path`.
    pub fn aioquic(&self, path: &str) -> Aioquic<'_> {
        Aioquic::new(self.wire().namespace(), &format!("https://{}{path}", self.vip(Family::V4)))
    }
}

/// All nodes have the same.
const CERTIFICATE: [&str; 2] = ["certificate.pem", "certificate.key"];
