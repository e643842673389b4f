//! This generation among the others: what it is to the node, and which others still have connections.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use router_common::identifiers::GenerationId;
use tokio::sync::{Notify, oneshot};

use super::{error::TakeoverError, protocol::Neighbour, watch};
use crate::agent::{api::GenerationState, control::ControlSocket, error::AgentError, place::Place};

/// What this generation is to the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::agent) enum Phase {
    /// It gets ready to take over.
    Preparing,
    /// It serves, and what is pinned is its own.
    InCharge,
    /// It serves, while another one gets ready.
    HandingOver,
    /// Another one serves; it keeps the connections it has.
    Retired,
}

impl Phase {
    /// For people.
    pub(super) fn state(self) -> GenerationState {
        match self {
            Self::Preparing => GenerationState::Preparing,
            Self::InCharge => GenerationState::Serving,
            Self::HandingOver => GenerationState::HandingOver,
            Self::Retired => GenerationState::Draining,
        }
    }
}

/// Where the outcome of an upgrade goes.
pub(super) type UpgradeWaiter = oneshot::Sender<Result<Neighbour, AgentError>>;

/// This generation among the others.
pub(in crate::agent) struct Generations {
    phase: Cell<Phase>,
    /// Those before this one that still have connections.
    others: RefCell<Vec<Neighbour>>,
    retired: Cell<Option<Instant>>,
    upgrade_waiter: RefCell<Option<UpgradeWaiter>>,
    done: Notify,
    /// Whose name changes hands.
    control: OnceCell<Rc<ControlSocket>>,
}

impl Generations {
    /// After those in `before`; in charge at once if there are none.
    pub(in crate::agent) fn after(before: &[Neighbour]) -> Self {
        let phase = if before.is_empty() { Phase::InCharge } else { Phase::Preparing };
        Self {
            phase: Cell::new(phase),
            others: RefCell::new(before.to_vec()),
            retired: Cell::default(),
            upgrade_waiter: RefCell::default(),
            done: Notify::new(),
            control: OnceCell::new(),
        }
    }

    pub(in crate::agent) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Whether new clients are served here.
    pub(in crate::agent) fn serves(&self) -> bool {
        matches!(self.phase(), Phase::InCharge | Phase::HandingOver)
    }

    /// Refuses what cannot be done while another generation gets ready, or has taken over.
    ///
    /// # Errors
    /// If this one is not in charge.
    pub(in crate::agent) fn require_charge(&self) -> Result<(), TakeoverError> {
        match self.phase() {
            Phase::InCharge => Ok(()),
            Phase::Preparing | Phase::HandingOver => Err(TakeoverError::UnderWay),
            Phase::Retired => Err(TakeoverError::Retired),
        }
    }

    /// Another one gets ready.
    pub(super) fn begin_handover(&self) {
        self.phase.set(Phase::HandingOver);
    }

    /// This one is in charge, for the first time or again.
    pub(super) fn take_charge(&self) {
        self.phase.set(Phase::InCharge);
        self.retired.set(None);
    }

    /// Another one is in charge.
    pub(super) fn retire(&self) {
        self.phase.set(Phase::Retired);
        self.retired.set(Some(Instant::now()));
    }

    /// For how long another one has been in charge.
    pub(super) fn retired_for(&self) -> Option<Duration> {
        self.retired.get().map(|since| since.elapsed())
    }

    /// Asks those before this one to stop, too.
    pub(in crate::agent) fn stop_others(&self) {
        for other in self.others() {
            if let Err(e) = watch::terminate(other.pid) {
                tracing::debug!("generation {}: {e}", other.generation);
            }
        }
    }

    /// Slots of other generations, with their CPUs.
    pub(in crate::agent) fn places(&self) -> Vec<Place> {
        self.others.borrow().iter().flat_map(|other| other.places.clone()).collect()
    }

    /// The inodes of the sockets of other generations.
    pub(in crate::agent) fn inodes(&self) -> Vec<u64> {
        self.others.borrow().iter().flat_map(|other| other.sockets.clone()).collect()
    }

    /// The others.
    pub(in crate::agent) fn others(&self) -> Vec<Neighbour> {
        self.others.borrow().clone()
    }

    /// Takes note of what another generation says about itself.
    pub(in crate::agent) fn update(&self, other: Neighbour) {
        let mut others = self.others.borrow_mut();
        if let Some(known) = others.iter_mut().find(|known| known.generation == other.generation) {
            *known = other;
        }
    }

    /// Another generation has ended.
    pub(super) fn forget(&self, generation: GenerationId) {
        self.others.borrow_mut().retain(|known| known.generation != generation);
    }

    /// Nothing is left of this one's connections.
    pub(super) fn done(&self) {
        self.done.notify_one();
    }

    /// Waits until this one has retired and has no connection left.
    pub(in crate::agent) async fn over(&self) {
        self.done.notified().await;
    }

    /// Where the agent answers, from now on.
    pub(in crate::agent) fn attach_control(&self, control: &Rc<ControlSocket>) {
        // Once, right after the start.
        let _ = self.control.set(Rc::clone(control));
    }

    /// Where the agent answers.
    ///
    /// # Errors
    /// If it does not yet.
    pub(super) fn control(&self) -> Result<&ControlSocket, TakeoverError> {
        self.control.get().map(|control| &**control).ok_or(TakeoverError::NotYet)
    }

    /// Whether an upgrade was asked for that is under way.
    pub(super) fn is_upgrading(&self) -> bool {
        self.upgrade_waiter.borrow().is_some()
    }

    /// Who is told how the next handover ends; none: no upgrade was asked for.
    pub(super) fn await_upgrade(&self, waiter: Option<UpgradeWaiter>) {
        *self.upgrade_waiter.borrow_mut() = waiter;
    }

    /// Answers the request for an upgrade with the outcome of the handover.
    pub(super) fn answer(&self, outcome: Result<Neighbour, AgentError>) {
        match (self.upgrade_waiter.take(), outcome) {
            // The client may have gone.
            (Some(waiter), outcome) => drop(waiter.send(outcome)),
            (None, Err(e)) => tracing::error!("takeover: {e}"),
            (None, Ok(_)) => {}
        }
    }
}
