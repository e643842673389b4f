//! What a worker is made of: its place, its sockets, and what its connections are for.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
};

use quinn::ServerConfig;
use router_common::identifiers::{CpuId, ListenerId, SlotId};

use super::{connection::Tracing, flows::FlowTable};
use crate::edge::{Edge, Speaks};

/// What one worker is to be.
pub struct Plan {
    /// Its slot.
    pub slot: SlotId,
    /// The CPU to pin it to.
    pub cpu: CpuId,
    /// Its socket for each listener, with what the listener serves.
    pub sockets: Vec<ListenerSocket>,
    /// Where it writes flows.
    pub flows: Box<dyn FlowTable>,
    /// What its connections are for.
    pub edge: EdgeFactory,
}

/// A worker's part in a listener.
pub struct ListenerSocket {
    /// The listener's number.
    pub listener: ListenerId,
    /// The worker's own socket.
    pub socket: UdpSocket,
    /// How connections are begun.
    pub terms: ListenerConfig,
}

/// How connections to a listener are begun.
#[derive(Clone)]
pub struct ListenerConfig {
    /// QUIC connections.
    pub quic: ServerConfig,
    /// Where their clients are asked to move to.
    pub preferred: Option<IpAddr>,
    /// Whether requests are taken before their handshake is complete (0-RTT).
    pub early_data: bool,
    /// Whether every client is sent a Retry.
    #[cfg(feature = "interop")]
    pub always_retry: bool,
    /// Which of them are traced.
    pub tracing: Option<Arc<Tracing>>,
    /// TCP connections, by the port they come to.
    pub tcp: BTreeMap<SocketAddr, Speaks>,
}

/// Makes a worker's edge, on the worker's own thread.
pub type EdgeFactory = Box<dyn FnOnce() -> Edge + Send>;
