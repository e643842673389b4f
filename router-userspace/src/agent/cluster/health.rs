//! What other nodes count as.

use std::time::Duration;

use router_cluster::{
    health::{Judgement, NodeHealth, Reason},
    membership::{Member, NodeState, Presence},
};

/// By the engine's record alone.
pub(super) fn by_record(member: Option<&Member>) -> Judgement {
    let state = match member.map(|member| (member.presence(), member.state())) {
        Some((Presence::Forgotten, _)) => NodeHealth::Gone,
        Some((_, Some(NodeState::Up))) => NodeHealth::Up,
        Some((_, Some(NodeState::Draining))) => NodeHealth::Draining,
        Some((_, None)) | None => NodeHealth::Unreachable,
    };
    let reason = match state {
        NodeHealth::Gone => Reason::Forgotten,
        _ => Reason::NotHeardYet { since: Duration::ZERO, left: Duration::ZERO },
    };
    let is_up = state == NodeHealth::Up;
    Judgement { state, forwards: state != NodeHealth::Gone, takes_new_connections: is_up, reason }
}
