//! The other hosts behind the same addresses: who they are, how packets of theirs get to them, and the keys that all of
//! them have.
//!
//! ```text
//! engine (file, etcd) ─► records ─┐
//! kernel's routes ─► ways ────────┼─► table ─► Steering: nodes, tunnel's keys, assignment; kernel and workers alike
//! configuration ──────────────────┘
//! ```

mod component;
mod health;
mod membership;
mod report;
mod routes;
mod table;
mod upkeep;

pub(super) use self::{
    component::{Cluster, NodeTable},
    membership::MembershipEngine,
    report::describe,
    upkeep::{begin, leave, reconcile, reload, run, take_charge},
};
