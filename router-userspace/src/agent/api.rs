//! What the agent says on its control socket: JSON bodies over HTTP/1.1 on a Unix socket.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/workers` | [`Workers`] |
//! | `POST /v1/workers/SLOT/drain`, `POST /v1/workers/SLOT/undrain` | [`Workers`] after the change |
//! | `POST /v1/reload` | [`Reloaded`] |
//! | `GET /v1/flows?slot=N&peer=IP&limit=N` | [`Flows`] |
//! | `GET /v1/flows/CID` | [`Flows`] with one entry, or 404 |
//! | `GET /v1/counters` | [`Counters`] |
//! | `GET /v1/log` | [`Log`] |
//! | `PUT /v1/log` with [`LogRequest`] | [`Log`] after the change |
//! | `POST /v1/explain` with [`ExplainRequest`] | [`Explanation`] |
//! | `GET /v1/connection-id/CID` | [`DecodedCid`] |
//! | `POST /v1/connection-id?slot=N` | [`DecodedCid`] of a fresh one |
//! | `GET /v1/connection-id-configurations` | [`CidConfigurations`] |
//! | `POST /v1/connection-id-configurations` | the same, after a new one was brought in |
//!
//! Anything that fails answers with a status of 400 or above and a [`Failure`]. Fields are
//! added, never renamed or removed, while [`SCHEMA`] stays.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

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

/// The whole agent at a glance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`]
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

/// One run of the agent on this node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Generation {
    /// Its number.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// `serving`; `handing over`: it serves while the next one gets ready; `preparing`; or
    /// `draining`: the next one has taken over
    pub state: String,
    /// Its slots.
    pub slots: Vec<u8>,
    /// Connections open, over QUIC and TCP.
    pub connections: u64,
    /// Seconds since it was started.
    pub age_seconds: u64,
    /// Seconds until what is left of its connections is closed, while it drains.
    pub seconds_left: Option<u64>,
    /// Nobody would notice if it were stopped. It ends by itself.
    pub may_be_stopped: bool,
}

/// Body of `POST /v1/upgrade`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UpgradeRequest {
    /// The program of the new generation; the file that the running one was started from, if none.
    #[serde(default)]
    pub binary: Option<PathBuf>,
    /// How long it may take until it has taken over, in milliseconds; a minute, if none.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// Answer to `POST /v1/upgrade`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upgraded {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The generation that serves now.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
}

/// How packets come from one interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// `eth0`; `*` where the engine does not go by interface.
    pub name: String,
    /// What runs: `af_xdp`, `xdp`, `reuseport` or `userspace`.
    pub engine: String,
    /// `native` or `generic` under `af_xdp` and `xdp`.
    pub mode: Option<String>,
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
    /// `zero-copy` or `copy`
    pub mode: String,
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
    /// `files` or `self-signed`
    pub certificates: String,
    /// `open`, or `closing`: no longer configured, its connections have some time left.
    #[serde(default)]
    pub state: String,
}

/// Sums over workers since the agent started, and gauges (named `_now`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Connections open, handshakes included.
    pub connections_now: u64,
    /// Handshakes not yet complete.
    pub handshakes_now: u64,
    /// TCP connections open, TLS handshakes included.
    #[serde(default)]
    pub tcp_connections_now: u64,
    /// TCP connections taken in.
    #[serde(default)]
    pub tcp_accepted: u64,
    /// Connections that came up.
    pub accepted: u64,
    /// Handshakes that failed.
    pub handshakes_failed: u64,
    /// Refused: `max_connections`.
    pub refused_connections: u64,
    /// Refused: `max_connections_per_ip`.
    pub refused_per_ip: u64,
    /// Refused: `max_handshakes`.
    pub refused_handshakes: u64,
    /// Clients sent a Retry to prove their address.
    pub retried: u64,
    /// UDP datagrams received by the sockets.
    pub datagrams_received: u64,
    /// Datagrams that were this worker's own.
    pub datagrams_own: u64,
    /// Datagrams that were provably bad.
    pub datagrams_dropped: u64,
    /// Datagrams of another worker's connection, handed to it.
    pub handed_over: u64,
    /// Datagrams taken from other workers (not in `datagrams_received`).
    pub taken_over: u64,
    /// Datagrams that could not be handed over: the owner's inbox was full.
    pub hand_over_dropped: u64,
    /// Datagrams the kernel dropped because a receive buffer was full.
    pub socket_drops: u64,
    /// Bytes in those datagrams that were received.
    pub bytes_received: u64,
    /// Frames that AF_XDP sockets received: the fast path. What else is in `datagrams_received` came
    /// by the UDP sockets.
    #[serde(default)]
    pub frames_received: u64,
    /// Frames that were given to a listener (they are in `datagrams_received`).
    #[serde(default)]
    pub frames_delivered: u64,
    /// Frames dropped because their IPv4 header's checksum was wrong.
    #[serde(default)]
    pub frames_ip_checksum: u64,
    /// Frames dropped because their UDP checksum was wrong.
    #[serde(default)]
    pub frames_udp_checksum: u64,
    /// Frames dropped because no datagram was to be read in them.
    #[serde(default)]
    pub frames_unreadable: u64,
    /// Frames dropped because their listener had gone.
    #[serde(default)]
    pub frames_without_listener: u64,
    /// Frames dropped because their listener was busy for too long.
    #[serde(default)]
    pub frames_not_held: u64,
    /// Frames that the kernel dropped because an AF_XDP socket had no room.
    #[serde(default)]
    pub ring_drops: u64,
    /// UDP datagrams sent.
    #[serde(default)]
    pub datagrams_sent: u64,
    /// Of those, sent as frames by AF_XDP sockets; the others by the UDP sockets.
    #[serde(default)]
    pub frames_sent: u64,
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

/// Answer to `GET /v1/workers`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workers {
    /// [`SCHEMA`]
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
    /// `active`; `draining`: it gets no new connections; `leaving`: it drains, and then it ends;
    /// or `ended`
    pub state: String,
    /// Seconds until what is left of its connections is closed, while it drains.
    #[serde(default)]
    pub seconds_left: Option<u64>,
    /// Bytes of receive buffer that the kernel granted each of its sockets.
    pub receive_buffer: u64,
    /// Its sums and gauges.
    pub totals: Totals,
}

/// Answer to `POST /v1/reload`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// [`SCHEMA`]
    pub schema: u32,
    /// What has changed, one sentence each; none if nothing has.
    pub changes: Vec<String>,
}

/// Answer to `GET /v1/flows`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flows {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Entries in the table, whether they match or not.
    pub entries: u64,
    /// Those that match, at most `limit` (1,000 unless told).
    pub flows: Vec<Flow>,
}

/// One entry of the flow table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flow {
    /// Connection ID, hex.
    pub cid: String,
    /// The slot its packets go to.
    pub slot: u8,
    /// `issued` by the agent, or `chosen` by the client for its first flight.
    pub origin: String,
    /// Packets seen by the kernel.
    pub packets: u64,
    /// Bytes of UDP payload in them.
    pub bytes: u64,
    /// Where the last packet came from; none before the first.
    pub peer: Option<SocketAddr>,
    /// How often that changed.
    pub peer_changes: u32,
    /// Milliseconds since the entry was written.
    pub age_ms: u64,
    /// Milliseconds since the last packet; none before the first.
    pub idle_ms: Option<u64>,
}

/// Answer to `GET /v1/counters`: every packet's fate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counters {
    /// [`SCHEMA`]
    pub schema: u32,
    /// In the order a packet meets them: `xdp`, `select`, `worker`; those the engine has.
    pub stages: Vec<Stage>,
    /// By slot: what XDP and `select` gave each.
    pub slots: Vec<SlotCounters>,
}

/// One stage's sum: `received` = all of `passed` + `dropped` + `delivered`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// `xdp`, `select` or `worker`
    pub name: String,
    /// Packets that entered.
    pub received: u64,
    /// By reason: not ours, left to the kernel.
    pub passed: BTreeMap<String, u64>,
    /// By reason: provably bad.
    pub dropped: BTreeMap<String, u64>,
    /// By reason: given to a slot.
    pub delivered: BTreeMap<String, u64>,
    /// Whether the sum closes. While traffic flows a snapshot may be a few packets off.
    pub closes: bool,
}

/// What the kernel stages gave one slot.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SlotCounters {
    /// The slot.
    pub slot: u8,
    /// XDP: already on the slot's CPU, passed on.
    pub xdp_local: u64,
    /// XDP: on another CPU, and passed on there (`router.cpu_map`).
    pub xdp_stayed: u64,
    /// XDP: sent to the slot's CPU through the CPU map.
    pub xdp_redirected: u64,
    /// XDP: the CPU map had no entry for the slot's CPU.
    pub xdp_unredirected: u64,
    /// `select`: given to the slot's socket.
    pub selected: u64,
    /// `select`: the slot had no socket for the listener; the kernel chose one.
    pub unselected: u64,
    /// XDP: given to the slot's AF_XDP socket.
    #[serde(default)]
    pub xdp_socket: u64,
}

/// Answer to `GET /v1/log`: what is logged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Log {
    /// [`SCHEMA`]
    pub schema: u32,
    /// A level, or one for each module, as in `[router] log`.
    pub filter: String,
}

/// Body of `PUT /v1/log`. It holds until the next reload, or the end of the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogRequest {
    /// As in [`Log`].
    pub filter: String,
}

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamServer {
    /// The upstream's name.
    pub upstream: String,
    /// As the configuration writes it.
    pub server: String,
    /// `up`; `warming`: it came back and its share grows; `ejected`: it failed requests and is left
    /// alone for a while; or `down`: health checks say so
    pub health: String,
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

/// Body of `POST /v1/explain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// A whole Ethernet frame, hex.
    pub frame: String,
}

/// What would happen to a packet, step by step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// [`SCHEMA`]
    pub schema: u32,
    /// In order.
    pub steps: Vec<Step>,
    /// `pass`, `drop`, or `deliver to slot N`
    pub verdict: String,
    /// The counter that would move.
    pub reason: String,
}

/// One step of the decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// `parse`, `classify`, `route` or `deliver`
    pub step: String,
    /// What was found, one sentence.
    pub finding: String,
}

/// What a connection ID says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecodedCid {
    /// [`SCHEMA`]
    pub schema: u32,
    /// Hex.
    pub cid: String,
    /// Octets.
    pub length: u8,
    /// Top three bits of the first octet; 7 is unroutable.
    pub rotation: u8,
    /// Low five bits of the first octet: the length of the rest, where the configuration says
    /// that they are.
    pub length_bits: u8,
    /// How the configuration of that rotation writes connection IDs: as in [`CidConfiguration`];
    /// none if there is no such configuration.
    #[serde(default)]
    pub encoding: Option<String>,
    /// Hex, decrypted; none where it cannot be decoded.
    pub server_id: Option<String>,
    /// First two octets of the server ID; none where server IDs come from outside.
    pub node: Option<u16>,
    /// The last octet of the server ID, or the first of the nonce where server IDs come from outside.
    pub slot: Option<u8>,
    /// Hex, decrypted.
    pub nonce: Option<String>,
    /// A packet with it would be delivered by it.
    pub routable: bool,
    /// Why not.
    pub why_not: Option<String>,
}

/// Answer to `GET /v1/connection-id-configurations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CidConfigurations {
    /// [`SCHEMA`]
    pub schema: u32,
    /// The issued one first, then by age.
    pub configurations: Vec<CidConfiguration>,
}

/// A configuration of connection IDs, and what it is still used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CidConfiguration {
    /// Top three bits of its connection IDs, 0 to 6.
    pub rotation: u8,
    /// `issuing`: new connection IDs follow it; `retiring`: it is only decoded, and goes when
    /// nobody uses it.
    pub state: String,
    /// `clear`, `single pass`, `four pass`, or `clear, slot masked`
    pub encoding: String,
    /// Octets of a whole connection ID.
    pub length: u8,
    /// Octets of the server ID.
    pub server_id_length: u8,
    /// Hex: the node ID, or the whole server ID where that comes from outside.
    pub identity: String,
    /// Where its key comes from: `auto`, `file`, or `none`.
    pub key: String,
    /// Seconds since it was made, perhaps by an earlier run.
    pub age_seconds: u64,
    /// Connections now that were accepted while it was issued.
    pub connections: u64,
    /// Connection IDs issued in this run.
    pub issued: u64,
    /// Datagrams of this run with a connection ID that it decoded.
    pub datagrams: u64,
    /// Seconds since the last of those, or since the agent started.
    pub quiet_seconds: u64,
    /// The largest share of the nonces that any slot has used, 0 to 1; none in clear.
    pub nonces_used: Option<f64>,
}
