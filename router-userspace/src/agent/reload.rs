//! A changed configuration, brought into force while everything runs.
//!
//! ```text
//! read, compare ─► prepare: TLS, sockets, interfaces, workers ─► commit: from here on nothing fails
//! ```
//!
//! Whatever can fail is prepared first, beside what runs; if it does fail, what was prepared is
//! taken away again, and nobody has noticed. No connection is touched that the change does not
//! concern: those of a listener that goes, or of a worker that goes, have `drain_timeout` to end.

use std::rc::Rc;

use super::{
    error::StartError,
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
use crate::config::{Config, Engine};

/// Reads the configuration again and brings it into force; what has changed, one sentence each.
///
/// # Errors
/// If it is not valid, or asks for what cannot be had while the agent runs; nothing has
/// changed then.
pub(super) fn reload(node: &Rc<Node>) -> Result<Vec<String>, StartError> {
    node.generations.require_charge()?;
    node.service_manager.reloading();
    let result = reload_now(node);
    node.service_manager.ready(&match &result {
        Ok(_) => node.one_line_status(),
        Err(e) => format!("{}; reload refused: {e}", node.one_line_status()),
    });
    result
}

fn reload_now(node: &Rc<Node>) -> Result<Vec<String>, StartError> {
    // Also where nothing else changes: a program that rotates the log's file asks for no more.
    node.observability.reopen_access_log()?;
    let config = Rc::new(node.source.read()?);
    let before = node.serving.config();
    refuse_immovable(&before, &config)?;
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
    sentences.extend(what_else(&before, &config));
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
fn what_else(before: &Config, after: &Config) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut when = |changed: bool, sentence: &str| {
        if changed {
            sentences.push(sentence.to_owned());
        }
    };
    when(before.routes != after.routes, "routes have changed");
    when(before.upstreams != after.upstreams, "upstreams have changed");
    when(before.limits != after.limits, "limits have changed");
    let raised = after.limits.max_connections > before.limits.max_connections;
    when(raised, "the flow table keeps its size until the next start: beyond it connections go by their IDs alone");
    let certificates = |config: &Config| {
        config.listeners.iter().map(|one| (one.address, one.certificates.clone())).collect::<Vec<_>>()
    };
    when(certificates(before) != certificates(after), "certificates have changed");
    when(before.router.drain_timeout != after.router.drain_timeout, "drain_timeout has changed");
    when(before.admin != after.admin, "the admin address has changed");
    when(before.access_log != after.access_log, "the access log has changed");
    when(before.router.log != after.router.log, "what is logged has changed");
    when(before.router.cpu_map != after.router.cpu_map, "cpu_map has changed");
    let paths = |config: &Config| config.router.path_normalization;
    when(paths(before) != paths(after), "path_normalization has changed");
    when(before.router.debug_headers != after.router.debug_headers, "debug_headers has changed");
    sentences
}

/// What cannot change while the agent runs, by name.
fn refuse_immovable(before: &Config, after: &Config) -> Result<(), StartError> {
    let (old, new) = (&before.router, &after.router);
    let changed = [
        ("router.node_id", old.node_id != new.node_id),
        ("router.engine", old.engine != new.engine),
        ("router.bpf_dir", old.bpf_dir != new.bpf_dir),
        ("router.state_dir", old.state_dir != new.state_dir),
        ("router.control", old.control != new.control),
        ("connection_id", before.connection_id != after.connection_id),
        ("af_xdp", before.af_xdp != after.af_xdp),
    ];
    let names: Vec<_> = changed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect();
    let by_upgrade = changed.iter().filter(|(_, changed)| *changed).all(|(name, _)| match *name {
        "router.engine" => new.engine != Engine::Userspace && old.engine != Engine::Userspace,
        "connection_id" => before.connection_id.length == after.connection_id.length,
        "af_xdp" => true,
        _ => false,
    });
    let way_out = if by_upgrade { "quic-router upgrade, which takes it" } else { "stop and start the agent" };
    match &names[..] {
        [] => Ok(()),
        names => {
            let refused = format!("{} cannot change while this process runs", names.join(", "));
            Err(StartError::refused(refused).with_hint(way_out))
        }
    }
}
