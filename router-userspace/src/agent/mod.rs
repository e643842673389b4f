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

mod admin;
pub mod api;
mod assignment;
mod certificates;
mod connection_ids;
pub(crate) mod control;
mod core_dumps;
mod descriptors;
mod engine;
mod error;
mod explain;
mod flow_sweeper;
mod flows;
mod hex;
mod interfaces;
mod kernel;
mod maintenance;
mod metrics;
mod node;
mod observability;
mod plan;
mod provision;
mod queues;
mod reload;
mod respawn;
mod retired_workers;
mod roster;
mod secrets;
mod sending;
mod service_manager;
mod slots;
mod state_dir;
mod steering;
mod takeover;
mod transport_config;
mod upstream_report;
mod worker_totals;

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

pub use self::{
    assignment::maglev,
    error::{ErrorKind, StartError},
};
use self::{
    control::ControlSocket,
    node::Node,
    takeover::{Kind, TakeOver},
};
use crate::{
    build_identity,
    config::{Config, ConfigError},
    datapath,
    telemetry::Log,
};

/// How to run, besides the configuration.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Load the kernel programs that log, at this level.
    pub kernel_log: Option<String>,
    /// Take over from the agent that runs, if one does.
    pub takeover: bool,
    /// The log, whose level a reload may change.
    pub log: Log,
}

/// Where the configuration comes from: read at the start, and again at every reload.
pub struct ConfigSource {
    read: Box<dyn Fn() -> Result<Config, ConfigError>>,
    allow_test_build: bool,
}

impl ConfigSource {
    /// Reads it by `read`. With `allow_test_build` a debug or sanitizer build may listen anywhere.
    pub fn new(read: impl Fn() -> Result<Config, ConfigError> + 'static, allow_test_build: bool) -> Self {
        Self { read: Box::new(read), allow_test_build }
    }

    /// The configuration as it is now.
    fn read(&self) -> Result<Config, StartError> {
        let config = (self.read)()?;
        let addresses: Vec<SocketAddr> = config.listeners.iter().map(|listener| listener.address).collect();
        build_identity::refuse_public_listen(&addresses, self.allow_test_build, in_private_namespace())
            .map_err(StartError::refused)?;
        Ok(config)
    }
}

/// Runs the agent until it is told to stop.
///
/// # Errors
/// [`StartError`] if it cannot start; then nothing of it is left.
pub fn run(source: ConfigSource, options: RunOptions) -> anyhow::Result<()> {
    let config = source.read()?;
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    core_dumps::without_memory();
    descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the agent's runtime cannot be made")?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(config, source, options))
}

async fn serve(config: Config, source: ConfigSource, options: RunOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
    let mut hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be awaited")?;
    let (node, control) = begin(config, source, &options).await?;
    let answering = control.answer(Rc::clone(&node));
    tokio::task::spawn_local(Rc::clone(&node).look_after());
    for line in node.summary() {
        tracing::info!("{line}");
    }
    // Whoever started us may have closed it.
    let _ = writeln!(std::io::stdout(), "ready");
    node.service_manager.ready(&node.in_a_word());

    let signal = loop {
        tokio::select! {
            _ = terminate.recv() => break Some("SIGTERM"),
            _ = interrupt.recv() => break Some("SIGINT"),
            () = node.generations.over() => break None,
            _ = hang_up.recv() => if let Err(e) = node.reload() {
                tracing::error!("reload: {e}; nothing has changed");
            },
        }
    };
    match signal {
        Some(signal) => {
            let grace = node.config().router.drain_timeout;
            tracing::info!("{signal}: stopping, connections have {grace:?} to finish");
            node.stop(grace);
        }
        None => {
            tracing::info!("generation {}: its last connection has ended", node.generation);
            node.stop(Duration::ZERO);
        }
    }
    loop {
        tokio::select! {
            () = node.roster.stopped() => break,
            _ = terminate.recv() => node.stop(Duration::ZERO),
            _ = interrupt.recv() => node.stop(Duration::ZERO),
            _ = hang_up.recv() => tracing::warn!("SIGHUP: no reload while the agent stops"),
        }
    }
    drop(answering);
    node.instruments.flush();
    tracing::info!("stopped");
    Ok(())
}

/// From a configuration to a node in charge: the first one, or one that has taken over.
async fn begin(
    config: Config,
    source: ConfigSource,
    options: &RunOptions,
) -> Result<(Rc<Node>, Rc<ControlSocket>), StartError> {
    let path = config.router.control.clone();
    let takeover = match options.takeover {
        true => TakeOver::begin(&path, Kind::of(&config.router, config.connection_id.length)).await?,
        false => None,
    };
    let Some(mut takeover) = takeover else {
        let control = Rc::new(ControlSocket::bind(&path)?);
        let node = Rc::new(Node::start(config, source, options, &[])?);
        node.answers_on(&control);
        node.instruments.answer(&node);
        return Ok((node, control));
    };
    let started = ControlSocket::bind_beside(&path).and_then(|control| {
        let (control, before) = (Rc::new(control), takeover.before());
        let node = Rc::new(Node::start(config, source, options, before)?);
        node.answers_on(&control);
        Ok((node, control))
    });
    match started {
        Ok((node, control)) => {
            takeover.finish(&node, &control).await?;
            Ok((node, control))
        }
        Err(e) => {
            takeover.fail(&e).await;
            Err(e)
        }
    }
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
