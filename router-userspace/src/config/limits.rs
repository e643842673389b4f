//! `[limits]`: what a node bears, and for how long it waits.

use std::time::Duration;

/// `[limits]`: what a node refuses to exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the node; new ones beyond it are refused with CONNECTION_REFUSED.
    pub max_connections: u32,
    /// Connections per client: per prefix of its address.
    pub max_connections_per_ip: u32,
    /// Leading bits of an IPv4 address that make a client.
    pub client_prefix4: u8,
    /// Leading bits of an IPv6 address that make a client.
    pub client_prefix6: u8,
    /// Half-open handshakes per worker; from half of it on, clients are sent a Retry.
    pub max_handshakes: u32,
    /// Silence after which a connection ends (RFC 9000 section 10.1; of TCP connections likewise).
    pub idle_timeout: Duration,
    /// Octets of a request's field section, as RFC 9114 section 4.2.2 counts them; more is answered with 431.
    pub max_header_bytes: u32,
    /// Fields of a request; more is answered with 431.
    pub max_headers: u16,
    /// How long a client may take to send a request's head.
    pub request_timeout: Duration,
    /// How long a request may wait for its own body.
    pub body_timeout: Duration,
    /// How long a response may wait for its client to take it.
    pub send_timeout: Duration,
    /// Octets in a second that a client has to move, on average, of what waits for it.
    pub min_rate: u32,
    /// Octets that requests may make the node hold; none: by the memory that there is.
    pub memory: Option<u64>,
}
