//! quic-router's agent, as a library for its binary and its tests.
//!
//! ```text
//! cli ─► agent ─► datapath (maps)          control
//!          │
//!          └────► worker ─► edge ─► upstream   data
//! ```

pub mod address;
pub mod agent;
#[cfg(test)]
mod blessed;
pub mod build_identity;
pub mod cli;
mod clock;
pub mod config;
pub mod datapath;
mod doctor;
pub mod edge;
#[cfg(feature = "interop")]
pub mod interop;
pub mod telemetry;
mod text;
pub mod worker;
