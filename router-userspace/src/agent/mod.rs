//! Owns all that runs: starts it in an order in which nothing is ever half there, watches
//! it, answers for it, and takes it down again.
//!
//! ```text
//! run ─► start ─► sockets, engine (datapath), workers ─► control socket ─► ready
//!                                                          │
//!                       SIGTERM, SIGINT ─► stop: drain, close, detach
//! ```

mod answers;
pub mod api;
mod assignment;
mod connection_ids;
mod control;
mod engine;
mod error;
mod explain;
mod flows;
mod node;
mod plan;
mod secrets;
mod state;
mod sweep;

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::Path,
    rc::Rc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

pub use self::{assignment::maglev, error::StartError};
use self::{control::ControlSocket, node::Node};
use crate::{build_identity, config::Config, datapath};

/// How to run, besides the configuration.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Load the kernel programs that log, at this level.
    pub kernel_log: Option<String>,
    /// Let a debug or sanitizer build listen anywhere.
    pub allow_test_build: bool,
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// [`StartError`] if it cannot start; then nothing of it is left.
pub fn run(config: Config, options: RunOptions) -> anyhow::Result<()> {
    let addresses: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.address).collect();
    build_identity::refuse_public_listen(&addresses, options.allow_test_build, in_private_namespace())
        .map_err(StartError::refused)?;
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the agent's runtime cannot be made")?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(config, options))
}

async fn serve(config: Config, options: RunOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    let control = ControlSocket::bind(&config.router.control)?;
    let grace = config.router.drain_timeout;
    let node = Rc::new(Node::start(config, &options)?);
    let answering = control.answer(Rc::clone(&node));
    tokio::task::spawn_local(Rc::clone(&node).look_after());
    for line in node.summary() {
        tracing::info!("{line}");
    }
    // Whoever started us may have closed it.
    let _ = writeln!(std::io::stdout(), "ready");

    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping, connections have {grace:?} to finish"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping, connections have {grace:?} to finish"),
    }
    node.stop(grace);
    loop {
        tokio::select! {
            () = node.stopped() => break,
            _ = terminate.recv() => node.stop(Duration::ZERO),
            _ = interrupt.recv() => node.stop(Duration::ZERO),
        }
    }
    drop(answering);
    tracing::info!("stopped");
    Ok(())
}

/// What [`detach`] removed.
#[derive(Clone, Debug, Default)]
pub struct DetachReport {
    /// Files, by path.
    pub removed: Vec<String>,
}

/// Removes every link, pin and map of an instance that no longer runs.
///
/// # Errors
/// If it does run.
pub fn detach(bpf_dir: &Path, control: &Path) -> Result<DetachReport, StartError> {
    control::refuse_if_answered(control)?;
    let mut removed: Vec<String> =
        datapath::remove_stale(bpf_dir)?.into_iter().map(|name| bpf_dir.join(name).display().to_string()).collect();
    if fs::remove_file(control).is_ok() {
        removed.push(control.display().to_string());
    }
    Ok(DetachReport { removed })
}

/// Whether this process is in another network namespace than the host's first process: a
/// test's lab, not a host's uplink.
fn in_private_namespace() -> bool {
    let namespace = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/net")).map(|m| m.ino()).ok();
    matches!((namespace("self"), namespace("1")), (Some(own), Some(first)) if own != first)
}

/// An address as the maps have it: IPv4 mapped into IPv6.
fn mapped(address: IpAddr) -> router_common::frame::Address {
    match address {
        IpAddr::V4(v4) => router_common::frame::Address::ipv4(v4.octets()),
        IpAddr::V6(v6) => router_common::frame::Address::new(v6.octets()),
    }
}

/// An endpoint of the maps as people write it.
fn socket_address(endpoint: &router_common::frame::Endpoint) -> SocketAddr {
    SocketAddr::new(IpAddr::from(endpoint.address.octets().0).to_canonical(), endpoint.port)
}
