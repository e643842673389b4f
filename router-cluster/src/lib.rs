//! Nodes that serve one address together: who they are, which numbers they have, and the keys that they share.
//!
//! The rule of this crate: it knows neither QUIC connections nor kernel maps. The agent asks it who the other nodes are
//! and tells them about itself; what follows for packets is the agent's to decide.

#![forbid(unsafe_code)]

// The contract of engines is a test of others, too, and names this crate as they do.
#[cfg(test)]
extern crate self as router_cluster;

pub mod confirmation;
pub mod distribution;
pub mod health;
pub mod hello;
pub mod membership;
pub mod seal;
pub mod secret;
pub mod secret_file;
#[cfg(test)]
mod simulation;
