//! The workers, and what they have counted.

use std::time::Instant;

use router_common::maps::SlotState;

use crate::{
    agent::{
        api::{self, SCHEMA, Totals, WorkerState},
        node::Node,
        worker_totals::add,
    },
    worker::{Worker, udp},
};

pub(in crate::agent) fn workers(node: &Node) -> api::Workers {
    let (totals, now) = (totals(node), node.now());
    let worker = |worker: &Worker| api::Worker {
        slot: worker.slot(),
        cpu: worker.cpu(),
        state: match (worker.is_running(), node.steering.tables().slot_state(worker.slot())) {
            (false, _) => WorkerState::Ended,
            (true, _) if worker.is_stopping() => WorkerState::Leaving,
            (true, SlotState::Draining) => WorkerState::Draining,
            (true, SlotState::Active | SlotState::Free) => WorkerState::Active,
        },
        seconds_left: worker.drains_until().map(|end| end.saturating_duration_since(Instant::now()).as_secs()),
        receive_buffer: now.sockets.iter().find(|info| info.slot == worker.slot()).map_or(0, |i| i.receive_buffer / 2),
        totals: totals.iter().find(|(slot, _)| *slot == worker.slot()).map(|(_, totals)| *totals).unwrap_or_default(),
    };
    api::Workers { schema: SCHEMA, workers: node.roster.read(|workers| workers.iter().map(worker).collect()) }
}

/// Each worker's totals, with the drops that the kernel counted for its sockets.
fn totals(node: &Node) -> Vec<(u8, Totals)> {
    let (drops, now) = (udp::drops(), node.now());
    let of = |worker: &Worker| {
        let own = now.sockets.iter().filter(|info| info.slot == worker.slot());
        let socket_drops = own.filter_map(|info| drops.get(&info.inode)).sum();
        (worker.slot(), Totals { socket_drops, ..worker.stats().totals().into() })
    };
    node.roster.read(|workers| workers.iter().map(of).collect())
}

/// All workers', also those that have ended.
pub(in crate::agent) fn sum(node: &Node) -> Totals {
    totals(node).into_iter().fold(node.roster.departed(), |sum, (_, totals)| add(sum, totals))
}
