//! Why a worker is not there, or does not do what it is told.

use std::{io, time::Duration};

use router_common::identifiers::SlotId;

/// Why a worker is not there, or does not do what it is told.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The system gives no thread for it.
    #[error(transparent)]
    NoThread(io::Error),
    /// Its thread cannot be pinned, or has no runtime.
    #[error("worker {slot}: {source}")]
    NotSetUp {
        /// Its slot.
        slot: SlotId,
        /// Why.
        source: io::Error,
    },
    /// A socket cannot be used.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// It ended while it was started.
    #[error("worker {0} ended before it was ready")]
    EndedEarly(SlotId),
    /// It takes too long to start.
    #[error("worker {slot} was not ready within {patience:?}")]
    NotReady {
        /// Its slot.
        slot: SlotId,
        /// How long it had.
        patience: Duration,
    },
    /// It is gone.
    #[error("worker {0} has ended")]
    Ended(SlotId),
    /// It hangs.
    #[error("worker {slot} has not answered within {patience:?}")]
    Silent {
        /// Its slot.
        slot: SlotId,
        /// How long it had.
        patience: Duration,
    },
}
