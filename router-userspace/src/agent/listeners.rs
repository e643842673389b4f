//! Listeners between the configuration, the kernel and the workers: brought into force, and closed.

use std::{convert::Infallible, rc::Rc, time::Duration};

use tokio::sync::mpsc;

use super::{
    error::AgentError,
    node::Node,
    plan::{self, Numbered},
    turns,
};

/// Brings the listeners into force in the kernel and for the workers: those there are, those whose connections have
/// some time left, and those of other generations.
pub(super) fn write(node: &Node) -> Result<(), AgentError> {
    let mut entries = node.serving.entries();
    for theirs in node.generations.others().into_iter().flat_map(|other| other.listeners) {
        let theirs = plan::entry(theirs.id, theirs.address);
        if !entries.contains(&theirs) {
            entries.push(theirs);
        }
    }
    node.steering.set_listeners(entries)
}

/// Has new connections begun by what is in force, on every listener, also on TCP.
pub(super) fn serve(node: &Node) {
    let (listeners, provision) = (node.serving.listeners(), node.serving.provision());
    node.roster.read(|workers| {
        for (listener, terms) in listeners.iter().zip(&provision.terms) {
            workers.iter().for_each(|worker| worker.serve(listener.id, terms.clone()));
        }
    });
}

/// Lets the connections of a listener end that is no longer in the configuration.
pub(super) fn close(node: &Rc<Node>, listener: Numbered, grace: Duration) {
    let (closed, mut all_closed) = mpsc::channel::<Infallible>(1);
    node.roster.read(|workers| {
        workers.iter().for_each(|worker| worker.close(listener.id, grace, closed.clone()));
    });
    drop(closed);
    let node = Rc::clone(node);
    turns::spawn("listener that closes", async move {
        while all_closed.recv().await.is_some() {}
        node.serving.closed(listener.id);
        match write(&node) {
            Ok(()) => tracing::info!("listener {} is closed", listener.listener.address),
            Err(e) => tracing::error!("listener {}: {e}", listener.listener.address),
        }
    });
}
