//! What the agent says on its control socket: JSON bodies over HTTP/1.1 on a Unix socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/workers` | [`Workers`] |
//! | `POST /v1/workers/SLOT/drain`, `POST /v1/workers/SLOT/undrain` | [`Workers`] after the change |
//! | `POST /v1/reload` | [`Reloaded`] |
//! | `POST /v1/upgrade` with [`UpgradeRequest`] | [`Upgraded`] |
//! | `GET /v1/flows?slot=N&peer=IP&limit=N` | [`Flows`] |
//! | `GET /v1/flows/CID` | [`Flows`] with one entry, or 404 |
//! | `GET /v1/counters` | [`Counters`] |
//! | `GET /v1/cluster` | [`Cluster`], or 404 |
//! | `POST /v1/cluster/nodes/NUMBER/ORDER` | the same, after the order ([`NodeOrder`]) |
//! | `GET /v1/admission` | [`Admission`] |
//! | `GET /v1/admission/top?limit=N` | [`AdmissionTop`] |
//! | `GET /v1/blocks` | [`Blocks`] |
//! | `POST /v1/blocks` with [`BlockRequest`] | [`BlockAdded`] |
//! | `POST /v1/blocks/remove` with [`UnblockRequest`] | [`Blocks`] after the change |
//! | `POST /v1/blocks/close` with [`BlockedPrefix`] (between generations) | [`BlockAdded`] |
//! | `GET /v1/log` | [`Log`] |
//! | `PUT /v1/log` with [`LogRequest`] | [`Log`] after the change |
//! | `POST /v1/explain` with [`ExplainRequest`] | [`Explanation`] |
//! | `GET /v1/connection-id/CID` | [`DecodedCid`] |
//! | `POST /v1/connection-id?slot=N` | [`DecodedCid`] of a fresh one |
//! | `GET /v1/connection-id-configurations` | [`CidConfigurations`] |
//! | `POST /v1/connection-id-configurations` | the same, after a new one was brought in |
//!
//! Generations of one node also speak to each other there: `GET /v1/takeover`, `POST /v1/generations`.
//!
//! Anything that fails answers with a status of 400 or above and a [`Failure`]. Fields are
//! added, never renamed or removed, while [`SCHEMA`] stays.

mod admission;
mod blocks;
mod changes;
mod cluster;
mod explanation;
mod status;
mod traffic;
mod words;
mod workers;

use serde::{Deserialize, Serialize};

pub use self::{
    admission::{Admission, AdmissionLimit, AdmissionTop, BlockTotal, MapMemory, SourceLimit, TopSource},
    blocks::{Block, BlockAdded, BlockRequest, BlockedPrefix, Blocks, UnblockRequest},
    changes::{CidConfiguration, CidConfigurations, Log, LogRequest, Reloaded, UpgradeRequest, Upgraded},
    cluster::{Announced, Cluster, ClusterNode},
    explanation::{DecodedCid, ExplainRequest, Explanation, Step},
    status::{Certificate, FlowTable, Generation, Interface, Listener, Memory, Queue, Status, UpstreamServer},
    traffic::{Counters, Flow, Flows, SlotCounters, Stage},
    words::{
        BlockAction, CertificateSource, Challenge, CidState, FlowOrigin, GenerationState, Health, ListenerState,
        NodeOrder, NodeState, QueueMode, RunningEngine, WorkerState, XdpMode,
    },
    workers::{Totals, Worker, Workers},
};

/// Version of every answer's shape.
pub const SCHEMA: u32 = 1;

/// Why a request was not carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence naming the culprit.
    pub error: String,
    /// What to do about it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
