//! Workers that have ended: their slots are given back; one that crashed is replaced.
//!
//! A worker that crashes takes its own connections with it and no others. Its slot is free at
//! once, so that what is still sent to it is answered by a stateless reset (another worker may answer
//! for a free slot), and its successor gets another slot, so that it knows nothing of them.

use std::rc::Rc;

use super::{
    drain,
    error::AgentError,
    node::Node,
    place::Place,
    plan::{self, Present},
    prepare::Prepared,
    present::{desired, known_sockets, present},
    sockets,
};

/// Gives back the slots of workers that have ended, and replaces those that were not told to.
pub(super) fn reconcile_workers(node: &Rc<Node>) {
    if node.roster.is_stopping() {
        return;
    }
    for worker in node.roster.take_ended() {
        let slot = worker.slot();
        if worker.is_stopping() {
            tracing::info!("worker {slot} has ended");
        } else {
            tracing::error!("worker {slot} has died, and its connections with it");
            node.roster.crashed.add(Place { slot, cpu: worker.cpu() });
        }
        // Out of the assignment as well: a free slot has no worker.
        if let Err(e) = drain::free_slot(node, slot).and_then(|()| drain::assign(node)) {
            tracing::error!("slot {slot}: {e}");
        }
    }
    let Some(crashed) = node.roster.crashed.due() else { return };
    match replace(node, crashed) {
        Ok(successors) => {
            for successor in successors {
                tracing::info!("worker {} has taken the place of worker {}", successor.slot, crashed.slot);
            }
            node.roster.crashed.replaced();
        }
        Err(e) => {
            tracing::error!("worker {} cannot be replaced yet: {e}", crashed.slot);
            node.roster.crashed.failed(e.to_string());
        }
    }
}

/// Starts as many workers as are missing.
fn replace(node: &Rc<Node>, crashed: Place) -> Result<Vec<Place>, AgentError> {
    let next = node.serving.same();
    let steps = plan::plan(&desired(node, &next.config), &Present { crashed: Some(crashed), ..present(node)? })?;
    let sockets = sockets::open(&steps, &known_sockets(node))?;
    let successors = steps.starting.clone();
    let refused = Prepared::new(node, next, steps, sockets)?.commit();
    refused.iter().for_each(|e| tracing::error!("replacing worker {}: {e}", crashed.slot));
    Ok(successors)
}

/// Has a worker panic: a fault that nothing else causes on purpose.
#[cfg(debug_assertions)]
pub(super) fn make_panic(node: &Node, slot: router_common::identifiers::SlotId) {
    node.roster.of_slot(slot, crate::worker::Worker::make_panic);
}
