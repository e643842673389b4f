//! The configurations of connection IDs (QUIC-LB) that all nodes of a cluster decode.

use std::collections::BTreeSet;

use router_common::identifiers::ConfigRotation;
use serde::{Deserialize, Serialize};

use super::{keys::CidSecrets, node::NodeNumber};

/// One configuration of connection IDs, the same on all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidConfiguration {
    /// The top three bits of its connection IDs, 0 to 6.
    pub rotation: ConfigRotation,
    /// How far it is in its life.
    pub state: CidState,
    /// The [`revision`](super::ClusterState::revision) that announced it. Once every live node acks that, all decode it.
    pub announced: u64,
    /// The revision with which it came into its state.
    pub entered: u64,
    /// When it came into its state, in seconds since 1970; 0 where nobody has noted it.
    pub since: u64,
    /// What its connection IDs look like; none where each node's own configuration says so.
    pub shape: Option<CidShape>,
    /// The nodes that were there when it came into its state, by their leases or by what was heard of them. Its next state
    /// waits for each of these, also where no agent that runs remembers it: until it acks, is gone or is forgotten. Empty
    /// where nothing waits.
    pub awaited: BTreeSet<NodeNumber>,
    /// Its keys.
    pub secrets: CidSecrets,
}

/// The life of a configuration. Every state but the last is decoded by every node; when the last is reached, the
/// configuration is removed and its rotation is free again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CidState {
    /// Nodes decode it, and none issues.
    Announced,
    /// New connection IDs follow it.
    Issuing,
    /// No node issues any more; connections may still have some.
    Retiring,
}

/// What the connection IDs of a configuration look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CidShape {
    /// Octets of a whole connection ID, 8 to 20.
    pub length: u8,
    /// Whether the low five bits of the first octet tell the length of the rest, or are random (QUIC-LB, CID format).
    pub describes_length: bool,
}
