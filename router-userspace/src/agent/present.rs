//! What is there, as plans want to know it.

use super::{
    error::AgentError,
    node::Node,
    plan::{self, Desired, Present},
};
use crate::config::Config;

/// What a configuration asks of the node as it runs.
pub(super) fn desired<'a>(node: &Node, config: &'a Config) -> Desired<'a> {
    let desired = Desired::of(config);
    match node.steering.kernel() {
        Some(_) => desired,
        // Found out at the start: nothing steers on interfaces here.
        None => Desired { interfaces: &[], ..desired },
    }
}

/// What is there.
pub(super) fn present(node: &Node) -> Result<Present, AgentError> {
    Ok(Present {
        cpus: plan::usable_cpus()?,
        workers: node.roster.staying(),
        taken: node.steering.places().into_iter().chain(node.generations.places()).collect(),
        crashed: None,
        listeners: node.serving.listeners().clone(),
        closing: node.serving.closing().clone(),
        others: node.generations.others().into_iter().flat_map(|other| other.listeners).collect(),
        interfaces: node.interfaces.names(),
    })
}

/// The inodes of the node's sockets: new ones are bound beside them.
pub(super) fn known_sockets(node: &Node) -> Vec<u64> {
    node.serving.inodes().into_iter().chain(node.generations.inodes()).collect()
}
