//! The whole agent at a glance.

use super::{problems::problems, workers::sum};
use crate::{
    agent::{
        api::{self, SCHEMA},
        observe::Observed,
    },
    build_identity,
};

/// Everything that `quic-router status` shows.
pub(in crate::agent) fn status(observed: Observed) -> api::Status {
    let (problems, totals) = (problems(&observed), sum(&observed));
    api::Status {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: build_identity::summary(),
        pid: std::process::id(),
        node_id: observed.node_id,
        generation: observed.generation.get(),
        generations: observed.generations,
        uptime_seconds: observed.uptime_seconds,
        healthy: problems.is_empty(),
        problems,
        interfaces: observed.interfaces,
        listeners: observed.listeners,
        totals,
        flow_table: observed.kernel.map(|kernel| kernel.flow_table),
        announced: observed.cluster.and_then(|cluster| cluster.announced),
        memory: Some(observed.memory),
        connection_ids: observed.connection_ids,
        upstreams: observed.upstreams,
        certificates: observed.certificates,
    }
}
