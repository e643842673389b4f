//! What this generation says about itself: to other generations, and to people.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::{task::spawn_local, time::timeout};

use super::{generations::Phase, protocol::Neighbour};
use crate::agent::{
    api::{self, GenerationState},
    control::{Request, exchange},
    node::Node,
};

/// This generation, as others have to know it.
pub(super) fn own(node: &Node) -> Neighbour {
    Neighbour {
        generation: node.generation,
        pid: std::process::id(),
        places: node.steering.places(),
        sockets: node.serving.inodes(),
        listeners: node.serving.addresses(),
        connections: node.roster.connections(),
        seconds_left: seconds_left(node),
        age_seconds: node.started.elapsed().as_secs(),
        unprobed: Vec::new(),
        tunnel: node.cluster.as_ref().and_then(|cluster| cluster.tunnel().local_addr()),
        announce_table: node.serving.config().cluster.as_ref().and_then(|cluster| cluster.announce_table),
    }
}

/// All generations, this one first.
pub(in crate::agent) fn describe(node: &Node) -> Vec<api::Generation> {
    let describe = |one: &Neighbour, state| api::Generation {
        generation: one.generation.get(),
        pid: one.pid,
        state,
        slots: one.places.iter().map(|place| place.slot.get()).collect(),
        connections: one.connections,
        age_seconds: one.age_seconds,
        seconds_left: one.seconds_left,
        may_be_stopped: state == GenerationState::Draining && one.connections == 0,
    };
    let others = node.generations.others();
    std::iter::once(describe(&own(node), node.generations.phase().state()))
        .chain(others.iter().map(|other| describe(other, GenerationState::Draining)))
        .collect()
}

/// What a generation that has retired does now and then: it tells the one in charge how far it is,
/// and ends when it has nothing left.
pub(in crate::agent) fn reconcile_retirement(node: &Node) {
    let Some(retired) = node.generations.retired_for() else { return };
    spawn_local(tell(node.serving.config().router.control.clone(), own(node)));
    let closed = node.roster.read(|workers| workers.iter().all(|worker| worker.is_done()));
    if retired > IN_FLIGHT_GRACE && closed {
        node.generations.done();
    }
}

fn seconds_left(node: &Node) -> Option<u64> {
    let end = node.roster.read(|workers| workers.iter().filter_map(|worker| worker.drains_until()).max());
    let retired = node.generations.phase() == Phase::Retired;
    end.filter(|_| retired).map(|end| end.saturating_duration_since(Instant::now()).as_secs())
}

/// Tells the agent in charge how far this one is.
async fn tell(control: PathBuf, own: Neighbour) {
    let why = match timeout(REPORT_TIMEOUT, exchange(&control, &Request::Report(own))).await {
        Ok(Ok((status, _))) if status.is_success() => return,
        Ok(Ok((status, _))) => status.to_string(),
        Ok(Err(e)) => e.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::debug!("cannot report drain progress to the active generation: {why}");
}

/// How long packets may be on their way to a generation that the assignment no longer names.
const IN_FLIGHT_GRACE: Duration = Duration::from_secs(1);
const REPORT_TIMEOUT: Duration = Duration::from_secs(10);
