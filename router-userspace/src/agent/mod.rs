//! Owns all that runs: starts it in an order in which nothing is ever half there, watches
//! it, answers for it, and takes it down again.
//!
//! ```text
//! run ─► start ─► sockets, engine (datapath), workers ─► control socket ─► ready
//!                                                          │
//!                                SIGHUP ─► reload: what has changed, in place
//!                  `upgrade`, takeover ─► generations: the next one serves, this one drains
//!                       SIGTERM, SIGINT ─► stop: drain, close, detach
//! ```

mod addresses;
mod admin;
mod admission;
pub mod api;
mod assignment;
mod blocks;
mod certificates;
mod cluster;
mod connection_ids;
pub(crate) mod control;
mod core_dumps;
mod crashed;
mod descriptors;
mod drain;
mod engine;
mod error;
mod explain;
mod flow_sweeper;
mod flows;
mod health;
mod hex;
mod interfaces;
mod kernel;
#[cfg(test)]
mod kernel_answers;
mod known_listener;
mod levels;
mod listeners;
mod local_addresses;
mod maintenance;
mod metrics;
mod node;
mod observability;
mod observe;
mod options;
mod place;
mod plan;
mod prepare;
mod present;
mod provision;
mod queues;
mod reload;
mod rescan;
mod respawn;
mod retired_workers;
mod roster;
mod run;
mod secrets;
mod sending;
mod service_manager;
mod serving;
mod serving_report;
mod socket_drops;
mod sockets;
mod start;
mod state_dir;
mod state_error;
mod steering;
mod takeover;
mod transport_config;
mod turns;
mod upstream_watch;
mod validation_key;
mod views;

pub use self::{
    assignment::{WeightedSlot, maglev},
    cluster::{Candidate, ClusterSurvey, Unseen, init as init_cluster, survey as survey_cluster},
    error::{AgentError, ErrorKind},
    options::{ConfigSource, RunOptions},
    run::{DetachReport, Places, detach, run},
};
