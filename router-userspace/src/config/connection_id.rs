//! `[connection_id]`: what the connection IDs of a node look like, and who can read them.

use std::{path::PathBuf, time::Duration};

use super::ServerId;

/// `[connection_id]`: the shape of the connection IDs this node issues (QUIC-LB).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionIdPlan {
    /// Octets of a whole connection ID, at most 20: first octet, server ID, and at least 4 of nonce.
    pub length: u8,
    /// The server ID to use, for a load balancer in front, with the slot in the nonce's first octet;
    /// none: node ID (2 octets) and slot (1).
    pub server_id: Option<ServerId>,
    /// Whether, and with which key, server ID and nonce are encrypted.
    pub encryption: Encryption,
    /// Whether the low five bits of the first octet tell the length of the rest, or are random.
    pub describe_length: bool,
    /// After this time a connection's IDs are replaced by fresh ones, so that an old configuration
    /// is out of use soon after a rotation; at least a second.
    pub lifetime: Duration,
}

/// What stands between a connection ID's reader and the server ID in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// A random key, kept in [`Router::state_dir`](super::Router::state_dir).
    Auto,
    /// Nothing: it is in clear.
    None,
    /// The key that [`key_file::read`](super::key_file::read) finds here; it was good when the
    /// configuration was checked.
    File(PathBuf),
}
