//! What a node counts as.

use super::reason::Reason;

/// What a node counts as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum NodeHealth {
    /// It serves.
    Up,
    /// It keeps its connections, and new ones go to others.
    Draining,
    /// It is not heard. It may be alive, so nobody answers its connections.
    Unreachable,
    /// It is dead, by two witnesses or an operator's word. The others answer packets of its connections with stateless
    /// resets (RFC 9000 section 10.3).
    Gone,
}

/// What a node counts as, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// What it counts as.
    pub state: NodeHealth,
    /// Whether packets of its connections are forwarded to it: while it is up or draining, and for the first while (up to
    /// `dead_after` without a hello) that it is unreachable.
    pub forwards: bool,
    /// Whether it may be given new connections.
    pub takes_new_connections: bool,
    /// Why.
    pub reason: Reason,
}
