//! Slots that stop or begin again to get new connections, and the sentences by which that is refused.

use std::time::Duration;

use router_common::{identifiers::SlotId, maps::SlotState};

use super::{
    error::{AgentError, ErrorKind, RoomError},
    node::Node,
    place::Place,
    rescan,
};
use crate::worker::Worker;

/// Takes a slot out of the assignment, has its connections asked to end, and closed after
/// `grace`; or, without that, takes the slot back in.
///
/// # Errors
/// If there is no such worker, if it is about to end, or if it is the last active one.
pub(super) fn set_draining(node: &Node, slot: SlotId, grace: Option<Duration>) -> Result<(), AgentError> {
    node.generations.require_charge()?;
    match node.roster.of_slot(slot, Worker::is_stopping) {
        None => return Err(SlotError::NoWorker(slot).into()),
        Some(true) => return Err(SlotError::Ending(slot).into()),
        Some(false) => {}
    }
    if grace.is_some() && active_slots(node).iter().all(|&other| other == slot) {
        return Err(SlotError::LastActive(slot).into());
    }
    let state = if grace.is_some() { SlotState::Draining } else { SlotState::Active };
    node.steering.set_state([slot], state, &node.slot_context())?;
    assign(node)?;
    rescan::reconcile_queues(node);
    // Only now: a client that was asked to go and comes back goes elsewhere.
    node.roster.of_slot(slot, |worker| match grace {
        Some(grace) => worker.drain(grace),
        None => worker.undrain(),
    });
    Ok(())
}

/// Tells the workers of these slots to end: no new connections, and `grace` for those there are.
pub(super) fn send_away(node: &Node, leaving: &[Place], grace: Duration) -> Result<(), AgentError> {
    let slots = leaving.iter().map(|place| place.slot);
    let written = node.steering.set_state(slots.clone(), SlotState::Draining, &node.slot_context());
    let written = written.and_then(|()| assign(node));
    rescan::reconcile_queues(node);
    slots.for_each(|slot| {
        node.roster.of_slot(slot, |worker| worker.leave(grace));
    });
    written
}

/// Gives a slot back whose worker has ended.
pub(super) fn free_slot(node: &Node, slot: SlotId) -> Result<(), AgentError> {
    node.serving.forget_sockets_of_slot(slot);
    node.steering.free(slot, &node.slot_context())
}

/// Spreads new connections over the active slots.
pub(super) fn assign(node: &Node) -> Result<(), AgentError> {
    node.steering.assign(&active_slots(node))
}

fn active_slots(node: &Node) -> Vec<SlotId> {
    let active = |&slot: &SlotId| node.steering.tables().slot_state(slot) == SlotState::Active;
    node.roster.read(|workers| workers.iter().map(Worker::slot).filter(active).collect())
}

/// Why a slot is neither drained nor taken back in.
#[derive(Debug, thiserror::Error)]
enum SlotError {
    /// There is no such worker.
    #[error("slot {0}: no worker is there")]
    NoWorker(SlotId),
    /// It was told to end.
    #[error("slot {0}: its worker is about to end")]
    Ending(SlotId),
    /// Nothing would get new connections.
    #[error("slot {0}: it is the last active one")]
    LastActive(SlotId),
}

impl RoomError for SlotError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoWorker(_) => Some("quic-router workers list".to_owned()),
            Self::LastActive(_) => Some("undrain another first".to_owned()),
            Self::Ending(_) => None,
        }
    }
}
