//! The workers, and what they count.

use serde::{Deserialize, Serialize};

use super::WorkerState;
pub use crate::worker::Totals;

/// Answer to `GET /v1/workers`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workers {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// By slot.
    pub workers: Vec<Worker>,
}

/// One worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    /// Its slot, as it stands in the CIDs it issues.
    pub slot: u8,
    /// The CPU it is pinned to.
    pub cpu: u32,
    /// What it does.
    pub state: WorkerState,
    /// Seconds until what is left of its connections is closed, while it drains.
    #[serde(default)]
    pub seconds_left: Option<u64>,
    /// Bytes of receive buffer that the kernel granted each of its sockets.
    pub receive_buffer: u64,
    /// Its sums and gauges.
    pub totals: Totals,
}
