//! What is there, compared with what should be: interfaces, pins, the host's addresses, receive queues.

use super::{node::Node, queues::QueueContext};
use crate::config::{Config, Engine};

/// Looks at what the kernel has, interfaces, their queues and the host's addresses, and makes of it
/// what it should be.
pub(super) fn rescan(node: &Node) {
    rescan_devices(node);
    reconcile_queues(node);
}

/// The same but for the queues, which stay as they are.
pub(super) fn rescan_devices(node: &Node) {
    if node.is_in_charge() {
        node.local_addresses.reconcile(&node.steering);
        if let Some(kernel) = node.steering.kernel() {
            node.interfaces.restore_pins(kernel);
        }
    }
    node.interfaces.reconcile(&node.steering, &node.slot_context());
    let config = node.serving.config();
    if queue_context(node, &config).is_some() {
        node.queues.scan(&config, &node.interfaces.steered());
    }
}

/// Makes the queues, as they were at the last scan, those of the workers that should have them.
pub(super) fn reconcile_queues(node: &Node) {
    let config = node.serving.config();
    if let Some(context) = queue_context(node, &config) {
        node.queues.reconcile(&context);
    }
}

/// What queues depend on; none if workers of this generation are to have none now.
pub(super) fn queue_context<'a>(node: &'a Node, config: &'a Config) -> Option<QueueContext<'a>> {
    let is_wanted = matches!(config.router.engine, Engine::AfXdp | Engine::Auto);
    let kernel = node.steering.kernel().filter(|_| is_wanted && node.is_in_charge())?;
    Some(QueueContext { kernel, steering: &node.steering, roster: &node.roster, config })
}
