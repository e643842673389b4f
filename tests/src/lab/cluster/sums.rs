//! What the nodes of a cluster have counted, and whether it adds up across them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use router_userspace::agent::api;

use super::{
    super::{
        awaiting::until,
        counters::{Moved, flat, open_sums},
    },
    Node, Running,
};

/// The counters of all nodes that have an agent, at one moment or over a time: by the node's number, then by
/// `STAGE.COUNTER`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<u16, Moved>);

impl Counts {
    /// A counter of one node.
    pub fn of(&self, number: u16, counter: &str) -> u64 {
        self.0.get(&number).and_then(|moved| moved.get(counter)).copied().unwrap_or_default()
    }

    /// A counter, summed over all nodes.
    pub fn sum(&self, counter: &str) -> u64 {
        self.0.keys().map(|&number| self.of(number, counter)).sum()
    }

    /// Packets that one node sent on to others. Those that XDP leaves to a worker, because they are not plain, it has
    /// counted already.
    pub fn forwarded(&self, number: u16) -> u64 {
        if self.of(number, "xdp.received") == 0 {
            return self.of(number, "worker.sent_on");
        }
        FORWARDED.iter().map(|reason| self.of(number, &format!("xdp.{reason}"))).sum()
    }

    /// Packets that one node took out of a tunnel, by XDP or by its socket: neither forged ones, nor what nodes told each
    /// other.
    pub fn unwrapped(&self, number: u16) -> u64 {
        let of_stage = |stage: &str| {
            let others = OTHERS.iter().map(|reason| self.of(number, &format!("{stage}.{reason}"))).sum::<u64>();
            self.of(number, &format!("{stage}.received")) - others
        };
        ["unwrap", "tunnel"].map(of_stage).iter().sum()
    }

    /// What all nodes sent on, and what all took out of tunnels.
    pub fn sums(&self) -> [u64; 2] {
        let numbers = || self.0.keys().copied();
        [numbers().map(|number| self.forwarded(number)).sum(), numbers().map(|number| self.unwrapped(number)).sum()]
    }

    /// What was counted since `before`. A node that was not there then counts from nothing, and so does what a process
    /// counts by itself, where another generation has it now.
    pub fn since(&self, before: &Self) -> Self {
        let since = |(&number, moved): (&u16, &Moved)| {
            let since = |(name, count): (&String, &u64)| {
                (name.clone(), count.checked_sub(before.of(number, name)).unwrap_or(*count))
            };
            let moved = moved.iter().map(since);
            (number, moved.filter(|(_, count)| *count > 0).collect())
        };
        Self(self.0.iter().map(since).collect())
    }
}

/// The packets that one node sent on to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The number of the one.
    pub from: u16,
    /// The number of the other.
    pub to: u16,
    /// What the one has sent.
    pub forwarded: u64,
    /// What the other has taken.
    pub unwrapped: u64,
}

impl Running {
    /// The counters of all nodes that have an agent.
    ///
    /// # Errors
    /// If one does not answer.
    pub fn counts(&self) -> Result<Counts> {
        let counts = |node: &Node| {
            let counters = node.control().counters().with_context(|| format!("node {}", node.number()))?;
            let mut counts = flat(&counters);
            counts.retain(|_, count| *count > 0);
            Ok((node.number(), counts))
        };
        self.running().map(counts).collect::<Result<_>>().map(Counts)
    }

    /// Packets for other nodes that were dropped because they fit into no tunnel.
    ///
    /// # Errors
    /// If a node does not answer.
    pub fn too_long(&self) -> Result<u64> {
        let of_node = |node: &Node| Ok(node.control().cluster()?.nodes.iter().map(|other| other.too_long).sum::<u64>());
        self.running().map(of_node).sum()
    }

    /// What each node forwarded to each other one, and what that took, of those whose agents run.
    ///
    /// # Errors
    /// If a node does not answer.
    pub fn pairs(&self) -> Result<Vec<Pair>> {
        let views: Vec<_> = self.running().map(|node| node.control().cluster()).collect::<Result<_>>()?;
        let of = |view: &api::Cluster, other: u16| view.nodes.iter().find(|node| node.number == other).cloned();
        let pair = |[from, to]: [&api::Cluster; 2]| {
            let (sent, taken) = (of(from, to.node)?, of(to, from.node)?);
            let [forwarded, unwrapped] = [sent.forwarded_packets, taken.unwrapped_packets];
            Some(Pair { from: from.node, to: to.node, forwarded, unwrapped })
        };
        let pairs = views.iter().flat_map(|from| views.iter().map(move |to| [from, to]));
        Ok(pairs.filter(|[from, to]| from.node != to.node).filter_map(pair).collect())
    }

    /// Waits until the sums of all nodes close, each by itself and what all forwarded with what all unwrapped, and makes
    /// sure that nothing was dropped on the way. Not after a node was killed: what it has counted is gone.
    ///
    /// # Errors
    /// Naming what does not add up, and where.
    pub fn expect_nothing_lost(&self) -> Result<()> {
        until(|| self.faults(&[]), Vec::is_empty).context("packets were lost between nodes").map(drop)
    }

    /// The same, but for packets that were dropped for the reasons `meant`.
    ///
    /// # Errors
    /// As there.
    pub fn expect_nothing_lost_but(&self, meant: &[&str]) -> Result<()> {
        until(|| self.faults(meant), Vec::is_empty).context("packets were lost between nodes").map(drop)
    }

    /// What does not add up, in words.
    fn faults(&self, meant: &[&str]) -> Result<Vec<String>> {
        let mut faults = Vec::new();
        for node in self.running() {
            let counters = node.control().counters()?;
            let totals = node.control().status()?.totals;
            let mut of_node = open_sums(&counters);
            let dropped = counters.stages.iter().flat_map(|stage| stage.dropped.iter().map(move |drop| (stage, drop)));
            for (stage, (reason, count)) in dropped.filter(|(_, (_, count))| **count > 0) {
                if !meant.contains(&&**reason) {
                    of_node.push(format!("{count} dropped by {}: {reason}", stage.name));
                }
            }
            for (count, place) in [(totals.socket_drops, "full sockets"), (totals.ring_drops, "full AF_XDP rings")] {
                if count > 0 {
                    of_node.push(format!("{count} dropped by {place}"));
                }
            }
            faults.extend(of_node.into_iter().map(|fault| format!("node {}: {fault}", node.number())));
        }
        let open = self.pairs()?.into_iter().filter(|pair| pair.forwarded != pair.unwrapped);
        faults.extend(open.map(|pair| format!("{pair:?}")));
        let counts = self.counts()?;
        let [forwarded, unwrapped] = counts.sums();
        if forwarded != unwrapped {
            faults.push(format!("all forwarded {forwarded}, and all unwrapped {unwrapped}: {counts:#?}"));
        }
        Ok(faults)
    }

    /// Makes sure that so many packets, or more, were forwarded since `before`: that a test tested something.
    ///
    /// # Errors
    /// If it were fewer.
    pub fn expect_forwarded(&self, before: &Counts, at_least: u64) -> Result<()> {
        let counts = self.counts()?.since(before);
        let [forwarded, _] = counts.sums();
        ensure!(forwarded >= at_least, "only {forwarded} packets were forwarded: {counts:#?}");
        Ok(())
    }

    /// Nodes whose agent runs.
    pub(super) fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes().iter().filter(|node| node.has_agent())
    }
}

/// Reasons to send a packet on: it names another node; it is a new connection that belongs there.
const FORWARDED: [&str; 2] = ["forwarded", "forwarded_new"];
/// What comes to the tunnel's port and is no forwarded packet.
const OTHERS: [&str; 2] = ["tunnel_forged", "tunnel_socket"];
