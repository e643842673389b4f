//! What a terminated connection is for: HTTP requests to servers, files or the built-in page, raw
//! streams to TCP servers.
//!
//! This room knows no connection IDs, slots or maps; what it shows of them is given to it as
//! text. Each worker has an [`Edge`] of its own, with its own upstream connections, so little here
//! is contended; what all workers share of the servers behind is in [`Origins`].
//!
//! A request over QUIC goes `http3` → `http::request` → `http::handler` → `http::proxy` (or `files`, `http::page`), one over
//! TCP `tcp` → `http::request`, and so on. A raw stream goes `route` → `raw`.

mod access;
mod arrival;
mod bidirectional_stream;
mod client;
mod dispatch;
mod drain;
mod files;
#[cfg(feature = "interop")]
mod hq;
mod http;
mod http3;
mod memory;
mod origins;
mod pace;
mod raw;
mod route;
mod site;
mod tcp;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod upstream;

use self::site::{Serving, Site};
pub use self::{
    arrival::IncomingConnection,
    dispatch::{Edge, NO_ROUTE},
    drain::{Drain, Draining},
    http3::early_data::Handshake,
    memory::Memory,
    origins::{Instructions, OriginError, Origins},
    raw::{STREAM_CANCELLED, STREAM_REFUSED, UPSTREAM_CLOSED, UPSTREAM_RESET, UPSTREAM_UNREACHABLE},
    route::offered_protocols,
    site::ServedBy,
    tcp::Speaks,
};
