//! A started agent: the components that it is made of, and nothing else.
//!
//! Each component owns its state and is told what it needs. What takes several of them has a file of its own:
//!
//! ```text
//! start, reload, respawn ─► plan ─► prepare ─┐
//! drain, takeover, maintenance ──────────────┼─► node ─► steering, roster, serving, interfaces, queues, keys, ...
//! observe ─► control, metrics ───────────────┘
//! ```

use std::{sync::Arc, time::Instant};

use router_common::identifiers::GenerationId;

use super::{
    blocks::Blocks,
    cluster::Cluster,
    connection_ids::CidRotation,
    interfaces::Interfaces,
    local_addresses::LocalAddresses,
    observability::Observability,
    options::ConfigSource,
    queues::Queues,
    roster::Roster,
    secrets::Secrets,
    service_manager::ServiceManager,
    serving::Serving,
    state_dir::State,
    steering::{SlotContext, Steering},
    takeover::{Generations, Phase},
};
use crate::{
    telemetry::Log,
    worker::{Admission, TunnelIntake},
};

/// Everything that runs. Dropping it detaches the datapath.
pub(super) struct Node {
    /// One run of the agent; grows with every start on the same state folder.
    pub(super) generation: GenerationId,
    pub(super) started: Instant,
    pub(super) source: ConfigSource,
    pub(super) log: Log,
    pub(super) secrets: Arc<Secrets>,
    /// The limits of new connections, which all workers share.
    pub(super) admission: Arc<Admission>,
    pub(super) steering: Steering,
    pub(super) blocks: Blocks,
    /// None: no other node has the same addresses.
    pub(super) cluster: Option<Cluster>,
    /// Where what comes by the tunnel goes.
    pub(super) tunnel_intake: TunnelIntake,
    pub(super) roster: Roster,
    pub(super) serving: Serving,
    pub(super) interfaces: Interfaces,
    pub(super) local_addresses: LocalAddresses,
    pub(super) queues: Queues,
    pub(super) keys: CidRotation,
    pub(super) generations: Generations,
    pub(super) service_manager: ServiceManager,
    pub(super) observability: Observability,
    /// Why the engine uses no BPF, if it does not.
    pub(super) why_userspace: Option<String>,
    /// Held so that no other agent uses the folder.
    pub(super) _state: State,
}

impl Node {
    /// What else decides how slots are written.
    pub(super) fn slot_context(&self) -> SlotContext {
        SlotContext { config: self.serving.config(), others: self.generations.places() }
    }

    /// Whether this generation serves, has what is pinned for its own, and is not about to stop.
    pub(super) fn is_in_charge(&self) -> bool {
        !self.roster.is_stopping() && self.generations.phase() == Phase::InCharge
    }

    /// What runs, in one line.
    pub(super) fn one_line_status(&self) -> String {
        format!("generation {}, {} workers", self.generation, self.roster.len())
    }
}
