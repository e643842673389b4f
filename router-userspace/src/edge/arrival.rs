//! A connection as the worker hands it over.

use std::net::SocketAddr;

use super::{drain::Draining, http3::early_data::Handshake};
use crate::address::Validated;

/// A QUIC connection to be served.
pub struct IncomingConnection {
    /// It may still be in its handshake, if the client sends 0-RTT.
    pub connection: quinn::Connection,
    /// Where its client was when it began.
    pub address: Validated,
    /// Whether the handshake is complete.
    pub handshake: Handshake,
    /// When its client is to be asked to go elsewhere.
    pub draining: Draining,
    /// The listener's address.
    pub listener: SocketAddr,
}
