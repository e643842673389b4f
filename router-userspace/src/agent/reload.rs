//! A changed configuration, brought into force while everything runs.
//!
//! ```text
//! read, compare ─► prepare: TLS, sockets, interfaces, workers ─► commit: from here on nothing fails
//! ```
//!
//! Whatever can fail is prepared first, beside what runs; if it does fail, what was prepared is
//! taken away again, and no client has noticed. No connection is touched that the change does not
//! concern: those of a listener that goes, or of a worker that goes, have `drain_timeout` to end.

use std::rc::Rc;

use tokio::task::{JoinError, spawn_blocking};

use super::{
    admission, cluster,
    error::{AgentError, ErrorKind, RoomError},
    health::NodeHealth,
    listeners,
    node::Node,
    plan,
    prepare::{self, Prepared},
    present::{desired, known_sockets, present},
    provision::Provision,
    serving::Next,
    sockets,
};
use crate::config::{self, Changed, TakenBy};

/// Reads the configuration again and brings it into force; what has changed, one sentence each.
///
/// # Errors
/// If it is not valid, or asks for what cannot be had while the agent runs; nothing has
/// changed then.
pub(super) async fn reload(node: &Rc<Node>) -> Result<Vec<String>, AgentError> {
    node.generations.require_charge()?;
    node.service_manager.reloading();
    let result = reload_now(node).await;
    if result.is_ok() {
        node.blocks.reload(&node.steering, &node.serving.config()).await;
    }
    node.service_manager.ready(&match &result {
        Ok(_) => node.one_line_status(),
        Err(e) => format!("{}; reload refused: {e}", node.one_line_status()),
    });
    result
}

async fn reload_now(node: &Rc<Node>) -> Result<Vec<String>, AgentError> {
    let _one = node.serving.reloading().lock().await;
    // Also where nothing else changes: a program that rotates the log's file asks for no more.
    node.observability.reopen_access_log()?;
    let source = node.source.clone();
    let read = spawn_blocking(move || source.read()).await;
    let mut config = read.map_err(ReloadError::Unread)??;
    if let Some(cluster) = &node.cluster {
        // An engine may have given it.
        config.router.node_id = cluster.own().get();
    }
    let config = Rc::new(config);
    // An upgrade may have come between.
    node.generations.require_charge()?;
    let before = node.serving.config();
    let changes = config::changes(&before, &config);
    refuse_immovable(&changes)?;
    node.blocks.require_room_for(&config)?;
    let provision = Rc::new(Provision::new(&config, &node.secrets, Some(&node.serving.provision()))?);
    let observability = node.observability.prepare(&config)?;
    let steps = plan::plan(&desired(node, &config), &present(node)?)?;
    let mut sentences = steps.sentences();
    let sockets = sockets::open(&steps, &known_sockets(node))?;
    let next = Next { config: Rc::clone(&config), provision };
    let prepared = Prepared::new(node, next.clone(), steps, sockets)?;

    // From here on nothing fails.
    node.observability.commit(observability, &config);
    node.observability.answer(&NodeHealth::of(node));
    node.serving.replace(&next, prepared.steps());
    settings_in_force(node, &next);
    for e in prepared.commit() {
        tracing::error!("reload: {e}");
    }
    sentences.extend(what_else(&changes));
    if config.limits.max_connections > before.limits.max_connections {
        sentences.push(FLOW_TABLE_STAYS.to_owned());
    }
    for sentence in config.notices.iter().chain(&sentences) {
        tracing::info!("reload: {sentence}");
    }
    Ok(sentences)
}

/// Tells everything that runs by what it runs from now on.
fn settings_in_force(node: &Node, next: &Next) {
    let config = &next.config;
    node.log.change(&config.router.log);
    node.admission.set_limits(config.limits);
    admission::bring_into_force(&node.steering, config);
    cluster::reload(node);
    node.keys.silence_lasts(config.limits.idle_timeout);
    if let Some(kernel) = node.steering.kernel() {
        kernel.keep_flows_for(config.limits.idle_timeout);
    }
    let instructions = prepare::instructions(node, next);
    node.roster.read(|workers| {
        workers.iter().for_each(|worker| worker.reconfigure(instructions.clone()));
    });
    listeners::serve(node);
}

/// What else has changed: what takes no preparation.
fn what_else(changes: &[Changed]) -> impl Iterator<Item = String> {
    let untold = changes.iter().filter(|change| !TOLD_BY_STEPS.contains(&change.name()));
    untold.map(|change| change.told().to_owned())
}

/// What [`Steps::sentences`](plan::Steps::sentences) tells, worker by worker and interface by interface.
const TOLD_BY_STEPS: [&str; 2] = ["router.workers", "router.interfaces"];

const FLOW_TABLE_STAYS: &str =
    "the flow table keeps its size until the next start: beyond it connections go by their IDs alone";

/// What cannot change while the agent runs, by name.
fn refuse_immovable(changes: &[Changed]) -> Result<(), ReloadError> {
    let refused: Vec<_> = changes.iter().filter(|change| change.taken_by() > TakenBy::Reload).collect();
    let Some(taken_by) = refused.iter().map(|change| change.taken_by()).max() else { return Ok(()) };
    let names: Vec<_> = refused.iter().map(|change| change.name()).collect();
    Err(ReloadError::Immovable { names: names.join(", "), taken_by })
}

/// Why a reload does not take place, other than what the configuration and the kernel say.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// It changes what only another process can.
    #[error("{names} cannot change while this process runs")]
    Immovable {
        /// The keys or tables.
        names: String,
        /// What takes all of them.
        taken_by: TakenBy,
    },
    /// The thread that reads the configuration has ended.
    #[error("the configuration: {0}")]
    Unread(JoinError),
}

impl RoomError for ReloadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Immovable { .. } => ErrorKind::Refused,
            Self::Unread(_) => ErrorKind::Kernel,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Immovable { taken_by: TakenBy::Restart, .. } => Some("stop and start the agent".to_owned()),
            Self::Immovable { .. } => Some("quic-router upgrade, which takes it".to_owned()),
            Self::Unread(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// What differs between a listener alone and one with `text`.
    fn changes(text: &str) -> Vec<Changed> {
        let config =
            |text: &str| Config::parse(&format!("[[listener]]\naddress = \"[::1]:1\"\n{text}"), "test").unwrap();
        config::changes(&config(""), &config(text))
    }

    #[test]
    fn what_no_reload_takes_is_named_with_the_way_out() {
        let refused = |text: &str| {
            let refused = refuse_immovable(&changes(text)).err()?;
            Some((refused.to_string(), refused.hint()?.to_owned()))
        };
        let (upgrade, restart) = ("quic-router upgrade, which takes it", "stop and start the agent");
        for (text, names, way_out) in [
            ("[af_xdp]\nbusy_poll = true", "af_xdp", upgrade),
            ("[router]\nengine = \"reuseport\"", "router.engine", upgrade),
            ("[router]\nengine = \"userspace\"", "router.engine", restart),
            ("[connection_id]\nencryption = \"none\"", "connection_id", upgrade),
            ("[connection_id]\nlength = 12", "connection_id", restart),
            ("[router]\nnode_id = 2\n[af_xdp]\nbusy_poll = true", "af_xdp, router.node_id", restart),
        ] {
            let expected = (format!("{names} cannot change while this process runs"), way_out.to_owned());
            assert_eq!(refused(text), Some(expected), "{text}");
        }
        assert_eq!(refused("[limits]\nmin_rate = 1\n[router]\nlog = \"warn\""), None);
    }

    #[test]
    fn workers_and_interfaces_are_told_one_by_one() {
        let after = "[router]\nworkers = 250\ninterfaces = [\"a\"]\ndebug_headers = true\n[limits]\nmin_rate = 1";
        let told: Vec<_> = what_else(&changes(after)).collect();
        assert_eq!(told, ["limits have changed", "debug_headers has changed"]);
    }
}
