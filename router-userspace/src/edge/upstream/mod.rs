//! What answers requests behind us: named sets of equivalent servers.
//!
//! | whose | what | where |
//! |---|---|---|
//! | the node's | health, addresses, load and counters of each server | [`Upstreams`], `server`, `set`, `queue` |
//! | the agent's task | probes and name resolution | `probe`, `resolve` |
//! | a worker's | connections, and whose turn it is | [`Clients`], `pool`, `balance` |
//! | a request's | its server, its connection, its next attempt | `select`, `exchange`, `retry` |
//!
//! A request chooses among the servers that are healthy and have room (`balance`), waits if none
//! has (`queue`), takes an idle connection or opens one (`pool`, `connect`), and is sent (`http1`, `http2`). Its
//! permit and its connection are free again when the response's body has ended (`response_body`).
//!
//! No two files import each other, directly or by way of others. From the ground up: `server`, `set`, `queue`; then
//! `connect`, `resolve`, `probe`; `http1`, `http2`, `pool`; `clients`, `select`; `exchange` and `stream` on top.

mod balance;
mod clients;
mod clock;
mod connect;
mod exchange;
mod failure;
mod head;
mod http1;
mod http2;
mod limits;
mod pool;
mod pooled_server;
mod probe;
mod proxy_protocol;
mod queue;
mod request_body;
mod resolve;
mod response_body;
mod retry;
mod select;
mod server;
mod set;
mod share;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod upstreams;

pub(in crate::edge) use self::{
    clients::{Clients, Upstream},
    exchange::{Exchanged, Failed},
    response_body::{ResponseBody, ResponseError},
    stream::Stream,
};
#[cfg(test)]
use self::{
    connect::{ConnectError, NoPlace},
    failure::Failure,
    request_body::Forwarded,
};
pub use self::{
    server::{ServerHealth, ServerReport},
    tls::UpstreamError,
    upstreams::Upstreams,
};
