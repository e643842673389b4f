//! `[transport]`: how QUIC connections behave.

use std::time::Duration;

/// `[transport]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Congestion control.
    pub congestion: Congestion,
    /// Octets that a client may send on one stream before we have read them (RFC 9000 section 4.1).
    pub stream_window: u32,
    /// The same for all streams of a connection.
    pub connection_window: u32,
    /// Octets that a connection may have in flight or waiting to be sent: what a slow reader of a
    /// fast upstream costs at most.
    pub send_window: u32,
    /// Requests or streams that a client may have open at once on one connection.
    pub max_streams: u32,
    /// A PING after that much silence; none: never.
    pub keep_alive: Option<Duration>,
    /// Octets of the first UDP payloads, 1200 and up (RFC 9000 section 14.1).
    pub initial_mtu: u16,
    /// The largest UDP payload that discovery tries (RFC 8899); none: no discovery.
    pub max_mtu: Option<u16>,
    /// Whether trains of packets are handed to the kernel in one piece (generic segmentation offload).
    pub gso: bool,
    /// Whether clients may change their address (RFC 9000 section 9).
    pub migration: bool,
}

/// Congestion control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// RFC 9438
    Cubic,
    /// RFC 9002 section 7
    NewReno,
    /// BBR as quinn has it, experimental.
    Bbr,
}
