//! What other nodes count as: by what they say of themselves, once a second, and by their records.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use router_cluster::{
    health::{Health, HealthConfig, Judgement, Word},
    hello::{
        Announcement, EVERYONE_UP_TO, Heard, Hellos, IncomingHello, Members, Moment, OutgoingHello, Run, WayReport,
    },
    membership::{EngineInfo, NodeNumber, Presence, View},
    secret::ClusterSecret,
};

/// Hellos to and from all other nodes, and what follows.
pub(super) struct HealthWatch {
    own: NodeNumber,
    hellos: Hellos,
    health: Health,
    dead_after: Duration,
    /// The nodes that are said hello to, and heard.
    members: Members,
    /// Nodes that an operator has forgotten: as long as one is heard, it is said hello to.
    forgotten: BTreeSet<NodeNumber>,
}

/// How a node watches the others.
#[derive(Clone, Copy)]
pub(super) struct WatchConfig {
    pub(super) own: NodeNumber,
    pub(super) engine: EngineInfo,
    pub(super) dead_after: Duration,
}

impl HealthWatch {
    /// In this run, which has heard nobody yet.
    pub(super) fn new(config: WatchConfig, secret: ClusterSecret) -> Self {
        let WatchConfig { own, engine, dead_after } = config;
        let health = HealthConfig { own, engine: engine.into(), dead_after };
        Self {
            own,
            hellos: Hellos::new(secret, own, Run::new(rand::random())),
            health: Health::new(health, Instant::now()),
            dead_after,
            members: Members::default(),
            forgotten: BTreeSet::new(),
        }
    }

    /// Who belongs to the cluster now; of the nodes `located` it is known where they are, or were. One whose record has ended
    /// is said hello to, and heard, until it is forgotten: its silence has to be a witness of its own, not what follows from
    /// the other one; and if it comes back while it cannot reach the engine, these hellos are all that tells it how the others
    /// have gone on.
    pub(super) fn members(&mut self, view: &View, located: &BTreeSet<NodeNumber>) {
        let nodes = &view.state.nodes;
        let are =
            |wanted| nodes.iter().filter(move |(_, member)| member.presence() == wanted).map(|(&number, _)| number);
        let present: BTreeSet<_> = are(Presence::Present).chain([self.own]).collect();
        self.forgotten = are(Presence::Forgotten).filter(|number| located.contains(number)).collect();
        let absent = located.difference(&present).filter(|number| !self.forgotten.contains(number)).copied().collect();
        self.members = Members { present, absent };
        self.tell_hellos();
        self.health.membership(Instant::now(), view);
    }

    /// A forgotten node that is heard lives, and has to hear of others where its new connections may go.
    fn tell_hellos(&mut self) {
        let ways = self.hellos.ways(Instant::now());
        let heard_at = |number: &NodeNumber| ways.get(number).and_then(|way| way.heard_at);
        let lives = |number: &&NodeNumber| heard_at(number).is_some_and(|heard| heard.elapsed() < self.dead_after);
        let mut members = self.members.clone();
        members.absent.extend(self.forgotten.iter().filter(lives));
        self.hellos.members(&members);
    }

    /// The hellos of this second; `longest` says for each node how long one may be, in octets of UDP payload.
    pub(super) fn say(
        &mut self,
        announcement: Announcement,
        longest: impl Fn(NodeNumber) -> u16,
    ) -> Vec<OutgoingHello> {
        if !self.forgotten.is_empty() {
            self.tell_hellos();
        }
        // The next second's may have the random numbers that these lack.
        let said = self.hellos.say(now(), announcement, longest);
        said.inspect_err(|e| tracing::warn!("cluster: {e}")).unwrap_or_default()
    }

    /// Takes what may be a hello; answers it if it counts, or is of a run that has yet to show that it is alive.
    pub(super) fn hear(&mut self, datagram: &[u8]) -> Option<IncomingHello> {
        match self.hellos.hear(now(), datagram) {
            Ok(hello) => {
                if hello.heard == Heard::Counted {
                    self.health.heard(Instant::now(), hello.from, Word::new(&hello.hello, &hello.way));
                }
                Some(hello)
            }
            // Anybody can send such.
            Err(e) => {
                tracing::debug!("cluster: a datagram that is no hello: {e}");
                None
            }
        }
    }

    /// One hello more, to a node whose hello wants it.
    pub(super) fn answer(&mut self, to: NodeNumber, announcement: Announcement) -> Option<OutgoingHello> {
        self.hellos.answer(to, now(), announcement).inspect_err(|e| tracing::warn!("cluster: {e}")).ok().flatten()
    }

    /// The nodes that have not said yet that this one's hellos count there.
    pub(super) fn unaware(&self) -> BTreeSet<NodeNumber> {
        self.hellos.unaware(Instant::now())
    }

    /// What each other node counts as.
    pub(super) fn judge(&mut self) -> BTreeMap<NodeNumber, Judgement> {
        self.health.judge(Instant::now()).nodes
    }

    /// The nodes that say hello to this one and that it does not hear. Where all nodes hear each other, nobody asks.
    pub(super) fn unheard(&mut self) -> BTreeSet<NodeNumber> {
        let Members { present, absent } = &self.members;
        if present.len() + usize::from(!absent.is_empty()) <= EVERYONE_UP_TO {
            return BTreeSet::new();
        }
        self.health.unheard(Instant::now())
    }

    /// What is known of the ways to the others.
    pub(super) fn ways(&self) -> BTreeMap<NodeNumber, WayReport> {
        self.hellos.ways(Instant::now())
    }
}

fn now() -> Moment {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { now: Instant::now(), wall_clock: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX) }
}
