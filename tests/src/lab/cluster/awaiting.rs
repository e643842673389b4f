//! What a cluster is waited for, and clients that use it meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use router_userspace::agent::api::{CidState, ClusterNode, NodeState};

use super::{
    super::{awaiting::until, peers::Clients},
    Node, Running,
};

impl Running {
    /// So many quic-go connections that send on streams until they are told to end, all of them accepted.
    ///
    /// # Errors
    /// If one of them is not.
    pub fn talk(&self, connections: u64) -> Result<Clients> {
        let before = self.accepted()?;
        let clients = self.quic_go().echo(2_000).connections(connections).requests(2).until_told().pausing(PAUSE);
        // One whose request was acknowledged, and whose answer never comes, has nothing to send again: nobody could tell it.
        let clients = clients.keeping_alive(SILENCE).start()?;
        clients.run_until(|| Ok(self.accepted()? >= before + connections))?;
        Ok(clients)
    }

    /// Connections that the nodes whose agents run have accepted, all together.
    ///
    /// # Errors
    /// If a node does not answer.
    pub fn accepted(&self) -> Result<u64> {
        self.running().map(|node| Ok(node.control().status()?.totals.accepted)).sum()
    }

    /// Waits until all nodes whose agents run hear each other, and have found the way to each other.
    ///
    /// # Errors
    /// If they do not.
    pub fn await_together(&self) -> Result<()> {
        let living: Vec<_> = self.running().map(Node::number).collect();
        let strangers = || {
            let mut strangers = Vec::new();
            for node in self.running() {
                let others = node.control().cluster()?.nodes.into_iter().filter(|other| !other.this);
                let others = others.filter(|other| living.contains(&other.number));
                let unknown =
                    others.filter(|other| other.heard_ms_ago.is_none() || !other.hears_us || other.mtu.is_none());
                strangers.extend(unknown.map(|other| (node.number(), other)));
            }
            Ok(strangers)
        };
        until(strangers, Vec::is_empty).context("nodes do not hear each other").map(drop)
    }

    /// Waits until a node is this to all others whose agents run.
    ///
    /// # Errors
    /// If it does not become so.
    pub fn await_state(&self, number: u16, state: NodeState) -> Result<()> {
        let seen = || {
            let others = self.running().filter(|node| node.number() != number);
            let seen = others.map(|node| Ok((node.number(), node.control().cluster()?.nodes)));
            seen.collect::<Result<Vec<_>>>()
        };
        let is_so = |seen: &Vec<(u16, Vec<ClusterNode>)>| {
            let views = seen.iter().flat_map(|(_, nodes)| nodes).filter(|node| node.number == number);
            views.clone().next().is_some() && views.clone().all(|node| node.state == state)
        };
        until(seen, is_so).with_context(|| format!("node {number} does not become {state}")).map(drop)
    }

    /// Waits until the node at `index` issues connection IDs by the configuration `rotation`.
    ///
    /// # Errors
    /// If it does not come to that.
    pub fn await_issued(&self, index: u8, rotation: u8) -> Result<()> {
        let issued = || {
            let all = self.node(index).control().cid_configurations()?;
            let issued = all.iter().find(|one| one.state == CidState::Issuing);
            Ok(issued.context("no configuration is issued")?.rotation)
        };
        until(issued, |issued| *issued == rotation).with_context(|| format!("node {}", index + 1)).map(drop)
    }

    /// Packets of connections of nodes that are gone, which others have answered in their place.
    ///
    /// # Errors
    /// If a node does not answer.
    pub fn reset_for_others(&self) -> Result<u64> {
        let counts = self.counts()?;
        Ok(["xdp", "select", "unwrap"].iter().map(|stage| counts.sum(&format!("{stage}.node_gone"))).sum())
    }

    /// Waits until other nodes answer clients of a node that is gone, and ends the clients: `lost` of them, which had a
    /// connection there, have been told by a stateless reset, and all others lost nothing.
    ///
    /// # Errors
    /// If the first was not told before `until_when`, or anything else was lost.
    pub fn expect_resets(&self, clients: Clients, lost: u64, until_when: Instant) -> Result<()> {
        until(|| self.reset_for_others(), |count| *count > 0)?;
        let late = Instant::now().saturating_duration_since(until_when);
        ensure!(late.is_zero(), "the first client was told {late:?} too late");
        let summary = clients.finish()?;
        ensure!(
            lost > 0 && summary.stateless_resets() == lost && summary.errors.values().sum::<u64>() == lost,
            "the node had {lost} connections: {summary:?}"
        );
        Ok(())
    }
}

/// How long a connection is silent before its client asks whether the other end is there.
const SILENCE: Duration = Duration::from_secs(5);
/// Between two streams of a connection.
const PAUSE: Duration = Duration::from_millis(50);
