//! The laboratory of quic-router: real programs in network namespaces, and the packets to
//! put on the wires between them.
//!
//! The rule of this crate: it sees the router as its operators and its peers do (its
//! binary, its control socket, its maps through bpftool, its packets), and whatever it
//! puts into the world it takes out again, also after a panic.

pub mod bpftool;
pub mod content;
pub mod cpu;
pub mod interop;
pub mod lab;
pub mod packets;
