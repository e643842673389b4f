//! What a node counts as.

use std::fmt;

use router_common::maps::NodeState;

use super::reason::Reason;

/// What a node counts as. The decision's [`NodeState`] follows, word by word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NodeHealth {
    /// It serves.
    Up,
    /// It keeps its connections, and new ones go to others.
    Draining,
    /// It has not been heard for a while, or was gone and is heard again. Packets of its connections are forwarded all the
    /// same; new ones go to others.
    Silent,
    /// It has not been heard for `dead_after`. Packets of its connections are dropped, as they would be lost. It may be
    /// alive, so nobody answers them.
    Unreachable,
    /// It is dead, by two witnesses or an operator's word. The others answer packets of its connections with stateless
    /// resets (RFC 9000 section 10.3).
    Gone,
}

impl From<NodeHealth> for NodeState {
    fn from(health: NodeHealth) -> Self {
        match health {
            NodeHealth::Up => Self::Up,
            NodeHealth::Draining => Self::Draining,
            NodeHealth::Silent => Self::Silent,
            NodeHealth::Unreachable => Self::Unreachable,
            NodeHealth::Gone => Self::Gone,
        }
    }
}

impl fmt::Display for NodeHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(NodeState::from(*self).name())
    }
}

/// What a node counts as, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What it counts as.
    pub state: NodeHealth,
    /// Whether it may be given new connections.
    pub takes_new_connections: bool,
    /// Why.
    pub reason: Reason,
}
