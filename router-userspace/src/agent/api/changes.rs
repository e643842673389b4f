//! What can be asked to change, and what came of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::CidState;

/// Body of `POST /v1/upgrade`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// The generation that serves now.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// Listeners that could not be reached from this host, and so were not probed, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unprobed: Vec<String>,
}

/// Answer to `POST /v1/reload`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// What has changed, one sentence each; none if nothing has.
    pub changes: Vec<String>,
}

/// Answer to `GET /v1/log`: what is logged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Log {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// A level, or one for each module, as in `[router] log`.
    pub filter: String,
}

/// Body of `PUT /v1/log`. It holds until the next reload, or the end of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// As in [`Log`].
    pub filter: String,
}

/// Answer to `GET /v1/connection-id-configurations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CidConfigurations {
    /// [`SCHEMA`](super::SCHEMA)
    pub schema: u32,
    /// The issued one first, then by age.
    pub configurations: Vec<CidConfiguration>,
}

/// A configuration of connection IDs, and what it is still used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CidConfiguration {
    /// Top three bits of its connection IDs, 0 to 6.
    pub rotation: u8,
    /// What it is for.
    pub state: CidState,
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
