//! What the nodes of a cluster have counted, and whether it adds up across them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

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

    /// Packets that one node sent on to others.
    pub fn forwarded(&self, number: u16) -> u64 {
        let of_stage = |stage: &&str| FORWARDED.map(|reason| self.of(number, &format!("{stage}.{reason}")));
        STAGES.iter().flat_map(|stage| of_stage(&stage)).sum()
    }

    /// Packets that one node took out of a tunnel, forged ones not among them.
    pub fn unwrapped(&self, number: u16) -> u64 {
        self.of(number, "unwrap.received") - self.of(number, "unwrap.tunnel_forged")
    }

    /// What all nodes sent on, and what all took out of tunnels.
    pub fn sums(&self) -> [u64; 2] {
        let numbers = || self.0.keys().copied();
        [numbers().map(|number| self.forwarded(number)).sum(), numbers().map(|number| self.unwrapped(number)).sum()]
    }

    /// What was counted since `before`. A node that was not there then counts from nothing.
    pub fn since(&self, before: &Self) -> Self {
        let since = |(&number, moved): (&u16, &Moved)| {
            let moved = moved.iter().map(|(name, count)| (name.clone(), count - before.of(number, name)));
            (number, moved.filter(|(_, count)| *count > 0).collect())
        };
        Self(self.0.iter().map(since).collect())
    }
}

impl Running {
    /// The counters of all nodes that have an agent.
    ///
    /// # Errors
    /// If one does not answer.
    pub fn counts(&self) -> Result<Counts> {
        let counts = |node: &Node| {
            let counters = node.control().counters().with_context(|| format!("node {}", node.number()))?;
            Ok((node.number(), flat(&counters)))
        };
        self.running().map(counts).collect::<Result<_>>().map(Counts)
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

/// Stages that decide where a packet goes that came from outside.
const STAGES: [&str; 3] = ["xdp", "select", "worker"];
/// Reasons to send a packet on: it names another node; it is a new connection that belongs there.
const FORWARDED: [&str; 2] = ["forwarded", "forwarded_new"];
