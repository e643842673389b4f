//! The old generation's side of a handover, and its way back.

use std::{collections::BTreeMap, os::unix::net::UnixStream as StdUnixStream, path::Path, rc::Rc, time::Duration};

use http::{HeaderMap, header};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use router_common::{
    identifiers::{ListenerId, SlotId},
    maps::SlotState,
};
use tokio::net::UnixStream;

use super::{
    compatibility::Compatibility,
    error::TakeoverError,
    generations::Phase,
    protocol::{Channel, FromNew, FromOld, Neighbour, Offer, PROTOCOL},
    report,
    upgrade::refuse_first_process,
    watch,
};
use crate::{
    agent::{admission, cluster, drain, error::AgentError, health::NodeHealth, listeners, node::Node, rescan, turns},
    worker::Worker,
};

pub(in crate::agent) use super::protocol::TARGET as HANDOVER;

/// Whether a request asks for the handover that this agent knows.
///
/// # Errors
/// If it is another version's.
pub(in crate::agent) fn refuse_other_versions(headers: &HeaderMap) -> Result<(), TakeoverError> {
    match headers.get(header::UPGRADE).and_then(|asked| asked.to_str().ok()) {
        Some(PROTOCOL) => Ok(()),
        asked => Err(TakeoverError::OtherProtocol(asked.unwrap_or("plain HTTP").to_owned())),
    }
}

/// Hands over to the generation at the other end of `stream`, or serves on.
pub(in crate::agent) async fn hand_over(node: Rc<Node>, stream: UnixStream) {
    let mut channel = Channel::new(stream);
    let offer = match offer(&node, &mut channel).await {
        Ok(offer) => offer,
        Err(e) => {
            let _ = channel.say(&FromOld::Refused((&e).into())).await;
            // While another one is under way, this was not the one that was asked for.
            match node.generations.phase() {
                Phase::InCharge => node.generations.answer(Err(e)),
                Phase::Preparing | Phase::HandingOver | Phase::Retired => tracing::warn!("no takeover: {e}"),
            }
            return;
        }
    };
    let mut successor = None;
    match accompany(&node, &mut channel, offer, &mut successor).await {
        Ok(()) => {
            if let Some(successor) = successor {
                tracing::info!("generation {} has taken over", successor.generation);
                retire(&node, successor.clone());
                node.generations.answer(Ok(successor));
            }
        }
        Err(e) => {
            tracing::warn!("no takeover: {e}; this generation serves on");
            if let Some(successor) = &successor {
                // It may be about to flip. Two in charge would be worse than none.
                watch::make_sure_it_has_ended(successor.pid).await;
            }
            resume(&node);
            node.generations.answer(Err(e));
        }
    }
}

/// What the new generation needs to know, if it may take over. From then on nothing is
/// changed here but by the handover.
async fn offer(node: &Node, channel: &mut Channel) -> Result<Offer, AgentError> {
    node.generations.require_charge()?;
    refuse_first_process(std::process::id())?;
    let config = node.serving.config();
    if let Some(kernel) = node.steering.kernel() {
        node.interfaces.restore_pins(kernel);
        node.interfaces.refuse_hidden_pins(&config.router)?;
    }
    let hello = channel.hear(PATIENCE).await.map_err(TakeoverError::NotGreeted)?;
    let FromNew::Hello { version, kind } = hello else {
        return Err(TakeoverError::NoGreeting.into());
    };
    let config = node.serving.config();
    if node.steering.kernel().is_none() {
        return Err(TakeoverError::NothingSteers.into());
    }
    if let Some(difference) = Compatibility::of(&config.router, config.connection_id.length).differs(&kind) {
        return Err(TakeoverError::OtherKind { version, difference }.into());
    }
    // Nothing can have come between: there was no waiting since.
    node.generations.require_charge()?;
    node.keys.lend(&node.steering.slots())?;
    node.generations.begin_handover();
    let generations = std::iter::once(report::own(node)).chain(node.generations.others()).collect();
    let is_confirmed = node.cluster.as_ref().is_none_or(|cluster| cluster.standing().is_confirmed());
    Ok(Offer { generations, is_confirmed })
}

async fn accompany(
    node: &Node,
    channel: &mut Channel,
    offer: Offer,
    successor: &mut Option<Neighbour>,
) -> Result<(), AgentError> {
    channel.say(&FromOld::Offer(offer)).await.map_err(TakeoverError::NewLost)?;
    let new = match channel.hear(PREPARING).await.map_err(TakeoverError::NewLost)? {
        FromNew::Prepared(new) => new,
        FromNew::Failed(told) => return Err(TakeoverError::NewFailed(told).into()),
        FromNew::Hello { .. } | FromNew::Flipped => return Err(TakeoverError::NewOutOfTurn.into()),
    };
    node.steering.know_of_others(new.places.iter().map(|place| place.slot), SlotState::Active);
    *successor = Some(new);
    node.generations.control()?.step_aside(node.generation)?;
    channel.say(&FromOld::Go).await.map_err(TakeoverError::NewLost)?;
    match channel.hear(FLIPPING).await.map_err(TakeoverError::NewLost)? {
        FromNew::Flipped => Ok(()),
        FromNew::Failed(told) => Err(TakeoverError::NewFailed(told).into()),
        FromNew::Hello { .. } | FromNew::Prepared(_) => Err(TakeoverError::NewOutOfTurn.into()),
    }
}

/// The other one is in charge: what is here drains, and then this generation ends.
fn retire(node: &Rc<Node>, successor: Neighbour) {
    node.generations.retire();
    node.observability.close();
    if let Some(kernel) = node.steering.kernel() {
        kernel.datapath.borrow_mut().set_in_charge(false);
    }
    let own = node.steering.slots();
    if let Err(e) = node.steering.set_state(own, SlotState::Draining, &node.slot_context()) {
        tracing::error!("retirement: {e}");
    }
    node.queues.release(node.steering.kernel(), &node.roster);
    // The other one writes them from now on.
    node.local_addresses.leave();
    cluster::leave(node);
    if let Some(cluster) = &node.cluster {
        cluster.leave_announcing(successor.announce_table);
    }
    let grace = node.serving.config().router.drain_timeout;
    node.roster.read(|workers| {
        workers.iter().filter(|worker| !worker.is_stopping()).for_each(|worker| worker.drain(grace));
    });
    turns::spawn("standby", standby(Rc::clone(node), successor));
}

/// Serves again if the generation in charge ends without another one in its place.
async fn standby(node: Rc<Node>, successor: Neighbour) {
    let mut pid = successor.pid;
    loop {
        watch::ended(pid).await;
        if node.roster.is_stopping() || node.generations.phase() != Phase::Retired {
            return;
        }
        match answering(&node.serving.config().router.control) {
            Some(other) if other != pid => pid = other,
            _ => break,
        }
    }
    tracing::error!("generation {} has ended unannounced: this one serves again", successor.generation);
    resume(&node);
}

/// Puts everything back that another generation, which has ended, has changed.
fn resume(node: &Rc<Node>) {
    if node.roster.is_stopping() {
        return;
    }
    node.generations.take_charge();
    let config = node.serving.config();
    let steps: [&dyn Fn() -> Result<(), AgentError>; 6] = [
        &|| {
            let Some(kernel) = node.steering.kernel() else { return Ok(()) };
            let mut datapath = kernel.datapath.borrow_mut();
            datapath.set_in_charge(true);
            Ok(datapath.resume(&config.router.interfaces)?)
        },
        &|| select_again(node),
        &|| Ok(node.keys.take_back()?),
        &|| activate_own_slots(node),
        &|| node.steering.account_where_xdp_does_not(),
        &|| Ok(node.generations.control()?.step_back()?),
    ];
    for e in steps.iter().filter_map(|step| step().err()) {
        tracing::error!("serving again: {e}");
    }
    admission::bring_into_force(&node.steering, &config);
    node.blocks.take_charge(&node.steering, &config);
    cluster::take_charge(node);
    rescan::rescan(node);
    node.roster.read(|workers| {
        workers.iter().filter(|worker| !worker.is_stopping()).for_each(|worker| worker.undrain());
    });
    node.observability.answer_again(&config, &NodeHealth::of(node));
    node.service_manager.ready(&node.one_line_status());
    // What is still sent to connections there is answered by a stateless reset.
    if let Err(e) = free_unknown_slots(node).and_then(|()| listeners::write(node)) {
        tracing::error!("serving again: {e}");
    }
}

/// Has our own slots get new connections again, in one write.
fn activate_own_slots(node: &Node) -> Result<(), AgentError> {
    let leaves = |slot: &SlotId| node.roster.of_slot(*slot, Worker::is_stopping).unwrap_or(false);
    let staying = node.steering.slots().into_iter().filter(|slot| !leaves(slot));
    node.steering.set_state(staying, SlotState::Active, &node.slot_context())?;
    drain::assign(node)
}

/// Puts our `select` in charge of the reuseport groups again.
fn select_again(node: &Node) -> Result<(), AgentError> {
    let sockets = node.serving.sockets();
    let one_each: BTreeMap<ListenerId, u64> = sockets.iter().map(|socket| (socket.listener, socket.inode)).collect();
    one_each.into_values().try_for_each(|inode| node.steering.select_for(inode))
}

/// Frees every slot that is neither ours nor another generation's that we know of.
fn free_unknown_slots(node: &Node) -> Result<(), AgentError> {
    let known = [node.steering.places(), node.generations.places()].concat();
    let unknown: Vec<_> = SlotId::all().filter(|slot| !known.iter().any(|place| place.slot == *slot)).collect();
    node.steering.free_of_others(&unknown, &node.slot_context())
}

/// The process that answers at `control`, if one does.
fn answering(control: &Path) -> Option<u32> {
    let stream = StdUnixStream::connect(control).ok()?;
    let peer = getsockopt(&stream, PeerCredentials).ok()?;
    u32::try_from(peer.pid()).ok()
}

const PATIENCE: Duration = Duration::from_secs(10);
/// How long the new generation may take to be ready.
const PREPARING: Duration = Duration::from_secs(60);
const FLIPPING: Duration = Duration::from_secs(10);
