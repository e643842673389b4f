//! The whole agent at a glance, and what is wrong with it.

use crate::{
    agent::{
        api::{self, Certificate, SCHEMA, UpstreamServer},
        kernel::Kernel,
        node::Node,
        plan::Numbered,
        upstream_report,
    },
    build_identity,
    worker::udp,
};

use super::workers::sum;

pub(super) fn status(node: &Node) -> api::Status {
    let (upstreams, certificates) = (node.upstream_servers(), node.presented_certificates());
    let problems = problems(node, &upstreams, &certificates);
    api::Status {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: build_identity::summary(),
        pid: std::process::id(),
        node_id: node.config().router.node_id,
        generation: node.generation,
        generations: node.describe_generations(),
        uptime_seconds: node.started.elapsed().as_secs(),
        healthy: problems.is_empty(),
        problems,
        interfaces: node.interfaces(),
        listeners: listeners(node),
        totals: sum(node),
        flow_table: node.steering.kernel().map(flow_table),
        memory: Some(node.memory()),
        connection_ids: node.connection_ids.describe(),
        upstreams,
        certificates,
    }
}

fn problems(node: &Node, upstreams: &[UpstreamServer], certificates: &[Certificate]) -> Vec<String> {
    let mut problems: Vec<String> = node.roster.read(|workers| {
        let dead = workers.iter().filter(|worker| !worker.is_running() && !worker.is_stopping());
        dead.map(|worker| format!("worker {} has ended: its connections are lost", worker.slot())).collect()
    });
    problems.extend(node.replacements.problems());
    problems.extend(node.device_problems());
    problems.extend(node.queue_problems());
    problems.extend(node.connection_ids.trouble());
    problems.extend(upstream_report::problems(upstreams, certificates));
    for info in &node.now().sockets {
        // The kernel reports twice what it was asked for.
        if info.receive_buffer < 2 * udp::RECEIVE_BUFFER as u64 {
            problems.push(format!(
                "slot {}: receive buffer is {} bytes, not {}: raise net.core.rmem_max or grant CAP_NET_ADMIN",
                info.slot,
                info.receive_buffer / 2,
                udp::RECEIVE_BUFFER
            ));
        }
    }
    problems
}

fn listeners(node: &Node) -> Vec<api::Listener> {
    let listener = |Numbered { id, listener }: &Numbered, state| api::Listener {
        id: *id,
        address: listener.address,
        certificates: match listener.certificates {
            crate::config::Certificates::Files(_) => api::CertificateSource::Files,
            crate::config::Certificates::SelfSigned => api::CertificateSource::SelfSigned,
        },
        state,
    };
    let now = node.now();
    let open = now.listeners.iter().map(|one| listener(one, api::ListenerState::Open));
    open.chain(now.closing.iter().map(|one| listener(one, api::ListenerState::Closing))).collect()
}

pub(in crate::agent) fn flow_table(kernel: &Kernel) -> api::FlowTable {
    use std::sync::atomic::Ordering::Relaxed;
    api::FlowTable {
        entries: kernel.entries.get(),
        capacity: kernel.capacity,
        full: kernel.full.load(Relaxed),
        swept: kernel.swept.load(Relaxed),
    }
}
