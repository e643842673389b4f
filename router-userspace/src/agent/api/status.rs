//! The whole agent at a glance.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Announced, CertificateSource, CidConfiguration, GenerationState, Health, ListenerState, QueueMode, RunningEngine,
    Totals, XdpMode,
};

/// The whole agent at a glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// `CARGO_PKG_VERSION` of the agent.
    pub version: String,
    /// Profile, sanitizers, features, as `version --build` prints them.
    pub build: String,
    /// Process ID.
    pub pid: u32,
    /// `[router] node_id`
    pub node_id: u16,
    /// One run of the agent; grows with every start on the same state folder.
    pub generation: u64,
    /// All generations that run, this one first.
    #[serde(default)]
    pub generations: Vec<Generation>,
    /// Seconds since the agent was ready.
    pub uptime_seconds: u64,
    /// Nothing is wrong.
    pub healthy: bool,
    /// What is wrong or worse than was asked for, one sentence each.
    pub problems: Vec<String>,
    /// Each interface and how packets come from it.
    pub interfaces: Vec<Interface>,
    /// Each listener, in the order of the configuration.
    pub listeners: Vec<Listener>,
    /// All workers, added up.
    pub totals: Totals,
    /// The flow table, where the engine has one.
    pub flow_table: Option<FlowTable>,
    /// Whether the addresses that nodes of a cluster share are to be announced; none: `cluster.announce_table` is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// What requests make the node hold; none from an agent that does not say.
    #[serde(default)]
    pub memory: Option<Memory>,
    /// The configurations of connection IDs, the issued one first.
    #[serde(default)]
    pub connection_ids: Vec<CidConfiguration>,
    /// The servers of all upstreams.
    #[serde(default)]
    pub upstreams: Vec<UpstreamServer>,
    /// What the listeners present.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
}

/// What requests make the node hold, of `limits.memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Octets that are held.
    pub held: u64,
    /// Octets that may be.
    pub budget: u64,
    /// Requests that were refused for want of it.
    pub refused: u64,
}

/// One run of the agent on this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generation {
    /// Its number.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// What it does.
    pub state: GenerationState,
    /// Its slots.
    pub slots: Vec<u8>,
    /// Connections open, over QUIC and TCP.
    pub connections: u64,
    /// Seconds since it was started.
    pub age_seconds: u64,
    /// Seconds until what is left of its connections is closed, while it drains.
    pub seconds_left: Option<u64>,
    /// It has no connection left, so it can be stopped without loss. It ends by itself.
    pub may_be_stopped: bool,
}

/// How packets come from one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// `eth0`; `*` where the engine does not go by interface.
    pub name: String,
    /// What runs.
    pub engine: RunningEngine,
    /// Of the XDP program, under `af_xdp` and `xdp`.
    pub mode: Option<XdpMode>,
    /// Why not a better engine or mode.
    pub why: Option<String>,
    /// The kernel's ID of the XDP program.
    pub program_id: Option<u32>,
    /// Its receive queues that workers have, under `af_xdp`.
    #[serde(default)]
    pub queues: Vec<Queue>,
}

/// A receive queue that a worker has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Its number on the interface.
    pub queue: u32,
    /// The slot of its worker.
    pub slot: u8,
    /// How frames come.
    pub mode: QueueMode,
    /// Whether new connections that come in on it go to that worker.
    pub places: bool,
    /// Whether that worker sends by the transmit queue of the same number, too.
    #[serde(default)]
    pub sends: bool,
}

/// One address we answer on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listener {
    /// Its number in the maps `listeners` and `sockets`.
    pub id: u16,
    /// UDP address.
    pub address: SocketAddr,
    /// Where its certificates come from.
    pub certificates: CertificateSource,
    /// Whether it takes new connections.
    #[serde(default = "open")]
    pub state: ListenerState,
}

/// What an agent that does not say so means.
fn open() -> ListenerState {
    ListenerState::Open
}

/// How full the flow table is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct FlowTable {
    /// Entries now.
    pub entries: u64,
    /// Entries at most.
    pub capacity: u64,
    /// Entries that were not written because it was full (those flows go by their CID).
    pub full: u64,
    /// Entries swept because they were not used for long.
    pub swept: u64,
}

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamServer {
    /// The upstream's name.
    pub upstream: String,
    /// As the configuration writes it.
    pub server: String,
    /// How it is.
    pub health: Health,
    /// For how long it has been so, if it is up or down; for how long it will be, otherwise.
    pub seconds: u64,
    /// The last failure, in words.
    pub why: Option<String>,
    /// Where it is; empty before its name is resolved, and for a Unix socket.
    pub addresses: Vec<SocketAddr>,
    /// Why its name cannot be resolved now.
    pub unresolved: Option<String>,
    /// Requests and streams on it.
    pub in_flight: u64,
    /// Requests and streams that wait for a server of the upstream.
    pub queued: u64,
    /// Open connections.
    pub connections: u64,
    /// Requests and streams that it was given; attempts count.
    pub requests_total: u64,
    /// Those that it failed.
    pub failures_total: u64,
    /// Its share beside the others'.
    pub weight: u16,
}

/// A certificate that a listener presents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The listener's address.
    pub listener: SocketAddr,
    /// The chain's file; none: it was made in memory.
    pub file: Option<PathBuf>,
    /// The names it is for.
    pub names: Vec<String>,
    /// Until when, in seconds since 1970; none if it cannot be read.
    pub not_after: Option<i64>,
}
