//! Where a QUIC packet goes: one decision, compiled into the XDP program, into the
//! `sk_reuseport` program and into the agent.
//!
//! ```text
//! frame ──► quic ──► steer ──► Verdict
//! parse     classify route     pass, drop or deliver to a slot, each with its reason
//! ```
//!
//! The rule of this crate: no IO, no allocation, no `unsafe`, no panic. Its only view of
//! the world are two traits, [`Bytes`](bytes::Bytes) and [`Tables`](steer::Tables). What
//! it says about a packet is therefore the same in the kernel, in a test and in
//! `quic-router explain`.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod admission;
pub mod aes;
pub mod bytes;
pub mod connection_id;
pub mod frame;
pub mod hash;
pub mod identifiers;
pub mod maps;
pub mod quic;
pub mod reason;
pub mod siphash;
pub mod steer;
pub mod tunnel;
