//! The life of the cluster's configurations of connection IDs: which change comes next, and for whom it waits. Pure: it
//! looks at a view and a clock, and any node may commit what it says; there is no leader.
//!
//! ```text
//! announced ──────────────────────► issuing ──────────► retiring ──────────────────► gone
//! every node decodes it             new IDs follow it   a newer one issues           nobody has such IDs
//!           └ once all live nodes                                └ after the longest lifetime
//!             have acked it                                        and a drain, and once all have acked it
//! ```
//!
//! A node that has lost its lease may live all the same, cut off from the engine: it is waited for until it counts as gone
//! by a second witness, or until an operator says `forget`. Who has seen its last record knows of it; so that an agent that
//! restarts meanwhile does, too, each step of a rotation names the nodes that were there, and whoever remembers another one
//! adds it, before it acks.
//!
//! So every node decodes a connection ID before any issues it (QUIC-LB, configuration agents).

use std::collections::{BTreeMap, BTreeSet};

use router_common::{connection_id::ROTATIONS, identifiers::ConfigRotation};

use super::{
    change::{Change, Write},
    cid::{CidConfiguration, CidShape, CidState},
    keys::{CidSecrets, Master},
    node::NodeNumber,
    state::{ClusterState, Member, Presence, View},
};

/// What this node knows of others that may have no lease. Of those that are not here it knows nothing: their records ended
/// before it began to look.
pub type Unleased = BTreeMap<NodeNumber, WithoutLease>;

/// What is known of a node that has no lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithoutLease {
    /// It may live.
    MayLive {
        /// The highest revision that its last record acked.
        acks: u64,
    },
    /// Two witnesses say that it does not.
    Gone,
}

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing: one configuration issues, and none is on its way.
    Settled,
    /// Nothing before these nodes have acked a configuration.
    Waiting {
        /// Which.
        rotation: ConfigRotation,
        /// For whom, each with the highest revision that it acks.
        nodes: Vec<(NodeNumber, u64)>,
    },
    /// Nothing before that time, in seconds since 1970: connections may have IDs of this configuration until then.
    Until {
        /// Which.
        rotation: ConfigRotation,
        /// When.
        time: u64,
    },
    /// Nothing while the engine cannot be asked: who is live is not known.
    Away,
    /// This, by [`commit`](super::Membership::commit). On a conflict another node did it, or a node has come: look again.
    Change(Change),
}

/// Why no configuration is announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RotationError {
    /// One is on its way already.
    #[error("configuration {0} is announced and not issued yet")]
    OnItsWay(ConfigRotation),
    /// No rotation is free.
    #[error("all seven configurations of connection IDs are in use")]
    AllInUse,
    /// The cluster was not made yet.
    #[error("the cluster was not made yet")]
    NotMade,
}

impl RotationError {
    /// The way out.
    pub fn hint(self) -> &'static str {
        match self {
            Self::OnItsWay(_) => {
                "`quic-router status` says for which nodes it waits; `quic-router nodes forget N` is for one that does not \
                 come back"
            }
            Self::AllInUse => {
                "each goes when no connection can have its IDs any more: connection_id.lifetime after its end"
            }
            Self::NotMade => "once, on one node: quic-router cluster init",
        }
    }
}

/// Makes a cluster: fresh keys, and one configuration, which issues at once as there is no node yet. `now` is in seconds
/// since 1970.
pub fn make(shape: CidShape, now: u64) -> Change {
    let cid = CidConfiguration {
        rotation: ConfigRotation::new(0),
        state: CidState::Issuing,
        announced: 1,
        entered: 1,
        since: now,
        shape: Some(shape),
        awaited: BTreeSet::new(),
        secrets: fresh_secrets(),
    };
    let master = Master::from(rand::random::<[u8; 32]>());
    Change { based_on: 0, nodes_as_of: None, writes: vec![Write::Master(master), Write::Cid(cid)] }
}

/// Announces a configuration with fresh keys under the next rotation that is free, at `now`, in seconds since 1970. It names
/// the nodes that are there, those among them that may live without a lease.
///
/// # Errors
/// If one is on its way already, or all seven rotations are in use.
pub fn announce(state: &ClusterState, shape: CidShape, now: u64, unleased: &Unleased) -> Result<Change, RotationError> {
    let issuing = state.issuing().ok_or(RotationError::NotMade)?;
    if let Some(cid) = with(state, CidState::Announced).next() {
        return Err(RotationError::OnItsWay(cid.rotation));
    }
    let mut free = issuing.rotation.onwards().filter(|rotation| !state.cid.contains_key(rotation));
    let rotation = free.next().filter(|rotation| rotation.get() < ROTATIONS).ok_or(RotationError::AllInUse)?;
    let revision = state.revision + 1;
    let cid = CidConfiguration {
        rotation,
        state: CidState::Announced,
        announced: revision,
        entered: revision,
        since: now,
        shape: Some(shape),
        awaited: there(state, unleased),
        secrets: fresh_secrets(),
    };
    Ok(Change { based_on: state.revision, nodes_as_of: None, writes: vec![Write::Cid(cid)] })
}

/// What comes next at `now`, in seconds since 1970. A configuration is gone when it has been retiring for `retire_after`
/// seconds: the longest lifetime of a connection ID and the longest drain. `unleased` is what this node knows
/// of those without a lease.
pub fn next(view: &View, now: u64, retire_after: u64, unleased: &Unleased) -> Next {
    if !view.freshness.is_live() {
        return Next::Away;
    }
    let state = &*view.state;
    if let Some(announced) = with(state, CidState::Announced).next() {
        return issue(view, announced, now, unleased);
    }
    match with(state, CidState::Retiring).min_by_key(|cid| cid.since) {
        Some(retiring) => match retiring.since.saturating_add(retire_after) {
            time if now < time => Next::Until { rotation: retiring.rotation, time },
            _ => remove(view, retiring, unleased),
        },
        None => Next::Settled,
    }
}

fn issue(view: &View, announced: &CidConfiguration, now: u64, unleased: &Unleased) -> Next {
    let state = &*view.state;
    let there = there(state, unleased);
    // Only an agent that has seen their records knows of those who have lost their leases.
    if there.iter().any(|number| presence(state, *number) == Presence::LeaseGone && !announced.awaited.contains(number))
    {
        let awaited = announced.awaited.union(&there).copied().collect();
        let write = Write::Cid(CidConfiguration { awaited, ..announced.clone() });
        return Next::Change(Change { based_on: state.revision, nodes_as_of: None, writes: vec![write] });
    }
    let nodes = lacking(state, announced, announced.announced, unleased);
    if !nodes.is_empty() {
        return Next::Waiting { rotation: announced.rotation, nodes };
    }
    let moved = |cid: &CidConfiguration, state, awaited| {
        Write::Cid(CidConfiguration { state, since: now, awaited, ..cid.clone() })
    };
    let mut writes = vec![moved(announced, CidState::Issuing, BTreeSet::new())];
    let before = with(state, CidState::Issuing);
    writes.extend(before.map(|before| moved(before, CidState::Retiring, there.clone())));
    Next::Change(Change { based_on: state.revision, nodes_as_of: Some(view.version), writes })
}

/// Removes a configuration whose time is over, once every live node has heard that it is not issued: one that has not may
/// still issue by it.
fn remove(view: &View, retiring: &CidConfiguration, unleased: &Unleased) -> Next {
    let rotation = retiring.rotation;
    let nodes = lacking(&view.state, retiring, retiring.entered, unleased);
    if !nodes.is_empty() {
        return Next::Waiting { rotation, nodes };
    }
    let writes = vec![Write::RemoveCid(rotation)];
    Next::Change(Change { based_on: view.state.revision, nodes_as_of: Some(view.version), writes })
}

/// The nodes that `cid` waits for and that have not acked `revision`, each with the highest one that it is known to ack.
fn lacking(state: &ClusterState, cid: &CidConfiguration, revision: u64, unleased: &Unleased) -> Vec<(NodeNumber, u64)> {
    let numbers: BTreeSet<_> = state.nodes.keys().chain(&cid.awaited).copied().collect();
    let acks = numbers.into_iter().filter_map(|number| {
        let acks = match presence(state, number) {
            Presence::Present => state.node(number)?.record.as_ref()?.run.as_ref()?.acks,
            Presence::LeaseGone => match unleased.get(&number) {
                Some(WithoutLease::MayLive { acks }) => *acks,
                Some(WithoutLease::Gone) => return None,
                // Somebody knew of it, and nobody has said since that it is gone.
                None => cid.awaited.contains(&number).then_some(0)?,
            },
            Presence::Forgotten => return None,
        };
        Some((number, acks))
    });
    acks.filter(|(_, acks)| *acks < revision).collect()
}

/// The nodes that are there: under a lease, or as far as this node knows.
fn there(state: &ClusterState, unleased: &Unleased) -> BTreeSet<NodeNumber> {
    let is_there = |number: &NodeNumber| match presence(state, *number) {
        Presence::Present => true,
        Presence::LeaseGone => matches!(unleased.get(number), Some(WithoutLease::MayLive { .. })),
        Presence::Forgotten => false,
    };
    state.nodes.keys().copied().filter(is_there).collect()
}

fn presence(state: &ClusterState, number: NodeNumber) -> Presence {
    state.node(number).map_or(Presence::LeaseGone, Member::presence)
}

fn with(state: &ClusterState, wanted: CidState) -> impl Iterator<Item = &CidConfiguration> {
    state.cid.values().filter(move |cid| cid.state == wanted)
}

fn fresh_secrets() -> CidSecrets {
    let mut octets = zeroize::Zeroizing::new([0; 36]);
    rand::fill(&mut *octets);
    CidSecrets::from(*octets)
}

#[cfg(test)]
mod tests;
