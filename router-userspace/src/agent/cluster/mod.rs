//! The other hosts behind the same addresses: who they are, how packets of theirs get to them, and the keys that all of
//! them have.
//!
//! ```text
//! engine (file, etcd) ─► records ─┐
//! kernel's routes ─► ways ────────┼─► table ─► Steering: nodes, tunnel's keys, assignment; kernel and workers alike
//! configuration ──────────────────┘
//! ```

mod announce;
mod component;
#[cfg(feature = "etcd")]
mod etcd;
mod health;
mod init;
mod introduction;
mod membership;
mod orders;
mod others;
mod report;
mod routes;
mod survey;
mod table;
mod unseen;
mod upkeep;

pub(super) use self::{
    announce::remove_left,
    component::{Cluster, NodeTable},
    membership::MembershipEngine,
    orders::{order, rotate, waits_for},
    report::{describe, why_not_ready},
    upkeep::{announce, begin, inherit_confirmation, introduce, leave, reconcile, reload, run, step_down, take_charge},
};
pub use self::{
    init::init,
    survey::{Candidate, ClusterSurvey, survey},
    unseen::Unseen,
};
