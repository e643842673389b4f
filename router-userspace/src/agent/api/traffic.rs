//! Flows, and what became of packets.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::FlowOrigin;

/// Answer to `GET /v1/flows`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Flows {
    /// [`SCHEMA`](super::SCHEMA)
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
    /// Who made the connection ID.
    pub origin: FlowOrigin,
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
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// In the order a packet meets them: `xdp`, `unwrap`, `select`, `tunnel` (the socket of the cluster's tunnel), `af_xdp`,
    /// `worker`; those the engine has, and `unwrap` and `tunnel` in a cluster.
    pub stages: Vec<Stage>,
    /// By slot: what XDP and `select` gave each.
    pub slots: Vec<SlotCounters>,
}

/// One stage's sum: `received` = all of `passed` + `dropped` + `delivered` +
/// `answered` + `forwarded`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// `xdp`, `unwrap`, `select`, `tunnel`, `af_xdp` or `worker`
    pub name: String,
    /// Packets that entered.
    pub received: u64,
    /// By reason: not ours, left to the kernel.
    pub passed: BTreeMap<String, u64>,
    /// By reason: provably bad.
    pub dropped: BTreeMap<String, u64>,
    /// By reason: given to a slot.
    pub delivered: BTreeMap<String, u64>,
    /// By reason: answered by the stage itself.
    #[serde(default)]
    pub answered: BTreeMap<String, u64>,
    /// By reason: sent on to another node of the cluster.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forwarded: BTreeMap<String, u64>,
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
