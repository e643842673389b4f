//! The old generation's side of a handover, and its way back.

use std::{
    collections::BTreeMap,
    os::unix::net::UnixStream as StdUnixStream,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use http::{HeaderMap, header};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use router_common::maps::SlotState;
use tokio::{net::UnixStream, task::spawn_local, time::timeout};

use super::{
    Kind, Neighbour, Offer, Phase,
    protocol::{Channel, FromNew, FromOld, PROTOCOL},
    upgrade::refuse_first_process,
    watch,
};
use crate::agent::{
    control::{Request, exchange},
    engine,
    error::StartError,
    node::Node,
};

pub(in crate::agent) use super::protocol::TARGET as HANDOVER;

/// Whether a request asks for the handover that this agent knows.
///
/// # Errors
/// If it is another version's.
pub(in crate::agent) fn refuse_other_versions(headers: &HeaderMap) -> Result<(), StartError> {
    match headers.get(header::UPGRADE).and_then(|asked| asked.to_str().ok()) {
        Some(PROTOCOL) => Ok(()),
        asked => Err(StartError::refused(format!(
            "this agent hands over by {PROTOCOL}, not by {}",
            asked.unwrap_or("plain HTTP")
        ))
        .with_hint("stop and start the agent: an upgrade in place is not possible between these versions")),
    }
}

/// Hands over to whoever is at the other end of `stream`, or serves on.
pub(in crate::agent) async fn hand_over(node: Rc<Node>, stream: UnixStream) {
    let mut channel = Channel::new(stream);
    let offer = match node.offer(&mut channel).await {
        Ok(offer) => offer,
        Err(e) => {
            let refused = FromOld::Refused { error: e.to_string(), hint: e.hint().map(str::to_owned) };
            let _ = channel.say(&refused).await;
            // While another one is under way, this was not the one that was asked for.
            match node.generations.phase() {
                Phase::InCharge => node.generations.answer(Err(e)),
                Phase::Preparing | Phase::HandingOver | Phase::Retired => tracing::warn!("no takeover: {e}"),
            }
            return;
        }
    };
    let mut successor = None;
    match node.accompany(&mut channel, offer, &mut successor).await {
        Ok(()) => {
            if let Some(successor) = successor {
                tracing::info!("generation {} has taken over", successor.generation);
                node.retire(successor.clone());
                node.generations.answer(Ok(successor));
            }
        }
        Err(e) => {
            tracing::warn!("no takeover: {e}; this generation serves on");
            if let Some(successor) = &successor {
                // It may be about to flip. Two in charge would be worse than none.
                watch::make_sure_it_has_ended(successor.pid).await;
            }
            node.resume();
            node.generations.answer(Err(e));
        }
    }
}

impl Node {
    /// What the new generation needs to know, if it may take over. From then on nothing is
    /// changed here but by the handover.
    async fn offer(&self, channel: &mut Channel) -> Result<Offer, StartError> {
        self.require_charge()?;
        refuse_first_process(std::process::id())?;
        self.restore_pins();
        self.refuse_hidden_pins()?;
        let hello = channel.hear(PATIENCE).await.map_err(|e| StartError::refused(format!("takeover: {e}")))?;
        let FromNew::Hello { version, kind } = hello else {
            return Err(StartError::refused("takeover: it does not begin with a greeting"));
        };
        let config = self.config();
        if self.steering.kernel().is_none() {
            return Err(StartError::refused("the engine is userspace: nothing steers packets between two processes")
                .with_hint("a restart; or an engine with BPF"));
        }
        if let Some(difference) = Kind::of(&config.router, config.connection_id.length).differs(&kind) {
            let message = format!("{version} cannot take over: {difference}");
            return Err(StartError::refused(message).with_hint("stop and start the agent"));
        }
        // Nothing can have come between: there was no waiting since.
        self.require_charge()?;
        let slots: Vec<u8> = self.steering.places().iter().map(|(slot, _)| *slot).collect();
        self.connection_ids.lend(&slots)?;
        self.generations.phase.set(Phase::HandingOver);
        let generations = std::iter::once(self.as_neighbour()).chain(self.generations.others()).collect();
        Ok(Offer { generations })
    }

    async fn accompany(
        &self,
        channel: &mut Channel,
        offer: Offer,
        successor: &mut Option<Neighbour>,
    ) -> Result<(), StartError> {
        let lost = |e: std::io::Error| StartError::refused(format!("the new generation: {e}"));
        channel.say(&FromOld::Offer(offer)).await.map_err(lost)?;
        let new = match channel.hear(PREPARING).await.map_err(lost)? {
            FromNew::Prepared(new) => new,
            FromNew::Failed { error, hint } => {
                let failed = StartError::refused(format!("the new generation: {error}"));
                return Err(match hint {
                    Some(hint) => failed.with_hint(hint),
                    None => failed,
                });
            }
            FromNew::Hello { .. } | FromNew::Flipped => {
                return Err(StartError::refused("takeover: unexpected message from the new generation"));
            }
        };
        self.steering.know_of_others(new.places.iter().map(|(slot, _)| *slot), SlotState::Active);
        *successor = Some(new);
        self.control()?.step_aside(self.generation)?;
        channel.say(&FromOld::Go).await.map_err(lost)?;
        match channel.hear(FLIPPING).await.map_err(lost)? {
            FromNew::Flipped => Ok(()),
            FromNew::Failed { error, .. } => Err(StartError::refused(format!("the new generation: {error}"))),
            FromNew::Hello { .. } | FromNew::Prepared(_) => {
                Err(StartError::refused("takeover: unexpected message from the new generation"))
            }
        }
    }

    /// The other one is in charge: what is here drains, and then this generation ends.
    fn retire(self: &Rc<Self>, successor: Neighbour) {
        self.generations.phase.set(Phase::Retired);
        self.generations.retired.set(Some(Instant::now()));
        self.instruments.close();
        if let Some(kernel) = self.steering.kernel() {
            kernel.datapath.borrow_mut().set_in_charge(false);
        }
        let own = self.steering.places().into_iter().map(|(slot, _)| slot);
        if let Err(e) = self.steering.set_state(own, SlotState::Draining, &self.beside()) {
            tracing::error!("retirement: {e}");
        }
        self.release_queues();
        let grace = self.config().router.drain_timeout;
        self.roster.read(|workers| {
            workers.iter().filter(|worker| !worker.is_stopping()).for_each(|worker| worker.drain(grace));
        });
        spawn_local(Rc::clone(self).stay_ready(successor));
    }

    /// Comes back if whoever is in charge ends without anybody in its place.
    async fn stay_ready(self: Rc<Self>, successor: Neighbour) {
        let mut pid = successor.pid;
        loop {
            watch::ended(pid).await;
            if self.roster.is_stopping() || self.generations.phase() != Phase::Retired {
                return;
            }
            match answering(&self.config().router.control) {
                Some(other) if other != pid => pid = other,
                _ => break,
            }
        }
        tracing::error!("generation {} has ended without a word: this one serves again", successor.generation);
        self.resume();
    }

    /// Puts everything back that another generation, which has ended, has changed.
    fn resume(self: &Rc<Self>) {
        if self.roster.is_stopping() {
            return;
        }
        self.generations.phase.set(Phase::InCharge);
        self.generations.retired.set(None);
        let config = self.config();
        let steps: [&dyn Fn() -> Result<(), StartError>; 6] = [
            &|| {
                let Some(kernel) = self.steering.kernel() else { return Ok(()) };
                let mut datapath = kernel.datapath.borrow_mut();
                datapath.set_in_charge(true);
                Ok(datapath.resume(&config.router.interfaces)?)
            },
            &|| self.select_again(),
            &|| self.connection_ids.take_back(),
            &|| self.activate_own_slots(),
            &|| self.steering.account_where_xdp_does_not(),
            &|| self.control()?.step_back(),
        ];
        for e in steps.iter().filter_map(|step| step().err()) {
            tracing::error!("serving again: {e}");
        }
        self.look_around();
        self.roster.read(|workers| {
            workers.iter().filter(|worker| !worker.is_stopping()).for_each(|worker| worker.undrain());
        });
        self.instruments.answer_again(self);
        self.service_manager.ready(&self.in_a_word());
        // Whoever has its connections there is told by a stateless reset.
        if let Err(e) = self.free_unknown_slots().and_then(|()| self.write_listeners()) {
            tracing::error!("serving again: {e}");
        }
    }

    /// Has our own slots get new connections again, in one write.
    fn activate_own_slots(&self) -> Result<(), StartError> {
        let leaving: Vec<u8> = self
            .roster
            .read(|workers| workers.iter().filter(|worker| worker.is_stopping()).map(|worker| worker.slot()).collect());
        let staying = self.steering.places().into_iter().map(|(slot, _)| slot).filter(|slot| !leaving.contains(slot));
        self.steering.set_state(staying, SlotState::Active, &self.beside())?;
        self.assign()
    }

    /// Puts our `select` in charge of the reuseport groups again.
    fn select_again(&self) -> Result<(), StartError> {
        let Some(kernel) = self.steering.kernel() else { return Ok(()) };
        let sockets = self.now().sockets.clone();
        let listeners: BTreeMap<u16, u64> = sockets.iter().map(|socket| (socket.listener, socket.inode)).collect();
        for inode in listeners.into_values() {
            engine::select_for(&mut kernel.datapath.borrow_mut(), inode)?;
        }
        Ok(())
    }
}

/// Tells the agent in charge how far this one is.
pub(super) async fn report(control: PathBuf, own: Neighbour) {
    let why = match timeout(PATIENCE, exchange(&control, &Request::Report(own))).await {
        Ok(Ok((status, _))) if status.is_success() => return,
        Ok(Ok((status, _))) => status.to_string(),
        Ok(Err(e)) => e.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::debug!("cannot report drain progress to the active generation: {why}");
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
