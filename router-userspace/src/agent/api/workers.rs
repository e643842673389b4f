//! The workers, and what they count.

use serde::{Deserialize, Serialize};

use super::WorkerState;

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
