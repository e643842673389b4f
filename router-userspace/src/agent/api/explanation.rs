//! Why a packet goes where it goes, and what a connection ID says.

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// A whole Ethernet frame, hex.
    pub frame: String,
}

/// What would happen to a packet, step by step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explanation {
    /// [`SCHEMA`](super::SCHEMA)
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
    /// `parse`, `classify`, `route`, `admission` or `deliver`
    pub step: String,
    /// What was found, one sentence.
    pub finding: String,
}

/// What a connection ID says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecodedCid {
    /// [`SCHEMA`](super::SCHEMA)
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
    /// How the configuration of that rotation writes connection IDs: as in [`CidConfiguration`](super::CidConfiguration);
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
