//! The cluster as this node knows it.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::{BTreeMap, BTreeSet},
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Instant, SystemTime},
};

use router_cluster::{
    confirmation::{Confirmation, Own, SaidRevision, Standing},
    health::{Judgement, NodeHealth},
    hello::{Announcement, Heard, OutgoingHello, WayReport},
    membership::{
        Claim, DEFAULT_WEIGHT, ListenerDifference, Member, NodeNumber, NodeRecord, NodeState, Presence, RunInfo,
        TunnelVersions, View,
        rotation::{Unleased, WithoutLease},
    },
};
use router_common::{
    frame::{Address, Endpoint, IPV4_LENGTH, IPV6_LENGTH, UDP_LENGTH},
    identifiers::IfIndex,
    maps::{self, AssignedNode},
};
use tokio::sync::{mpsc, watch};

use super::{
    announce::Announcer,
    health::{HealthWatch, WatchConfig},
    introduction::Introduction,
    membership::MembershipEngine,
    others::{Others, id},
    routes::{RouteWatch, Ways},
    table::{Known, node_state, tunnel_keys},
};
use crate::{
    agent::{
        error::{ErrorKind, RoomError},
        secrets::Secrets,
    },
    config::{self, Config},
    datapath::checksums,
    worker::{ControlDatagram, NodeList, Tunnel, TunnelIntake, TunnelReceiver},
};

/// The other nodes, the way to them, and this node's ends of the tunnel.
pub(in crate::agent) struct Cluster {
    own: NodeNumber,
    engine: MembershipEngine,
    secrets: Arc<Secrets>,
    tunnel: Arc<Tunnel>,
    receiver: RefCell<Option<TunnelReceiver>>,
    near: RefCell<Option<TunnelReceiver>>,
    said: mpsc::Sender<ControlDatagram>,
    heard: RefCell<Option<mpsc::Receiver<ControlDatagram>>>,
    routes: RouteWatch,
    others: RefCell<Others>,
    health: RefCell<HealthWatch>,
    judgements: RefCell<BTreeMap<NodeNumber, Judgement>>,
    confirmation: RefCell<Confirmation>,
    introduction: RefCell<Introduction>,
    /// What this node says of itself, as it was last said.
    announcement: RefCell<Option<Announcement>>,
    /// In which listeners the others differ, as far as that has been said in the log.
    differing: RefCell<BTreeMap<NodeNumber, String>>,
    /// What this node has told the others of itself.
    published: RefCell<Option<NodeRecord>>,
    announcer: Announcer,
    /// Whether any worker here takes new connections.
    is_served: Cell<bool>,
}

/// What others want to know of a run.
pub(super) struct Run {
    /// The revision whose configurations of connection IDs it follows.
    pub(super) acks: u64,
    /// How packets reach its workers.
    pub(super) engine: String,
    /// A hash of its listeners' addresses.
    pub(super) listeners: String,
    /// These addresses.
    pub(super) addresses: BTreeSet<SocketAddr>,
    /// Whether it encrypts connection IDs.
    pub(super) encrypts: bool,
}

/// What follows for packets.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::agent) struct NodeTable {
    /// For workers and the kernel.
    pub(in crate::agent) list: NodeList,
    /// Which nodes new connections are for; none: this node keeps what it gets.
    pub(in crate::agent) assignment: Option<Box<[AssignedNode]>>,
}

impl Cluster {
    /// The cluster of `config`, whose engine has been asked. Nothing comes by the tunnel yet.
    ///
    /// # Errors
    /// If there is none in the configuration, or this node has no socket to send from.
    pub(in crate::agent) fn open(
        config: &Config,
        engine: MembershipEngine,
        secrets: Arc<Secrets>,
    ) -> Result<Self, ClusterError> {
        let lifetime = config.connection_id.lifetime;
        let config = config.cluster.as_ref().ok_or(ClusterError::NotConfigured)?;
        let own = engine.own();
        let confirmation = Confirmation::new(&engine.view(), itself(&engine), lifetime, SystemTime::now());
        let socket = socket(SocketAddr::new(config.address, 0))?;
        let tunnel = Arc::new(Tunnel::new(id(own), socket).map_err(ClusterError::NoSocket)?);
        let (said, heard) = mpsc::channel(CONTROL_WAITING);
        let mut others = Others::default();
        others.look(&engine.state(), own);
        let routes = RouteWatch::start(config.address, others.destinations()).map_err(ClusterError::NoRoutes)?;
        let health = HealthWatch::new(watch_config(own, &engine, config), engine.secret().clone());
        let cluster = Self {
            own,
            engine,
            secrets,
            tunnel,
            receiver: RefCell::default(),
            near: RefCell::default(),
            said,
            heard: RefCell::new(Some(heard)),
            routes,
            others: RefCell::new(others),
            health: RefCell::new(health),
            judgements: RefCell::default(),
            confirmation: RefCell::new(confirmation),
            introduction: RefCell::new(Introduction::over()),
            announcement: RefCell::default(),
            differing: RefCell::default(),
            published: RefCell::default(),
            announcer: Announcer::default(),
            is_served: Cell::new(true),
        };
        cluster.say_if_forgotten(None);
        cluster.look_at_members();
        Ok(cluster)
    }

    /// This node's number.
    pub(in crate::agent) fn own(&self) -> NodeNumber {
        self.own
    }

    /// What says which nodes there are.
    pub(super) fn engine(&self) -> &MembershipEngine {
        &self.engine
    }

    /// The highest revision that it has told the others that it follows, or that they have from the run before.
    pub(super) fn acked(&self) -> u64 {
        let acks = |record: &NodeRecord| record.run.as_ref().map(|run| run.acks);
        let published = self.published.borrow().as_ref().and_then(acks);
        let before = || acks(self.engine.state().node(self.own)?.record.as_ref()?);
        published.or_else(before).unwrap_or(0)
    }

    /// Tells the others of this node, where its engine takes that, the number is its own, and it is not what they know.
    pub(super) async fn publish(&self, run: Run, config: &config::Cluster) {
        let Claim { incarnation, host, .. } = self.engine.claim();
        let unheard = self.health.borrow_mut().unheard();
        let Run { acks, engine, listeners, addresses, encrypts } = run;
        let (addresses, encrypts) = (Some(addresses), Some(encrypts));
        let versions = TUNNEL_VERSIONS;
        let run = RunInfo { incarnation, host, acks, versions, engine, listeners, unheard, addresses, encrypts };
        self.compare_listeners(&run);
        let record = NodeRecord {
            number: self.own,
            address: self.engine.address(),
            port: config.port,
            weight: config.weight,
            state: NodeState::Up,
            run: Some(run),
        };
        let is_forgotten = self.standing() == Standing::Forgotten;
        if self.published.borrow().as_ref() == Some(&record) || !self.engine.info().has_leases || is_forgotten {
            return;
        }
        match self.engine.publish(record.clone()).await {
            Ok(()) => drop(self.published.replace(Some(record))),
            Err(e) => tracing::warn!("{e}"),
        }
    }

    /// Says in the log which nodes have other listeners than this one, of which `own` is told: once, until that changes.
    fn compare_listeners(&self, own: &RunInfo) {
        let differs = |record: &NodeRecord| Some((record.number, difference(own, record.run.as_ref()?)?.to_string()));
        let now: BTreeMap<_, _> = self.others.borrow().records().filter_map(differs).collect();
        let before = self.differing.replace(now.clone());
        for (number, what) in now.iter().filter(|(number, what)| before.get(number) != Some(what)) {
            tracing::warn!("cluster: node {number} has other listeners than this one: {what}; all nodes need the same");
        }
    }

    /// What tells a routing daemon what to announce.
    pub(super) fn announcer(&self) -> &Announcer {
        &self.announcer
    }

    /// Nothing is announced any more, once this returns: this node stops.
    pub(in crate::agent) fn end_announcing(&self) {
        self.announcer.end();
    }

    /// Another generation announces from now on, by its `table` if it has one.
    pub(in crate::agent) fn leave_announcing(&self, table: Option<u32>) {
        self.announcer.leave(table);
    }

    /// What this node counts as by the engine's word.
    pub(super) fn own_state(&self) -> NodeState {
        self.engine.state().node(self.own).and_then(Member::state).unwrap_or(NodeState::Up)
    }

    /// Tells them that it stops.
    pub(in crate::agent) async fn withdraw(&self) {
        if let Err(e) = self.engine.withdraw().await {
            tracing::warn!("{e}: the others find out by themselves");
        }
    }

    /// The near end of the tunnel.
    pub(in crate::agent) fn tunnel(&self) -> &Arc<Tunnel> {
        &self.tunnel
    }

    /// What the engine says, and how far that can be relied on.
    pub(in crate::agent) fn view(&self) -> Arc<View> {
        self.engine.view()
    }

    /// The other nodes, as far as it is known where they are.
    pub(super) fn others(&self) -> Ref<'_, Others> {
        self.others.borrow()
    }

    /// What each other node counts as.
    pub(in crate::agent) fn judgements(&self) -> Ref<'_, BTreeMap<NodeNumber, Judgement>> {
        self.judgements.borrow()
    }

    /// The other nodes whose records this agent has seen, and whether they may live without a lease.
    pub(super) fn unleased(&self) -> Unleased {
        let (judgements, others) = (self.judgements.borrow(), self.others.borrow());
        let is_gone = |number: &NodeNumber| judgements.get(number).is_some_and(|one| one.state == NodeHealth::Gone);
        let known = |record: &NodeRecord| {
            let (number, acks) = (record.number, record.run.as_ref()?.acks);
            Some((number, if is_gone(&number) { WithoutLease::Gone } else { WithoutLease::MayLive { acks } }))
        };
        others.records().filter_map(known).collect()
    }

    /// The longest packet that the interface towards a node carries, in octets from its IP header on.
    pub(super) fn mtu(&self, number: NodeNumber) -> Option<u32> {
        self.routes.ways().get(&id(number)).and_then(|way| way.mtu)
    }

    /// Tells each change of these.
    pub(super) fn watch_ways(&self) -> watch::Receiver<Ways> {
        self.routes.watch()
    }

    /// Tells each change of what the engine says.
    pub(super) fn watch_members(&self) -> watch::Receiver<Arc<View>> {
        self.engine.watch()
    }

    /// Asks the engine again, where it does not tell of changes by itself.
    ///
    /// # Errors
    /// If what it says makes no sense; then what it said before stays.
    pub(in crate::agent) fn reload(&self) -> Result<(), ClusterError> {
        self.engine.reload().map_err(|e| ClusterError::Unreadable(e.to_string()))
    }

    /// Takes in what other generations of this node were sent for its slots, to `intake`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(in crate::agent) fn listen_to_generations(&self, intake: &TunnelIntake) -> Result<(), ClusterError> {
        let receiver = TunnelReceiver::of_other_generations(Arc::clone(&self.tunnel), intake);
        self.near.replace(Some(receiver.map_err(ClusterError::NoSocket)?));
        Ok(())
    }

    /// Takes in what other nodes send to this one: by the generation in charge.
    ///
    /// # Errors
    /// If there is no socket for it.
    pub(in crate::agent) fn take_charge(
        &self,
        config: &config::Cluster,
        intake: &TunnelIntake,
    ) -> Result<(), ClusterError> {
        let (tunnel, said) = (Arc::clone(&self.tunnel), self.said.clone());
        let socket = socket(config.tunnel())?;
        let receiver = TunnelReceiver::start(socket, tunnel, intake, said).map_err(ClusterError::NoSocket)?;
        self.receiver.replace(Some(receiver));
        // Until now others have been told by another generation, or not at all.
        self.watch_anew(config);
        Ok(())
    }

    /// Forgets what was heard of the others.
    pub(in crate::agent) fn watch_anew(&self, config: &config::Cluster) {
        let health = HealthWatch::new(watch_config(self.own, &self.engine, config), self.engine.secret().clone());
        self.health.replace(health);
        self.look_at_members();
    }

    /// Another generation takes it in from now on.
    pub(in crate::agent) fn leave(&self) {
        self.receiver.take();
        // What comes late is answered by that one.
        self.announcement.take();
    }

    /// What other nodes say; once, for the one that listens.
    pub(super) fn control(&self) -> Option<mpsc::Receiver<ControlDatagram>> {
        self.heard.take()
    }

    /// Looks at the members anew: who is there, and where.
    pub(super) fn look_at_members(&self) {
        let view = self.engine.view();
        {
            // One that is not listed any more may have connections yet.
            let mut others = self.others.borrow_mut();
            let before = others.destinations();
            others.look(&view.state, self.own);
            let after = others.destinations();
            if before != after {
                self.routes.want(after);
            }
            self.health.borrow_mut().members(&view, &others.numbers());
        }
        let before = self.standing();
        self.confirmation.borrow_mut().seen(&view);
        self.say_if_forgotten(Some(before));
        self.judge();
    }

    /// Says in the log that the number is no longer this node's, where it was `before`.
    fn say_if_forgotten(&self, before: Option<Standing>) {
        if let Some(why) = self.forgotten().filter(|_| before != Some(Standing::Forgotten)) {
            tracing::error!("cluster: {why}; new connections go to other nodes, and those that it has stay");
        }
    }

    /// That the number is no longer this node's, and the way out; none if it is.
    pub(super) fn forgotten(&self) -> Option<&'static str> {
        let words = if self.engine.info().has_leases { FORGOTTEN } else { GONE_BY_THE_LIST };
        (self.standing() == Standing::Forgotten).then_some(words)
    }

    /// Says to the other nodes that this one is there, and whether it `takes` new connections.
    pub(super) fn say_hello(&self, takes: bool) {
        let state = self.engine.state();
        let own = state.node(self.own);
        let announcement = Announcement {
            state: self.own_state(),
            takes_new_connections: takes,
            weight: own.and_then(|own| own.record.as_ref()).map_or(DEFAULT_WEIGHT, |record| record.weight),
            revision: if self.standing().is_confirmed() { state.keys_revision() } else { 0 },
            tunnel_versions: TUNNEL_VERSIONS,
        };
        self.announcement.replace(Some(announcement));
        let others = self.others.borrow();
        let longest = |number: NodeNumber| {
            let mtu = self.routes.ways().get(&id(number)).and_then(|way| way.mtu).unwrap_or(0);
            let headers = match others.get(number).is_some_and(|other| other.tunnel.is_ipv6()) {
                true => IPV6_LENGTH + UDP_LENGTH,
                false => IPV4_LENGTH + UDP_LENGTH,
            };
            u16::try_from((mtu as usize).saturating_sub(headers)).unwrap_or(PAYLOAD_MAX)
        };
        let said = self.health.borrow_mut().say(announcement, longest);
        said.iter().for_each(|hello| self.send(hello));
    }

    fn send(&self, hello: &OutgoingHello) {
        if let Some(other) = self.others.borrow().get(hello.to) {
            self.tunnel.send_control(other.tunnel, &hello.datagram);
        }
    }

    /// Takes what another node may have said, and answers it where one of the two has yet to prove that it is alive.
    pub(super) fn hear(&self, datagram: &ControlDatagram) {
        let Some(hello) = self.health.borrow_mut().hear(&datagram.octets) else { return };
        if hello.heard == Heard::Counted {
            let revision = hello.hello.announcement.revision;
            let said = self.others.borrow().get(hello.from).and_then(|other| other.record.clone());
            let said = SaidRevision::of(said.as_ref(), revision);
            self.confirmation.borrow_mut().heard(hello.from, said, Instant::now());
        }
        if let Some(announcement) = self.announcement.borrow().filter(|_| hello.wants_answer) {
            let answer = self.health.borrow_mut().answer(hello.from, announcement);
            answer.iter().for_each(|answer| self.send(answer));
        }
    }

    /// This node has just been started, and others may count it as gone.
    pub(super) fn begin_introduction(&self) {
        if self.engine.info().has_leases {
            self.introduction.replace(Introduction::begin(Instant::now()));
        }
    }

    /// Looks whether the others know of it by now. Whether they have come to do so just now.
    pub(super) fn look_at_introduction(&self) -> bool {
        self.introduction.borrow_mut().look(Instant::now(), || self.is_known_to_all())
    }

    /// Whether its record is there, and each other node that is up says that this node's hellos count there.
    fn is_known_to_all(&self) -> bool {
        let (view, published, judgements) = (self.engine.view(), self.published.borrow(), self.judgements.borrow());
        let record = |number| view.state.node(number).and_then(|member| member.record.as_ref());
        let is_told = published.as_ref().is_some_and(|published| record(self.own) == Some(published));
        let is_up = |number: &NodeNumber| {
            let is_present = view.state.node(*number).is_some_and(|member| member.presence() == Presence::Present);
            let state = judgements.get(number).map(|judgement| judgement.state);
            is_present && matches!(state, Some(NodeHealth::Up | NodeHealth::Draining))
        };
        is_told && !self.health.borrow().unaware().iter().any(is_up)
    }

    /// Whether the others have yet to come to know of this node.
    pub(super) fn is_introducing(&self) -> bool {
        self.introduction.borrow().goes_on()
    }

    /// Whether any worker here takes new connections from now on.
    pub(super) fn set_served(&self, is_served: bool) {
        self.is_served.set(is_served);
    }

    /// Whether new connections are for the other nodes.
    pub(super) fn sends_away(&self) -> bool {
        let standing = self.standing();
        !self.is_served.get() || standing.sends_away() || standing.is_confirmed() && self.is_introducing()
    }

    /// How far this node may rely on what it knows: whether it may issue connection IDs.
    pub(in crate::agent) fn standing(&self) -> Standing {
        self.confirmation.borrow().standing()
    }

    /// The generation before this one has had confirmed what it knows.
    pub(in crate::agent) fn inherit_confirmation(&self) {
        let before = self.standing();
        self.confirmation.replace(Confirmation::inherited(&self.engine.view(), itself(&self.engine)));
        self.say_if_forgotten(Some(before));
    }

    /// What is known of the ways to the others, by their hellos.
    pub(in crate::agent) fn reports(&self) -> BTreeMap<NodeNumber, WayReport> {
        self.health.borrow().ways()
    }

    /// Has ways looked for at once: something about links or routes has changed.
    pub(in crate::agent) fn look_for_ways(&self) {
        self.routes.want(self.others.borrow().destinations());
    }

    /// What follows for packets, where XDP programs are on the interfaces `steered`.
    pub(in crate::agent) fn table(&self, config: &config::Cluster, steered: &BTreeSet<IfIndex>) -> NodeTable {
        let (view, others, judgements, ways) =
            (self.engine.view(), self.others.borrow(), self.judgements.borrow(), self.routes.ways());
        let known = Known {
            config,
            own: self.own,
            state: &view.state,
            others: &others,
            judgements: &judgements,
            ways: &ways,
            steered,
            sends_away: self.sends_away(),
        };
        let tunnel = Endpoint::from(config.tunnel());
        let keys = tunnel_keys(&view.state, &self.secrets, self.engine.info());
        let list = NodeList {
            nodes: known.nodes(),
            keys: keys.ending_at([tunnel.address, Address::UNSPECIFIED]),
            tunnel: Some(tunnel),
            longest: known.longest(),
            ..NodeList::EMPTY
        };
        NodeTable { list, assignment: known.assignment(self.secrets.hash_seed()) }
    }

    /// Looks what each other node counts as now.
    pub(super) fn judge(&self) {
        self.confirmation.borrow_mut().look(Instant::now());
        let now = self.health.borrow_mut().judge();
        let before = self.judgements.replace(now.clone());
        for (number, judgement) in &now {
            let state = node_state(judgement);
            if before.get(number).is_none_or(|before| node_state(before) == state) {
                continue;
            }
            let (name, reason) = (state.name(), judgement.reason);
            match state {
                maps::NodeState::Up | maps::NodeState::Draining => {
                    tracing::info!("cluster: node {number} is {name}: {reason}");
                }
                maps::NodeState::Silent | maps::NodeState::Unreachable | maps::NodeState::Gone => {
                    tracing::warn!("cluster: node {number} is {name}: {reason}");
                }
            }
        }
    }
}

/// In which listeners two nodes differ; none if they do not, or one does not say which it has.
pub(super) fn difference(own: &RunInfo, other: &RunInfo) -> Option<ListenerDifference> {
    ListenerDifference::between(own.addresses.as_ref()?, other.addresses.as_ref()?)
}

fn watch_config(own: NodeNumber, engine: &MembershipEngine, config: &config::Cluster) -> WatchConfig {
    WatchConfig { own, engine: engine.info(), dead_after: config.dead_after }
}

/// A socket on an address for other nodes.
fn socket(address: SocketAddr) -> Result<UdpSocket, ClusterError> {
    let bound = Tunnel::bind(address).and_then(|socket| checksums::leave_out(&socket).map(|()| socket));
    bound.map_err(|e| ClusterError::NoSocket(io::Error::new(e.kind(), format!("{address}: {e}"))))
}

/// By what this node finds itself in a view.
fn itself(engine: &MembershipEngine) -> Own {
    let incarnation = engine.info().has_leases.then(|| engine.claim().incarnation);
    Own { number: engine.own(), incarnation }
}

/// Why there is no cluster for this node.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum ClusterError {
    /// There is no `[cluster]`.
    #[error("there is no [cluster] in the configuration")]
    NotConfigured,
    /// Nothing can be sent or received. Names the address.
    #[error("cluster: the tunnel's socket: {0}")]
    NoSocket(io::Error),
    /// The kernel does not say how nodes are reached.
    #[error("cluster: routes cannot be asked for: {0}")]
    NoRoutes(io::Error),
    /// What the engine says makes no sense.
    #[error("{0}")]
    Unreadable(String),
}

impl RoomError for ClusterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotConfigured | Self::Unreadable(_) => ErrorKind::Refused,
            Self::NoSocket(_) | Self::NoRoutes(_) => ErrorKind::Kernel,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSocket(_) => Some("`ip address` says whether cluster.address is this host's".to_owned()),
            Self::NotConfigured | Self::NoRoutes(_) | Self::Unreadable(_) => None,
        }
    }
}

/// The form of the tunnel that this version reads and writes.
pub(super) const TUNNEL_VERSIONS: TunnelVersions = TunnelVersions { lowest: 1, highest: 1 };

/// Octets of a UDP payload, at most.
const PAYLOAD_MAX: u16 = 65_507;

/// What nodes say that waits to be listened to, in datagrams.
const CONTROL_WAITING: usize = 4_096;

/// What an operator is told of a node that was forgotten while it runs.
const FORGOTTEN: &str = "this node was forgotten by an operator (`nodes forget`), and the others answer its clients with resets: \
                         restart it, and it gets a new number";
/// The same where a list says so.
const GONE_BY_THE_LIST: &str = "the list of nodes says that this node is gone, and the others answer its clients with resets: \
                                put it right in the list on all nodes, or stop this one";
