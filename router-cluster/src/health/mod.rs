//! What each other node counts as: up, draining, silent, unreachable or gone.
//!
//! ```text
//!           no hello for 3 s        for `dead_after`               two witnesses, or `forget`
//! up       ─────────────────► silent ──────────────► unreachable ─────────────────────────────► gone
//! draining                    packets are            packets are                                packets are
//!  ▲  ▲                       forwarded              dropped                                    answered by resets
//!  │  └──── a hello ─────────────┴──────────────────────┘                                        │  │
//!  │                             ▲────────────────────────────── a hello ───────────────────────┘  │
//!  └───────────────────────────────────────────────────────────── a new record ──────────────────────┘
//! ```
//!
//! A node that is gone has its connections reset by the others, so a living one must never count as gone. It takes two
//! witnesses that fail independently:
//!
//! 1. Its record has ended in a *live* view of the membership: its lease with an engine that has leases, its line in
//!    the members' file with engine `file`. A node that cannot reach etcd loses its lease and is alive.
//! 2. No hello came for `dead_after`. A node whose hellos are filtered keeps its lease and is alive.
//!
//! Both have to hold at the same time. Or an operator says `forget`, who then answers for it. While the engine is away,
//! the last known state holds and no record ends; hellos still tell who is silent and unreachable.
//!
//! A node that is gone stays so while the engine is away. It is up again with a new record only. A hello, which only a
//! process that lives can say, does not make it up, but it ends the resets: one of the two witnesses was wrong or is out
//! of date, and packets are forwarded to it. What that process does not know it answers with resets by itself.
//!
//! What silence is not:
//!
//! - That nothing is heard of a node whose record had ended before this agent began. It is said hello to where it was last,
//!   and may have moved since; an agent that restarts while another node is cut off from etcd must not take it for gone.
//! - The first `dead_after` that this node listens for another: after a restart it has heard nobody, and drops nothing.
//! - The time in which this process stood still. Between two inputs, two seconds count at most; inputs come once a second
//!   ([`Health::judge`] says when).
//! - That a node says nothing to this one because it need not. Beyond 64 nodes each says hello to 16 ([`Audiences`]), and
//!   only they can tell its silence. So each node publishes whom it should hear and does not ([`Health::unheard`], in its
//!   record), and for the others a node is silent as long as, in a live view, more than half of those that it says hello
//!   to have a record that says so. They wait for three seconds themselves; from then on, the clock of `dead_after` runs.
//!   Without a live view the others' words are old, and the node counts as up. Nodes may disagree for a moment about who
//!   hears whom: a speaker that leaves a listener out says so in its last hellos
//!   ([`Hello::continues`](crate::hello::Hello::continues)), and a listener that becomes one listens from then on.

mod evidence;
mod judgement;
mod listening;
mod node;
mod reason;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::{Duration, Instant},
};

pub use self::{
    evidence::{DEFAULT_DEAD_AFTER, Engine, SILENT_AFTER, Word},
    judgement::{Judgement, NodeHealth},
    reason::{Reason, SecondWitness},
};
use self::{
    listening::Listening,
    node::{Listener, Node, Now},
};
use crate::{
    hello::{Audiences, HELLO_INTERVAL},
    membership::{Member, NodeNumber, Presence, View},
};

/// What health has to know of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HealthConfig {
    /// This node.
    pub own: NodeNumber,
    /// Its membership engine.
    pub engine: Engine,
    /// How long a node may be silent until its packets are dropped, and until its silence is one of two witnesses that it
    /// is gone. Not less than [`SILENT_AFTER`], which is taken in its place; default [`DEFAULT_DEAD_AFTER`].
    pub dead_after: Duration,
}

/// The health of all other nodes, as this one sees it. It has no clock and no socket: it is told, and says what follows.
#[derive(Clone, Debug)]
pub struct Health {
    config: HealthConfig,
    listening: Listening,
    cluster: Cluster,
    nodes: BTreeMap<NodeNumber, Node>,
}

/// Who belongs to the cluster, by the last view.
#[derive(Clone, Debug, Default)]
struct Cluster {
    is_live: bool,
    /// Of the nodes that have a record, and this one.
    audiences: Audiences,
    /// By node that does not hear them: the nodes that say hello to it.
    unheard: BTreeMap<NodeNumber, BTreeSet<NodeNumber>>,
}

/// What all other nodes count as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assessment {
    /// Each node that is known, but this one.
    pub nodes: BTreeMap<NodeNumber, Judgement>,
    /// When to ask again, even if nothing happens: within a second.
    pub look_again: Instant,
}

impl Health {
    /// No node is known yet.
    pub fn new(config: HealthConfig, now: Instant) -> Self {
        let config = HealthConfig { dead_after: config.dead_after.max(SILENT_AFTER), ..config };
        let audiences = Audiences::new(&BTreeSet::from([config.own]));
        let cluster = Cluster { audiences, ..Cluster::default() };
        Self { config, listening: Listening::new(now), cluster, nodes: BTreeMap::new() }
    }

    /// The membership, as the engine says it now or said it last: whenever it changes, and when the view becomes live or
    /// is no longer so. Each node that has a number is judged from then on.
    pub fn membership(&mut self, now: Instant, view: &View) {
        let at = self.listening.until(now);
        let members = &view.state.nodes;
        self.cluster.is_live = view.freshness.is_live();
        let present = members.iter().filter(|(_, member)| member.presence() == Presence::Present);
        let present = present.map(|(&number, _)| number).chain([self.config.own]).collect();
        self.cluster.audiences = Audiences::new(&present);
        for (&number, member) in members.iter().filter(|(number, _)| **number != self.config.own) {
            match self.nodes.entry(number) {
                Entry::Occupied(node) if self.cluster.is_live => node.into_mut().seen(at, member),
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => place.insert(Node::new(at)).remembered(member),
            }
        }
        if self.cluster.is_live {
            let ended = self.nodes.iter_mut().filter(|(number, _)| !members.contains_key(number));
            ended.for_each(|(_, node)| node.seen(at, &Member::default()));
        }
        self.listen(at);
    }

    /// What the nodes say of those that they should hear and do not, each in its record ([`Self::unheard`]). Needed where
    /// not each node hears each other; else nothing depends on it.
    pub fn unheard_by(&mut self, now: Instant, unheard: BTreeMap<NodeNumber, BTreeSet<NodeNumber>>) {
        let at = self.listening.until(now);
        self.cluster.unheard = unheard;
        self.listen(at);
    }

    /// A hello of the node counted.
    pub fn heard(&mut self, now: Instant, number: NodeNumber, word: Word) {
        let at = self.listening.until(now);
        if number == self.config.own {
            return;
        }
        let node = self.nodes.entry(number).or_insert_with(|| {
            let mut node = Node::new(at);
            node.listened_to_by(at, self.cluster.listener(self.config.own, number).since(at));
            node
        });
        node.heard(at, word);
    }

    /// No connection of the node can exist any more.
    pub fn remove(&mut self, number: NodeNumber) {
        self.nodes.remove(&number);
    }

    /// What all nodes count as. Hellos that have arrived are to be [told](Self::heard) before that.
    pub fn judge(&mut self, now: Instant) -> Assessment {
        let what = self.now(now);
        let nodes: BTreeMap<_, _> = self.nodes.iter_mut().map(|(&number, node)| (number, node.judge(&what))).collect();
        let changes = self.nodes.values().filter_map(|node| node.changes_in(&what));
        let look_again = now + changes.min().map_or(HELLO_INTERVAL, |change| change.min(HELLO_INTERVAL));
        Assessment { nodes, look_again }
    }

    /// The nodes that say hello to this one, and that it does not hear. In a cluster where not each node hears each other,
    /// this belongs into this node's record.
    pub fn unheard(&mut self, now: Instant) -> BTreeSet<NodeNumber> {
        let what = self.now(now);
        let heard_by_us = self.nodes.iter_mut().filter(|(_, node)| node.is_heard_by_us());
        let unheard = heard_by_us.filter_map(|(&number, node)| {
            matches!(node.judge(&what).state, NodeHealth::Silent | NodeHealth::Unreachable).then_some(number)
        });
        unheard.collect()
    }

    fn now(&mut self, now: Instant) -> Now {
        let HealthConfig { engine, dead_after, .. } = self.config;
        Now { at: self.listening.until(now), is_live: self.cluster.is_live, engine, dead_after }
    }

    fn listen(&mut self, at: Duration) {
        for (&number, node) in &mut self.nodes {
            node.listened_to_by(at, self.cluster.listener(self.config.own, number).since(at));
        }
    }
}

/// Who hears a node.
#[derive(Clone, Copy)]
enum HeardBy {
    Us,
    Others { most_say_silent: bool },
}

impl HeardBy {
    fn since(self, at: Duration) -> Listener {
        match self {
            Self::Us => Listener::Us,
            Self::Others { most_say_silent } => Listener::Others { silent_since: most_say_silent.then_some(at) },
        }
    }
}

impl Cluster {
    /// Who hears `speaker`, and if it is not `own`, what they say in a live view.
    fn listener(&self, own: NodeNumber, speaker: NodeNumber) -> HeardBy {
        let listeners = self.audiences.of(speaker);
        if listeners.contains(&own) {
            return HeardBy::Us;
        }
        let says_silent =
            |listener: &&NodeNumber| self.unheard.get(*listener).is_some_and(|unheard| unheard.contains(&speaker));
        let silent = listeners.iter().filter(says_silent).count();
        HeardBy::Others { most_say_silent: self.is_live && 2 * silent > listeners.len() }
    }
}
