//! A worker: a thread pinned to a CPU, with a single-threaded runtime, a socket and a quinn
//! endpoint for each listener, and the connections that came to it. They never leave it.
//!
//! This room knows quinn and connection IDs; it knows no maps. What it writes there goes
//! through [`FlowTable`].

mod af_xdp;
mod blocks;
mod command;
mod connection;
mod connection_ids;
mod error;
mod first_flights;
mod flows;
mod handle;
mod nodes;
mod plan;
mod shared;
mod socket;
mod stats;
mod tables;
pub mod tcp;
mod tcp_connections;
mod thread;
mod tunnel;

pub use self::{
    af_xdp::{NextHop, NextHopResolver, ReceiveQueue, Routes},
    blocks::{BlockCount, BlockTable},
    connection::{Admission, HandshakeWindow, Tracing, strip_padding},
    connection_ids::{Configuration, ConnectionIds, HostKeys, Ledger, Nonces, Secrets, Set},
    error::WorkerError,
    flows::{FlowTable, NoFlows},
    handle::Worker,
    nodes::NodeList,
    plan::{EdgeFactory, ListenerConfig, ListenerSocket, Plan},
    shared::Shared,
    socket::udp,
    stats::{Kind, Metric, Totals, WorkerStats},
    tables::{NodeTables, Placement, View},
    tunnel::{ControlDatagram, Tunnel, TunnelCounts, TunnelIntake, TunnelReceiver},
};
