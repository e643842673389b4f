//! What the agent that runs says.

use crate::agent::api::{Cluster, Status};

/// The answers of an agent that runs here.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Its status.
    pub(crate) status: Status,
    /// The cluster as it sees it; none where it is in no cluster, or was not asked.
    pub(crate) cluster: Option<Cluster>,
}
