//! The agent's process: started, told by signals, and taken down.
//!
//! All of it is one thread, on which nothing takes longer than about ten milliseconds ([`turns`](super::turns)): long
//! tables are walked on others, and so is what requests depend on ([`upstream_watch`](super::upstream_watch)).

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    rc::Rc,
    time::Duration,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{
    cluster, control, core_dumps, descriptors,
    error::{AgentError, ErrorKind, RoomError},
    maintenance,
    node::Node,
    observe,
    options::{ConfigSource, RunOptions},
    reload, start,
    takeover::Phase,
    turns,
};
use crate::{config::Config, datapath};

/// Runs the agent until it is told to stop.
///
/// # Errors
/// If it cannot start; then nothing of it is left.
pub fn run(source: ConfigSource, options: RunOptions) -> Result<(), AgentError> {
    let config = source.read()?;
    for notice in &config.notices {
        tracing::warn!("{notice}");
    }
    core_dumps::without_memory();
    descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::NoRuntime)?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(config, source, options))
}

async fn serve(config: Config, source: ConfigSource, options: RunOptions) -> Result<(), AgentError> {
    let mut terminate = awaited(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = awaited(SignalKind::interrupt(), "SIGINT")?;
    let mut hang_up = awaited(SignalKind::hangup(), "SIGHUP")?;
    let (node, control) = start::begin(config, source, &options).await?;
    let answering = control::serve(control, Rc::clone(&node));
    turns::spawn("maintenance", maintenance::run(Rc::clone(&node)));
    turns::spawn("cluster", cluster::run(Rc::clone(&node)));
    for line in summary(&node) {
        tracing::info!("{line}");
    }
    // The parent process may have closed it.
    let _ = writeln!(io::stdout(), "ready");
    node.service_manager.ready(&node.one_line_status());

    let signal = loop {
        tokio::select! {
            _ = terminate.recv() => break Some("SIGTERM"),
            _ = interrupt.recv() => break Some("SIGINT"),
            () = node.generations.over() => break None,
            _ = hang_up.recv() => if let Err(e) = reload::reload(&node).await {
                tracing::error!("reload: {e}; nothing has changed");
            },
        }
    };
    match signal {
        Some(signal) => {
            let grace = node.serving.config().router.drain_timeout;
            tracing::info!("{signal}: stopping, connections have {grace:?} to finish");
            stop(&node, grace);
        }
        None => {
            tracing::info!("generation {}: its last connection has ended", node.generation);
            // Not by force: where CPUs are scarce, a first flight may have waited at a socket since before the flip.
            node.roster.leave(node.serving.config().router.drain_timeout);
        }
    }
    loop {
        tokio::select! {
            () = node.roster.stopped() => break,
            _ = terminate.recv() => stop(&node, Duration::ZERO),
            _ = interrupt.recv() => stop(&node, Duration::ZERO),
            _ = hang_up.recv() => tracing::warn!("SIGHUP: no reload while the agent stops"),
        }
    }
    drop(answering);
    wind_up(&node).await;
    Ok(())
}

/// What is left to do once all workers have ended.
async fn wind_up(node: &Node) {
    if let Some(cluster) = &node.cluster {
        if node.generations.serves() {
            cluster.end_announcing();
        }
        cluster.withdraw().await;
    }
    node.observability.flush();
    tracing::info!("stopped");
}

fn awaited(kind: SignalKind, name: &'static str) -> Result<Signal, RunError> {
    signal(kind).map_err(|source| RunError::NoSignal { name, source })
}

/// Why the agent's process is not fit to run it.
#[derive(Debug, thiserror::Error)]
enum RunError {
    /// Its thread has no runtime.
    #[error("the agent's runtime cannot be made: {0}")]
    NoRuntime(io::Error),
    /// It would not be told to stop, or to reload.
    #[error("{name} cannot be awaited: {source}")]
    NoSignal {
        /// The signal.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Routes that an agent has left cannot be removed.
    #[error("routing table {table}: its routes cannot be removed: {source}")]
    RoutesStay {
        /// The table.
        table: u32,
        /// Why.
        source: io::Error,
    },
}

impl RoomError for RunError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::RoutesStay { .. } => Some("quic-router detach, as root".to_owned()),
            Self::NoRuntime(_) | Self::NoSignal { .. } => None,
        }
    }
}

/// Tells all workers to stop: connections have `grace` to finish. Said again, the shorter grace counts.
fn stop(node: &Node, grace: Duration) {
    let is_in_charge = node.generations.phase() == Phase::InCharge;
    if is_in_charge && !node.roster.is_stopping() {
        cluster::step_down(node);
    }
    if node.roster.stop(grace) && is_in_charge {
        node.service_manager.stopping();
        cluster::announce(node);
        node.generations.stop_others();
    }
}

/// What was started, in lines for the log.
fn summary(node: &Node) -> Vec<String> {
    let config = node.serving.config();
    let mut lines = vec![format!(
        "quic-router {}: node {}, {}",
        env!("CARGO_PKG_VERSION"),
        config.router.node_id,
        node.one_line_status()
    )];
    lines.extend(config.listeners.iter().map(|listener| format!("listening on {}", listener.address)));
    for interface in observe::interfaces(node, &config.router) {
        let mode = interface.mode.as_ref().map(|mode| format!(", {mode}")).unwrap_or_default();
        let why = interface.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        lines.push(format!("interface {}: engine {}{mode}{why}", interface.name, interface.engine));
    }
    lines
}

/// What [`detach`] removed.
#[derive(Clone, Debug, Default)]
pub struct DetachReport {
    /// Files, by path, and routes.
    pub removed: Vec<String>,
}

/// Where an instance leaves something behind that is killed.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder of its pins.
    pub bpf_dir: PathBuf,
    /// Its control socket.
    pub control: PathBuf,
    /// The routing table with its routes, if it has any.
    pub announce_table: Option<u32>,
}

/// Removes every link, pin, map and route of an instance that no longer runs.
///
/// # Errors
/// If it does run, or the kernel refuses.
pub fn detach(places: &Places) -> Result<DetachReport, AgentError> {
    let Places { bpf_dir, control, announce_table } = places;
    control::refuse_if_answered(control)?;
    let mut removed: Vec<String> =
        datapath::remove_stale(bpf_dir)?.into_iter().map(|name| bpf_dir.join(name).display().to_string()).collect();
    if let &Some(table) = announce_table {
        let left = cluster::remove_left(table).map_err(|source| RunError::RoutesStay { table, source })?;
        removed.extend(left.into_iter().map(|address| format!("the route to {address} in routing table {table}")));
    }
    if fs::remove_file(control).is_ok() {
        removed.push(control.display().to_string());
    }
    Ok(DetachReport { removed })
}
