//! A laboratory: clients, a router and servers, each in a network namespace, joined by
//! multi-queue veth.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use router_tests::lab::Lab;
//!
//! let lab = Lab::new().queues(4).workers(4).engine("xdp").start()?;
//! lab.quic_go().get("/bytes/100000").connections(5).succeed()?;
//! lab.expect_no_packet_lost()?;
//! # Ok(()) }
//! ```
//!
//! Dropping it ends the programs and removes namespaces, pins and files. It needs root, and a
//! process has one at a time.

use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context, Result};
use router_userspace::agent::api::Worker;

mod agent;
mod awaiting;
mod checks;
pub mod cluster;
mod config;
mod control;
mod counters;
pub mod datagram;
pub mod faulty;
mod flood;
mod home;
mod link;
mod memory;
mod mix;
mod netns;
mod origin;
pub mod peers;
mod program;
mod recorder;
mod relay;
mod scenario;
mod topology;
mod trace;
mod upstream;
pub mod wire;

pub use self::{
    agent::{Agent, binary, binary_before, cli, debug_binary, signal},
    awaiting::until,
    checks::SeenFlows,
    config::AgentConfig,
    control::Control,
    counters::{Moved, Snapshot, open_sums},
    flood::{Flood, OnWire},
    home::Home,
    link::Link,
    memory::Peak,
    mix::{Mix, MixSize},
    netns::{Namespace, run},
    origin::Origin,
    program::{Finished, Program},
    recorder::{Message, Recorder},
    relay::{Relay, Towards, unanswered},
    scenario::{Passed, Scenario, Scene},
    topology::{Network, UPSTREAM4, UPSTREAM6, Wire, mac},
    upstream::Upstream,
};

/// What a laboratory is to be like.
#[derive(Clone, Debug)]
pub struct Lab {
    shape: topology::Shape,
    config: AgentConfig,
}

impl Lab {
    /// One namespace of clients, four queues, four workers, engine `xdp` unless the tests are run with another.
    pub fn new() -> Self {
        Self { shape: topology::Shape { clients: 1, queues: 4 }, config: AgentConfig::new() }
    }

    /// `count` namespaces of clients, 1 to 9, each on an interface of its own.
    pub fn clients(mut self, count: u8) -> Self {
        self.shape.clients = count;
        let names: Vec<_> = (0..count).map(|number| format!("\"clients{number}\"")).collect();
        self.set("interfaces", &format!("[{}]", names.join(", ")))
    }

    /// Queues of the clients' wires, at each end.
    pub fn queues(mut self, count: u16) -> Self {
        self.shape.queues = count;
        self
    }

    /// `[router] workers`
    pub fn workers(self, count: u16) -> Self {
        self.set("workers", &count.to_string())
    }

    /// `[router] engine`
    pub fn engine(self, engine: &str) -> Self {
        self.set("engine", &format!("\"{engine}\""))
    }

    /// With an XDP program on the interfaces: by the engine of the run if that has one, else by `xdp`.
    pub fn by_xdp(self) -> Self {
        if self.config.has_xdp_engine() { self } else { self.engine("xdp") }
    }

    /// Sets `key` of `[router]` to `value`, which is TOML.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.config.set_router(key, value);
        self
    }

    /// Sets `key` of `[limits]` to `value`, which is TOML.
    pub fn limit(mut self, key: &str, value: &str) -> Self {
        self.config.set_limit(key, value);
        self
    }

    /// Sets `key` of `[connection_id]` to `value`, which is TOML.
    pub fn connection_id(mut self, key: &str, value: &str) -> Self {
        self.config.set_connection_id(key, value);
        self
    }

    /// Sets `key` of `[admission]` to `value`, which is TOML.
    pub fn admission(mut self, key: &str, value: &str) -> Self {
        self.config.set_admission(key, value);
        self
    }

    /// Sets an environment variable of the agent's.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.config.environment.push((name.into(), value.into()));
        self
    }

    /// With listeners that take HTTP/1.1 and HTTP/2 over TCP, too.
    pub fn tcp(self) -> Self {
        self.config(AgentConfig::listen_on_tcp)
    }

    /// Changes the agent's configuration in any other way.
    pub fn config(mut self, change: impl FnOnce(&mut AgentConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Builds it, with servers, without an agent.
    pub fn build(self) -> Result<Running> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = next_prefix();
        let home = Home::new(&prefix)?;
        let network = Network::new(&prefix, self.shape).context("cannot build the network (it needs root)")?;
        let upstream = Upstream::start(network.upstream())?;
        Ok(Running { agent: None, _upstream: upstream, network, home, config: self.config, _alone: alone })
    }

    /// Builds it and starts the agent in it.
    pub fn start(self) -> Result<Running> {
        let mut lab = self.build()?;
        lab.start_agent()?;
        Ok(lab)
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

/// A laboratory in operation.
#[derive(Debug)]
pub struct Running {
    // In the order in which they have to end.
    agent: Option<Agent>,
    _upstream: Upstream,
    network: Network,
    home: Home,
    config: AgentConfig,
    _alone: MutexGuard<'static, ()>,
}

impl Running {
    /// Starts the agent, again if it has been stopped.
    pub fn start_agent(&mut self) -> Result<()> {
        self.agent = None;
        self.agent = Some(Agent::start(self.network.router(), &self.home, &self.config)?);
        Ok(())
    }

    /// Changes the configuration, and has the running agent read it again; what has changed, one
    /// sentence each. If it is refused, the configuration here is as before; the file is not.
    pub fn reload(&mut self, change: impl FnOnce(&mut AgentConfig)) -> Result<Vec<String>> {
        let before = self.config.clone();
        self.rewrite(change)?;
        self.control().reload().inspect_err(|_| self.config = before)
    }

    /// Changes the configuration and its file. The running agent is not told.
    pub fn rewrite(&mut self, change: impl FnOnce(&mut AgentConfig)) -> Result<()> {
        change(&mut self.config);
        self.home.write(agent::CONFIG, &self.config_text()).map(drop)
    }

    /// Changes the configuration with which the agent is started the next time.
    pub fn reconfigure(&mut self, change: impl FnOnce(&mut AgentConfig)) {
        change(&mut self.config);
    }

    /// Installs `binary` in the laboratory's home: what the agent is started from, and upgraded to. The running agent is not
    /// told.
    pub fn install(&mut self, binary: &Path) -> Result<()> {
        self.config.build = Some(self.home.install(binary)?);
        Ok(())
    }

    /// The running agent.
    pub fn agent(&self) -> Result<&Agent> {
        self.agent.as_ref().context("no agent runs in this laboratory")
    }

    /// Takes the agent out, to end it in some way.
    pub fn take_agent(&mut self) -> Result<Agent> {
        self.agent.take().context("no agent runs in this laboratory")
    }

    /// Runs an agent that should refuse to start, with `change` made to its configuration.
    pub fn refuse(&self, change: impl FnOnce(&mut AgentConfig)) -> Result<Finished> {
        let mut config = self.config.clone();
        change(&mut config);
        self.refuse_text(&config.text(&self.home))
    }

    /// The same, with a whole configuration file.
    pub fn refuse_text(&self, config: &str) -> Result<Finished> {
        self.refuse_text_under(&[], config)
    }

    /// The same, run by way of another program: its name and arguments, such as `setpriv`.
    pub fn refuse_text_under(&self, under: &[&str], config: &str) -> Result<Finished> {
        agent::run_to_end(self.network.router(), &self.home, config, under)
    }

    /// The agent's configuration file as it is before a test spoils it.
    pub fn config_text(&self) -> String {
        self.config.text(&self.home)
    }

    /// A client of the agent's control socket.
    pub fn control(&self) -> Control {
        Control::at(&self.home.control())
    }

    /// The workers of the newest generation.
    pub fn workers(&self) -> Result<Vec<Worker>> {
        Ok(self.control().workers()?.workers)
    }

    /// Its worker in `slot`; an error if there is none.
    pub fn worker(&self, slot: u8) -> Result<Worker> {
        let mut workers = self.workers()?.into_iter();
        workers.find(|worker| worker.slot == slot).with_context(|| format!("no worker in slot {slot}"))
    }

    /// The agent's counters now, to compare with later.
    pub fn counters(&self) -> Result<Snapshot> {
        Snapshot::take(&self.control())
    }

    /// Runs a verb of the agent's command line on its control socket.
    pub fn cli(&self, arguments: &[&str]) -> Result<Finished> {
        let socket = self.home.control();
        let mut all = vec!["--control", socket.to_str().context("the socket's path is UTF-8")?];
        all.extend(arguments);
        cli(self.network.router(), &all)
    }

    /// The wire of the first clients.
    pub fn wire(&self) -> &Wire {
        &self.network.clients()[0]
    }

    /// All namespaces and wires.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Files and pins.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Whether packets come by an XDP program: with the engines `xdp` and `af_xdp`.
    pub fn has_xdp_engine(&self) -> Result<bool> {
        Ok(checks::has_xdp(&self.control().status()?))
    }

    /// Whether the kernel has maps of it: with every engine but `userspace`.
    pub fn has_maps(&self) -> Result<bool> {
        Ok(!checks::is_userspace(&self.control().status()?))
    }

    /// Waits until the sums close, and makes sure that each packet went the direct way: XDP
    /// dropped none, and no worker got another's.
    pub fn expect_no_packet_astray(&self) -> Result<()> {
        checks::no_packet_went_astray(&self.control())
    }

    /// The same, and every packet that XDP delivered was read by a worker. Not after bulk
    /// uploads: in those a full queue loses packets, as queues do, and QUIC sends them again.
    pub fn expect_no_packet_lost(&self) -> Result<()> {
        checks::no_packet_was_lost(&self.control())
    }

    /// The control socket of a generation that has handed over.
    pub fn aside(&self, generation: u64) -> Control {
        Control::at(&self.home.path(&format!("control.sock.{generation}")))
    }

    /// What the newest generation's workers have read that XDP has not delivered: its probe. To
    /// be asked before a client has sent them anything.
    pub fn read_besides(&self) -> Result<u64> {
        checks::read_besides(&self.control())
    }

    /// Waits until the workers of these generations have read each packet that XDP delivered to their
    /// slots, and `besides` of others, and makes sure that none was dropped anywhere.
    pub fn expect_all_read(&self, generations: &[Control], besides: u64) -> Result<()> {
        checks::all_was_read(generations, besides)
    }

    /// Looks at the flow table until `clients` have ended.
    pub fn watch_flows(&self, clients: &peers::Clients) -> Result<SeenFlows> {
        SeenFlows::watch(&self.control(), clients)
    }

    /// Makes sure that clients have moved: by the flow table, or, with the engine `userspace`, which
    /// has none, by what workers had to hand over.
    pub fn expect_moved(&self, seen: &SeenFlows, enough: impl Fn(&SeenFlows) -> bool) -> Result<()> {
        checks::clients_moved(&self.control(), seen, enough)
    }

    /// Puts a relay between the first clients and the router. For each frame `policy` says
    /// what is sent in its place: nothing, itself, or something else.
    pub fn relay(&self, policy: impl Fn(Towards, &[u8]) -> Vec<Vec<u8>> + Clone + Send + 'static) -> Result<Relay> {
        Relay::new(self.wire(), self.network.router(), None, policy)
    }

    /// Puts a link with a scenario between the first clients and the router.
    pub fn distance(&self, link: Link, scene: &Scene) -> Result<Relay> {
        let scene = scene.clone();
        let policy = move |towards, frame: &[u8]| scene.pass(towards, frame);
        Relay::new(self.wire(), self.network.router(), Some(link), policy)
    }

    /// `path` on the router, as the first clients reach it.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.wire().router(PORT))
    }

    /// aioquic clients among the first clients that fetch `path`.
    pub fn aioquic(&self, path: &str) -> peers::Aioquic<'_> {
        peers::Aioquic::new(self.wire().namespace(), &self.url(path))
    }

    /// quic-go clients among the first clients, against the router's IPv4 address.
    pub fn quic_go(&self) -> peers::QuicGo<'_> {
        peers::QuicGo::new(self.wire().namespace(), self.wire().router(PORT))
    }

    /// s2n-quic clients among the first clients that fetch `path`.
    pub fn s2n(&self, path: &str) -> peers::S2n<'_> {
        peers::S2n::new(self.wire().namespace(), &self.url(path))
    }
}

/// What the names of all that is the next laboratory's begin with. What killed ones have left is gone then.
fn next_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    netns::sweep();
    netns::prefix(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Laboratories of one process wait for each other: what they count and how long they take
/// would hang on who else is busy.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// All of `[router] engine`, best first, but for `auto`.
pub const ENGINES: [&str; 4] = ["af_xdp", "xdp", "reuseport", "userspace"];

/// The router's port in laboratories.
pub const PORT: u16 = 443;
