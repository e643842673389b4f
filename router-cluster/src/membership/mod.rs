//! Who belongs to a cluster: node records, numbers, keys and configurations of connection IDs, kept by an *engine*.
//!
//! ```text
//! engine (file, etcd) ──► View: the whole state, and whether it is live ──► agent
//!                     ◄── register, publish, commit ◄─────────────────────┘
//! ```
//!
//! The rule: serving never depends on an engine. A [`View`] is always there; while its engine is away it stays as it was
//! and says since when, and nothing is concluded from what is missing in it.

mod change;
mod cid;
mod engine;
mod error;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod file;
mod keys;
mod listeners;
#[cfg(test)]
mod memory;
mod node;
pub mod rotation;
mod state;
#[cfg(any(feature = "etcd", test))]
mod store;

pub use self::{
    change::{Change, Write},
    cid::{CidConfiguration, CidShape, CidState},
    engine::{Answer, Claim, EngineInfo, Membership},
    error::MembershipError,
    keys::{CidSecrets, Master},
    listeners::ListenerDifference,
    node::{
        DEFAULT_PORT, DEFAULT_WEIGHT, Incarnation, NodeNumber, NodeRecord, NodeState, Order, RunInfo, TunnelVersions,
        WEIGHT_MAX,
    },
    state::{ClusterState, Freshness, Member, Presence, View},
};
