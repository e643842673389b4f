//! The workers, and what they have counted.

use router_common::{identifiers::SlotId, maps::SlotState};

use crate::agent::{
    api::{self, SCHEMA, Totals, WorkerState},
    observe::{Observed, ObservedWorker},
};

/// Each worker.
pub(in crate::agent) fn workers(observed: &Observed) -> api::Workers {
    let receive_buffer = |slot: SlotId| observed.sockets.iter().find(|socket| socket.slot == slot);
    let worker = |worker: &ObservedWorker| api::Worker {
        slot: worker.slot.get(),
        cpu: worker.cpu.get(),
        state: state(worker),
        seconds_left: worker.seconds_left,
        // The kernel reports twice what it was asked for.
        receive_buffer: receive_buffer(worker.slot).map_or(0, |socket| socket.receive_buffer / 2),
        totals: worker.totals,
    };
    api::Workers { schema: SCHEMA, workers: observed.workers.iter().map(worker).collect() }
}

fn state(worker: &ObservedWorker) -> WorkerState {
    match (worker.is_running, worker.slot_state) {
        (false, _) => WorkerState::Ended,
        (true, _) if worker.is_stopping => WorkerState::Leaving,
        (true, SlotState::Draining) => WorkerState::Draining,
        (true, SlotState::Active | SlotState::Free) => WorkerState::Active,
    }
}

/// All workers' totals added up, also of those that have ended.
pub(in crate::agent) fn sum(observed: &Observed) -> Totals {
    observed.workers.iter().fold(observed.departed, |sum, worker| sum.plus(worker.totals))
}
