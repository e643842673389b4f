//! How full the limits of admission are, and who meets them.

use serde::{Deserialize, Serialize};

use super::{Block, BlockAction, Challenge};

/// Answer to `GET /v1/admission`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Admission {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// Whether the XDP program answers by itself, with Version Negotiation and Retries.
    pub answers_in_xdp: bool,
    /// `admission.challenge`
    pub challenge: Challenge,
    /// Whether each client is asked for its address because a worker has half of its handshakes open.
    pub pressed: bool,
    /// What is limited for the whole node.
    pub limits: Vec<AdmissionLimit>,
    /// What is limited for each prefix of addresses; none if nothing is.
    #[serde(default)]
    pub per_source: Option<SourceLimit>,
    /// The block list, by action.
    pub blocks: Vec<BlockTotal>,
    /// What the maps take, in octets; none without kernel programs.
    pub maps: Vec<MapMemory>,
}

/// A limit for the whole node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdmissionLimit {
    /// The configuration's key.
    pub key: String,
    /// Packets a second; none: any number.
    #[serde(default)]
    pub per_second: Option<u32>,
    /// How many would be let through at once now.
    #[serde(default)]
    pub room: Option<u64>,
    /// For how many seconds nothing is limited yet.
    #[serde(default)]
    pub lifted_seconds: Option<u64>,
}

/// `admission.new_per_source`, and what belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceLimit {
    /// First flights a second.
    pub per_second: u32,
    /// How many may come at once.
    pub burst: u32,
    /// Leading bits of an IPv4 address that make a prefix.
    pub prefix4: u8,
    /// The same of an IPv6 address.
    pub prefix6: u8,
}

/// Entries of the block list with an action.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BlockTotal {
    /// What becomes of packets from there.
    pub action: BlockAction,
    /// How many entries there are.
    pub entries: u64,
    /// Packets about which such entries have decided; none if the kernel does not say.
    #[serde(default)]
    pub hits: Option<u64>,
}

/// What a map takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MapMemory {
    /// Its name.
    pub map: String,
    /// Octets, as the kernel charges them.
    pub octets: u64,
}

/// Answer to `GET /v1/admission/top`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdmissionTop {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// Prefixes whose clients were asked for their address and have shown it, the busiest first.
    pub sources: Vec<TopSource>,
    /// Entries of the block list, the one with the most packets first.
    pub blocks: Vec<Block>,
}

/// A prefix whose clients have shown their address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopSource {
    /// `192.0.2.0/24`, `2001:db8::/56`
    pub prefix: String,
    /// First flights that were let through.
    pub admitted: u64,
    /// Those that were not: `source_limited`.
    pub refused: u64,
    /// How many would be let through at once now.
    pub room: u64,
}
