//! `[admin]`, `[access_log]`, `[qlog]`: how operators see what goes on.

use std::{net::SocketAddr, path::PathBuf};

pub use crate::telemetry::{AccessLogFormat, Destination};

/// `[admin]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// TCP address of plain HTTP with `/metrics` (Prometheus) and `/healthz`.
    pub address: SocketAddr,
}

/// `[access_log]`: a line for each request and each raw stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines go.
    pub to: Destination,
    /// What they look like.
    pub format: AccessLogFormat,
}

/// `[qlog]`: traces of connections (draft-ietf-quic-qlog-main-schema).
#[derive(Clone, Debug, PartialEq)]
pub struct Qlog {
    /// The folder, one file for each traced connection.
    pub dir: PathBuf,
    /// The part of connections that are traced, above 0, at most 1.
    pub sample: f64,
}
