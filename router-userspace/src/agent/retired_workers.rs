//! What workers counted that have ended: sums over all workers go on from there.

use router_common::{connection_id::ROTATIONS, identifiers::ConfigRotation};

use super::api::Totals;
use crate::worker::Worker;

/// The sums of workers that are gone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Departed {
    totals: Totals,
    by_rotation: [u64; ROTATIONS as usize],
}

impl Departed {
    /// Takes over what `worker` has counted. It has nothing open any more.
    pub(super) fn add(&mut self, worker: &Worker) {
        self.totals = self.totals.plus(worker.stats().totals().of_ended());
        for (rotation, sum) in ConfigRotation::new(0).onwards().zip(&mut self.by_rotation) {
            *sum += worker.stats().of_rotation(rotation);
        }
    }

    /// All sums.
    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    /// Datagrams that the configurations of `rotation` decoded.
    pub(super) fn of_rotation(&self, rotation: ConfigRotation) -> u64 {
        self.by_rotation.get(usize::from(rotation)).copied().unwrap_or(0)
    }
}
