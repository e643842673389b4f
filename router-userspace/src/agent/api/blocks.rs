//! The block list.

use serde::{Deserialize, Serialize};

use super::BlockAction;

/// Answer to `GET /v1/blocks`: the entries that are in force, in the order of their addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blocks {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// IPv4 among IPv6, as it is mapped into it.
    pub blocks: Vec<Block>,
}

/// An entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Block {
    /// Its number in the maps, which is no other's while the node runs.
    pub id: u32,
    /// `192.0.2.0/24`, `2001:db8::/32`
    pub prefix: String,
    /// What becomes of packets from there.
    pub action: BlockAction,
    /// As it was given; none if it was not.
    #[serde(default)]
    pub why: Option<String>,
    /// When it ends, in seconds since 1970; none: it does not.
    #[serde(default)]
    pub until: Option<u64>,
    /// The same from now on.
    #[serde(default)]
    pub seconds_left: Option<u64>,
    /// Packets for which it decided.
    pub hits: u64,
    /// Where it comes from: `verb`, or `FILE:LINE`.
    pub source: String,
}

/// Body of `POST /v1/blocks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRequest {
    /// `192.0.2.0/24`, `2001:db8::/32`, or an address.
    pub prefix: String,
    /// What is to become of packets from there.
    pub action: BlockAction,
    /// For how many milliseconds; none: until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// For who asks later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Answer to `POST /v1/blocks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BlockAdded {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// As it is kept.
    pub prefix: String,
    /// Connections that were closed, of clients there.
    pub closed: u64,
}

/// Body of `POST /v1/blocks/remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnblockRequest {
    /// As it was added.
    pub prefix: String,
    /// Whether it is to be in the list as one that is allowed, or as one that is not.
    pub allowed: bool,
}

/// Body of `POST /v1/blocks/close`, by which the generation in charge has those that drain close what they have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedPrefix {
    /// As it was added.
    pub prefix: String,
}
