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
//! by a second witness, or until an operator says `forget`.
//!
//! So every node decodes a connection ID before any issues it (QUIC-LB, configuration agents).

use std::collections::BTreeMap;

use router_common::{connection_id::ROTATIONS, identifiers::ConfigRotation};

use super::{
    change::{Change, Write},
    cid::{CidConfiguration, CidShape, CidState},
    keys::{CidSecrets, Master},
    node::NodeNumber,
    state::{ClusterState, Presence, View},
};

/// By node, the highest revision that it acks.
pub type Acks = BTreeMap<NodeNumber, u64>;

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
        secrets: fresh_secrets(),
    };
    let master = Master::from(rand::random::<[u8; 32]>());
    Change { based_on: 0, nodes_as_of: None, writes: vec![Write::Master(master), Write::Cid(cid)] }
}

/// Announces a configuration with fresh keys under the next rotation that is free.
///
/// # Errors
/// If one is on its way already, or all seven rotations are in use.
pub fn announce(state: &ClusterState, shape: CidShape, now: u64) -> Result<Change, RotationError> {
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
        secrets: fresh_secrets(),
    };
    Ok(Change { based_on: state.revision, nodes_as_of: None, writes: vec![Write::Cid(cid)] })
}

/// What comes next at `now`, in seconds since 1970. A configuration is gone when it has been retiring for `retire_after`
/// seconds: the longest lifetime of a connection ID and the longest drain. `unleased` are nodes that may live without a
/// lease, each with the highest revision that it acked while it had one.
pub fn next(view: &View, now: u64, retire_after: u64, unleased: &Acks) -> Next {
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

fn issue(view: &View, announced: &CidConfiguration, now: u64, unleased: &Acks) -> Next {
    let nodes = lacking(&view.state, announced.announced, unleased);
    if !nodes.is_empty() {
        return Next::Waiting { rotation: announced.rotation, nodes };
    }
    let moved = |cid: &CidConfiguration, state| Write::Cid(CidConfiguration { state, since: now, ..cid.clone() });
    let mut writes = vec![moved(announced, CidState::Issuing)];
    writes.extend(with(&view.state, CidState::Issuing).map(|before| moved(before, CidState::Retiring)));
    Next::Change(Change { based_on: view.state.revision, nodes_as_of: Some(view.version), writes })
}

/// Removes a configuration whose time is over, once every live node has heard that it is not issued: one that has not may
/// still issue by it.
fn remove(view: &View, retiring: &CidConfiguration, unleased: &Acks) -> Next {
    let rotation = retiring.rotation;
    let nodes = lacking(&view.state, retiring.entered, unleased);
    if !nodes.is_empty() {
        return Next::Waiting { rotation, nodes };
    }
    let writes = vec![Write::RemoveCid(rotation)];
    Next::Change(Change { based_on: view.state.revision, nodes_as_of: Some(view.version), writes })
}

/// The live nodes that have not acked `revision`, each with the highest one that it acks.
fn lacking(state: &ClusterState, revision: u64, unleased: &Acks) -> Vec<(NodeNumber, u64)> {
    let acks = state.nodes.iter().filter_map(|(&number, member)| {
        let acks = match member.presence() {
            Presence::Present => member.record.as_ref()?.run.as_ref()?.acks,
            Presence::LeaseGone => *unleased.get(&number)?,
            Presence::Forgotten => return None,
        };
        Some((number, acks))
    });
    acks.filter(|(_, acks)| *acks < revision).collect()
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
