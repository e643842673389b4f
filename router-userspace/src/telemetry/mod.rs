//! What the agent says while it runs: its log on standard error, the access log, meters, and the
//! trace that a request belongs to.
//!
//! The rules this room keeps: one line an event, never one a packet; and a thread that serves a request
//! never waits for the one that writes it down.

mod access_log;
mod log;
mod meter;
mod panics;
mod record;
pub mod shortage;
mod trace;

pub use self::{
    access_log::{AccessLog, AccessLogFormat, Destination},
    log::{FilterError, Log, LogFilter},
    meter::{
        BUCKETS, Handshake, Latency, Meter, Meters, NO_ROUTE, OpenConnection, RouteMeter, RouteSums, Status, Sums,
    },
    panics::say_panics_at_once,
    record::{Outcome, Protocol, Record, Tls},
    trace::{SpanId, TraceContext, TraceId},
};
