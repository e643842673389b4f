//! Several nodes whose hellos cross a network that is told what to lose, and whose engine is told what to say: what they
//! make of one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    health::{DEFAULT_DEAD_AFTER, Engine, Health, HealthConfig, NodeHealth, Reason, Word},
    hello::{Announcement, Heard, Hellos, Members, Moment, OutgoingHello, Run, WayReport},
    membership::{ClusterState, Freshness, Member, NodeNumber, NodeRecord, NodeState, TunnelVersions, View},
    secret::ClusterSecret,
};

use NodeHealth::{Gone, Silent, Unreachable, Up};

fn announcement() -> Announcement {
    Announcement {
        state: NodeState::Up,
        takes_new_connections: true,
        weight: 100,
        revision: 1,
        tunnel_versions: TunnelVersions { lowest: 1, highest: 1 },
    }
}

/// Octets of UDP payload that the nodes' interfaces carry.
const INTERFACE: u16 = 8_972;

fn number(number: u16) -> NodeNumber {
    NodeNumber::new(number).unwrap()
}

struct Node {
    hellos: Hellos,
    health: Health,
    /// Whether its engine is there for it.
    is_live: bool,
}

struct Simulation {
    began: Instant,
    milliseconds: u64,
    nodes: BTreeMap<NodeNumber, Node>,
    /// Who has a lease, by the engine.
    leases: BTreeSet<NodeNumber>,
    /// Who has a number.
    numbers: BTreeSet<NodeNumber>,
    /// From whom to whom nothing passes.
    cut: BTreeSet<[NodeNumber; 2]>,
    /// Octets of UDP payload that the fabric carries.
    fabric: usize,
    /// What each node has counted each other as, over all the time.
    seen: BTreeMap<[NodeNumber; 2], BTreeSet<NodeHealth>>,
}

impl Simulation {
    fn of(count: u16) -> Self {
        let mut simulation = Self {
            began: Instant::now(),
            milliseconds: 0,
            nodes: BTreeMap::new(),
            leases: (1..=count).map(number).collect(),
            numbers: BTreeSet::new(),
            cut: BTreeSet::new(),
            fabric: 1_472,
            seen: BTreeMap::new(),
        };
        (1..=count).for_each(|node| simulation.start(number(node)));
        simulation
    }

    fn at(&self) -> Moment {
        let since = Duration::from_millis(self.milliseconds);
        Moment { now: self.began + since, wall_clock: since.as_nanos() as u64 }
    }

    /// Starts a node, or starts it anew.
    fn start(&mut self, own: NodeNumber) {
        let run = Run::new(self.milliseconds << 16 | u64::from(own.get()));
        let config = HealthConfig { own, engine: Engine::Leased, dead_after: DEFAULT_DEAD_AFTER };
        let hellos = Hellos::new(ClusterSecret::from([9; 32]), own, run);
        let health = Health::new(config, self.at().now);
        self.leases.insert(own);
        self.numbers.insert(own);
        self.nodes.insert(own, Node { hellos, health, is_live: true });
        self.tell();
    }

    /// It dies; its lease ends by itself, later.
    fn kill(&mut self, node: NodeNumber) {
        self.nodes.remove(&node);
    }

    fn lease_ends(&mut self, node: NodeNumber) {
        self.leases.remove(&node);
        self.tell();
    }

    fn engine_is_away_for(&mut self, node: NodeNumber) {
        self.nodes.get_mut(&node).unwrap().is_live = false;
        self.tell();
    }

    fn cut(&mut self, one: NodeNumber, other: NodeNumber) {
        self.cut.extend([[one, other], [other, one]]);
    }

    /// Nodes whose engine is there see the state.
    fn tell(&mut self) {
        let all: BTreeSet<_> = self.numbers.union(&self.leases).copied().collect();
        let members = all.iter().map(|&node| (node, self.member(node))).collect();
        let state = ClusterState { nodes: members, ..ClusterState::default() };
        let (state, now) = (std::sync::Arc::new(state), self.at().now);
        for node in self.nodes.values_mut() {
            let last_known = Freshness::LastKnown { since: std::time::UNIX_EPOCH, why: "it is away".to_owned() };
            let freshness = if node.is_live { Freshness::Live } else { last_known };
            node.health.membership(now, &View { state: state.clone(), version: 1, freshness });
            if node.is_live {
                let absent = all.difference(&self.leases).copied().collect();
                node.hellos.members(&Members { present: self.leases.clone(), absent });
            }
        }
    }

    fn member(&self, node: NodeNumber) -> Member {
        let address = [10, 0, 0, 1].into();
        let record = NodeRecord { number: node, address, port: 6080, weight: 100, state: NodeState::Up, run: None };
        Member { record: self.leases.contains(&node).then_some(record), ..Member::default() }
    }

    /// Goes on for so many seconds, in steps of 100 ms: each node says hello once a second, in a step of its own.
    fn seconds(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.milliseconds += 100;
            let said_now = |node: NodeNumber| u64::from(node.get()) % 10 == self.milliseconds / 100 % 10;
            let speakers: Vec<_> = self.nodes.keys().copied().filter(|&node| said_now(node)).collect();
            speakers.into_iter().for_each(|node| self.say(node));
            // Half a second is short beside all that is decided, and takes a fifth of the time.
            if !self.milliseconds.is_multiple_of(500) {
                continue;
            }
            let now = self.at().now;
            for (&own, node) in &mut self.nodes {
                for (other, judgement) in node.health.judge(now).nodes {
                    self.seen.entry([own, other]).or_default().insert(judgement.state);
                }
            }
        }
    }

    fn say(&mut self, from: NodeNumber) {
        let at = self.at();
        let said = self.nodes.get_mut(&from).unwrap().hellos.say(at, announcement(), |_| INTERFACE).unwrap();
        said.into_iter().for_each(|outgoing| self.carry(from, outgoing));
    }

    /// What one says arrives, and what is answered to it.
    fn carry(&mut self, from: NodeNumber, said: OutgoingHello) {
        let at = self.at();
        let is_carried = said.datagram.len() <= self.fabric && !self.cut.contains(&[from, said.to]);
        let Some(listener) = self.nodes.get_mut(&said.to).filter(|_| is_carried) else { return };
        let incoming = listener.hellos.hear(at, &said.datagram).unwrap();
        if incoming.heard == Heard::Counted {
            listener.health.heard(at.now, from, Word::new(&incoming.hello, &incoming.way));
        }
        if incoming.wants_answer {
            let answer = listener.hellos.answer(from, at, announcement()).unwrap().unwrap();
            self.carry(said.to, answer);
        }
    }

    fn counts(&mut self, own: u16, other: u16) -> NodeHealth {
        let now = self.at().now;
        self.nodes.get_mut(&number(own)).unwrap().health.judge(now).nodes[&number(other)].state
    }

    fn way(&self, own: u16, other: u16) -> WayReport {
        self.nodes[&number(own)].hellos.ways(self.at().now)[&number(other)]
    }

    /// Whether a node that lives was ever counted as gone by another.
    fn was_ever(&self, what: NodeHealth) -> bool {
        self.seen.values().any(|seen| seen.contains(&what))
    }
}

#[test]
fn three_nodes_hear_one_another() {
    let mut simulation = Simulation::of(3);
    simulation.seconds(3);
    for (own, other) in [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)] {
        let way = simulation.way(own, other);
        assert!(way.hears_us, "{own} {other}");
        assert_eq!((way.round_trip, way.clock_ahead), (Some(Duration::ZERO), Some(0)));
    }
    simulation.seconds(600);
    assert!(!simulation.was_ever(Silent) && !simulation.was_ever(Gone));
}

#[test]
fn each_pair_learns_what_the_fabric_carries() {
    let mut simulation = Simulation::of(2);
    simulation.seconds(60);
    // The fabric carries less than the interface: what is padded is lost, and nothing else.
    assert!(simulation.way(1, 2).longest_heard < 200);
    simulation.fabric = INTERFACE.into();
    simulation.seconds(60);
    for (own, other) in [(1, 2), (2, 1)] {
        let way = simulation.way(own, other);
        assert_eq!([way.longest_heard, way.longest_heard_there], [INTERFACE; 2]);
    }
    assert!(!simulation.was_ever(Silent));
}

#[test]
fn a_node_that_dies_is_gone_for_the_others_within_twelve_seconds() {
    let mut simulation = Simulation::of(3);
    simulation.seconds(20);
    simulation.kill(number(3));
    simulation.seconds(9);
    assert_eq!([simulation.counts(1, 3), simulation.counts(2, 3)], [Silent; 2]);
    simulation.lease_ends(number(3));
    simulation.seconds(3);
    assert_eq!([simulation.counts(1, 3), simulation.counts(2, 3)], [Gone; 2]);
    assert_eq!([simulation.counts(1, 2), simulation.counts(2, 1)], [Up; 2]);
    // It is started again, with the same number.
    simulation.start(number(3));
    assert_eq!([simulation.counts(1, 3), simulation.counts(2, 3)], [Up; 2]);
    simulation.seconds(3);
    assert!(simulation.way(1, 3).hears_us && simulation.way(3, 1).hears_us);
}

/// A restart takes less than a second, and a new run has to prove itself.
#[test]
fn a_restart_is_no_silence() {
    let mut simulation = Simulation::of(5);
    simulation.seconds(20);
    for node in 1..=5 {
        simulation.start(number(node));
        simulation.seconds(7);
    }
    assert!(!simulation.was_ever(Silent), "{:?}", simulation.seen);
}

/// While the engine is away, no new record says that it is there: its first hello does, and what the two answer at once.
#[test]
fn a_node_that_was_gone_is_forwarded_to_from_its_first_hello_on() {
    let mut simulation = Simulation::of(3);
    simulation.seconds(20);
    simulation.kill(number(3));
    simulation.lease_ends(number(3));
    simulation.seconds(12);
    assert_eq!([simulation.counts(1, 3), simulation.counts(2, 3)], [Gone; 2]);
    (1..=2).for_each(|node| simulation.engine_is_away_for(number(node)));
    simulation.start(number(3));
    assert_eq!(simulation.counts(1, 3), Gone);
    simulation.say(number(3));
    assert_eq!([simulation.counts(1, 3), simulation.counts(2, 3)], [Silent; 2]);
    assert!(simulation.nodes[&number(3)].hellos.unaware(simulation.at().now).is_empty());
}

#[test]
fn a_partition_of_hellos_only_resets_nobody() {
    let mut simulation = Simulation::of(4);
    simulation.seconds(20);
    for (one, other) in [(1, 3), (1, 4), (2, 3), (2, 4)] {
        simulation.cut(number(one), number(other));
    }
    simulation.seconds(3_600);
    assert_eq!([simulation.counts(1, 2), simulation.counts(3, 4)], [Up; 2]);
    assert_eq!([simulation.counts(1, 3), simulation.counts(4, 2)], [Unreachable; 2]);
    simulation.cut.clear();
    simulation.seconds(3);
    assert_eq!([simulation.counts(1, 3), simulation.counts(4, 2)], [Up; 2]);
    assert!(!simulation.was_ever(Gone));
}

#[test]
fn a_partition_of_the_engine_only_resets_nobody() {
    let mut simulation = Simulation::of(3);
    simulation.seconds(20);
    // Node 3 cannot reach it, loses its lease, and sees nothing of that.
    simulation.engine_is_away_for(number(3));
    simulation.lease_ends(number(3));
    simulation.seconds(3_600);
    assert!(!simulation.was_ever(Silent) && !simulation.was_ever(Gone));
    let now = simulation.at().now;
    let judgement = simulation.nodes.get_mut(&number(1)).unwrap().health.judge(now).nodes[&number(3)];
    assert!(matches!(judgement.reason, Reason::HeardWithoutRecord { .. }), "{}", judgement.reason);
}

#[test]
fn an_engine_that_is_wiped_resets_nobody() {
    let mut simulation = Simulation::of(3);
    simulation.seconds(20);
    (1..=3).for_each(|node| simulation.lease_ends(number(node)));
    simulation.seconds(60);
    assert!(!simulation.was_ever(Silent) && !simulation.was_ever(Gone));
}

/// What one says does not arrive: that one is unreachable for the other, and is told so by the other's hellos.
#[test]
fn a_way_that_is_cut_in_one_direction_is_told_from_both_ends() {
    let mut simulation = Simulation::of(2);
    simulation.seconds(20);
    simulation.cut.insert([number(1), number(2)]);
    simulation.seconds(20);
    assert_eq!([simulation.counts(2, 1), simulation.counts(1, 2)], [Unreachable, Up]);
    assert!(!simulation.way(1, 2).hears_us);
}

/// A cluster that grows beyond the size in which each hears each other, and shrinks again.
#[test]
fn nobody_is_silent_while_audiences_change() {
    let mut simulation = Simulation::of(66);
    simulation.seconds(5);
    for (node, seconds) in [(66, 4), (65, 12)] {
        // It has drained and is taken out: what the others make of it then is not looked at.
        simulation.kill(number(node));
        simulation.lease_ends(number(node));
        simulation.seconds(seconds);
    }
    simulation.start(number(65));
    simulation.seconds(5);
    let living = |[own, other]: &[NodeNumber; 2]| own.get() < 65 && other.get() < 65;
    let seen: Vec<_> = simulation.seen.iter().filter(|(pair, _)| living(pair)).collect();
    assert_eq!(seen.len(), 64 * 63);
    let wrong: Vec<_> = seen.into_iter().filter(|(_, seen)| seen.iter().ne([&Up])).collect();
    assert!(wrong.is_empty(), "{} pairs, {:?}", wrong.len(), &wrong[..5.min(wrong.len())]);
}
