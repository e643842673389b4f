//! Generations of the agent side by side: each takes over from the one before it, which drains.
//!
//! ```text
//!  new                                   old
//!  Hello ──────────────────────────────► is it of our kind? what is written down is lent
//!      ◄──────────────────────── Offer   slots, sockets and listeners that are taken
//!  slots, sockets, programs, workers;
//!  the probe is served
//!  Prepared ───────────────────────────► the control socket's name goes aside
//!      ◄─────────────────────────── Go
//!  one write: the assignment flips
//!  Flipped ────────────────────────────► its slots drain, and it ends with its last connection
//! ```
//!
//! Up to the flip the old one serves as if nothing was. Whenever the new one ends while the old
//! one is still there, the old one puts everything back and serves again: before the flip, and
//! after it too.

mod new;
mod old;
mod probe;
mod protocol;
mod upgrade;
mod watch;

use std::{
    cell::{Cell, RefCell},
    fs,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use router_common::maps::Settings;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, oneshot},
    task::spawn_local,
};

pub(super) use self::{
    new::TakeOver,
    old::{HANDOVER, hand_over, refuse_other_versions},
    protocol::{Neighbour, Offer, PROTOCOL},
    upgrade::upgrade,
};
use super::{
    api::{self, GenerationState},
    error::StartError,
    node::Node,
};
use crate::{config::Router, worker::Worker};

/// What this generation is to the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It gets ready to take over.
    Preparing,
    /// It serves, and what is pinned is its own.
    InCharge,
    /// It serves, while another one gets ready.
    HandingOver,
    /// Another one serves; it keeps the connections it has.
    Retired,
}

/// This generation among the others.
pub(super) struct Generations {
    phase: Cell<Phase>,
    /// Those before this one that still have connections.
    others: RefCell<Vec<Neighbour>>,
    retired: Cell<Option<Instant>>,
    /// Where to tell how a handover ended that was asked for.
    asked: RefCell<Option<oneshot::Sender<Result<Neighbour, StartError>>>>,
    over: Notify,
}

impl Generations {
    /// After those in `before`; in charge at once if there are none.
    pub(super) fn after(before: &[Neighbour]) -> Self {
        let phase = if before.is_empty() { Phase::InCharge } else { Phase::Preparing };
        Self {
            phase: Cell::new(phase),
            others: RefCell::new(before.to_vec()),
            retired: Cell::default(),
            asked: RefCell::default(),
            over: Notify::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Asks those before this one to stop, too.
    pub(super) fn stop_others(&self) {
        for other in self.others() {
            if let Err(e) = watch::terminate(other.pid) {
                tracing::debug!("generation {}: {e}", other.generation);
            }
        }
    }

    /// Slots of other generations, with their CPUs.
    pub(super) fn places(&self) -> Vec<(u8, u32)> {
        self.others.borrow().iter().flat_map(|other| other.places.clone()).collect()
    }

    /// The others.
    pub(super) fn others(&self) -> Vec<Neighbour> {
        self.others.borrow().clone()
    }

    /// Waits until this one has retired and has no connection left.
    pub(super) async fn over(&self) {
        self.over.notified().await;
    }

    /// Answers the request for an upgrade with the outcome of the handover.
    fn answer(&self, outcome: Result<Neighbour, StartError>) {
        match (self.asked.take(), outcome) {
            // Who asked may have gone.
            (Some(asked), outcome) => drop(asked.send(outcome)),
            (None, Err(e)) => tracing::error!("takeover: {e}"),
            (None, Ok(_)) => {}
        }
    }
}

impl Node {
    /// Refuses what cannot be done while another generation gets ready, or has taken over.
    ///
    /// # Errors
    /// If this one is not in charge.
    pub(super) fn require_charge(&self) -> Result<(), StartError> {
        match self.generations.phase() {
            Phase::InCharge => Ok(()),
            Phase::Preparing | Phase::HandingOver => {
                Err(StartError::refused("another generation is taking over").with_hint("again in a few seconds"))
            }
            Phase::Retired => Err(StartError::refused("another generation has taken over; this one drains")
                .with_hint("asking that one: its control socket is the configured one")),
        }
    }

    /// This generation, as others have to know it.
    pub(super) fn as_neighbour(&self) -> Neighbour {
        let now = self.now();
        Neighbour {
            generation: self.generation,
            pid: std::process::id(),
            places: self.steering.places(),
            sockets: now.sockets.iter().map(|socket| socket.inode).collect(),
            listeners: now.listeners.iter().chain(&now.closing).map(|one| (one.id, one.listener.address)).collect(),
            connections: self.connections_now(),
            seconds_left: self.seconds_left(),
            age_seconds: self.started.elapsed().as_secs(),
            unprobed: Vec::new(),
        }
    }

    /// All generations, this one first.
    pub(super) fn describe_generations(&self) -> Vec<api::Generation> {
        let describe = |one: &Neighbour, state| api::Generation {
            generation: one.generation,
            pid: one.pid,
            state,
            slots: one.places.iter().map(|(slot, _)| *slot).collect(),
            connections: one.connections,
            age_seconds: one.age_seconds,
            seconds_left: one.seconds_left,
            may_be_stopped: state == GenerationState::Draining && one.connections == 0,
        };
        let own = match self.generations.phase() {
            Phase::Preparing => GenerationState::Preparing,
            Phase::InCharge => GenerationState::Serving,
            Phase::HandingOver => GenerationState::HandingOver,
            Phase::Retired => GenerationState::Draining,
        };
        let others = self.generations.others();
        std::iter::once(describe(&self.as_neighbour(), own))
            .chain(others.iter().map(|other| describe(other, GenerationState::Draining)))
            .collect()
    }

    /// Connections over QUIC and over TCP: what there is to wait for.
    fn connections_now(&self) -> u64 {
        let of = |worker: &Worker| {
            let totals = worker.stats().totals();
            totals.connections_now + totals.tcp_connections_now
        };
        self.roster.read(|workers| workers.iter().map(of).sum())
    }

    fn seconds_left(&self) -> Option<u64> {
        let end = self.roster.read(|workers| workers.iter().filter_map(|worker| worker.drains_until()).max());
        let retired = self.generations.phase() == Phase::Retired;
        end.filter(|_| retired).map(|end| end.saturating_duration_since(Instant::now()).as_secs())
    }

    /// What a generation that has retired looks after: it tells the one in charge how far it is,
    /// and ends when it has nothing left.
    pub(super) fn look_after_retirement(&self) {
        let Some(retired) = self.generations.retired.get() else { return };
        spawn_local(old::report(self.config().router.control.clone(), self.as_neighbour()));
        let closed = self.roster.read(|workers| workers.iter().all(|worker| worker.is_done()));
        if retired.elapsed() > ON_THEIR_WAY && closed {
            self.generations.over.notify_one();
        }
    }

    /// Takes note of what another generation says about itself.
    pub(super) fn hear_of(&self, other: Neighbour) {
        let mut others = self.generations.others.borrow_mut();
        if let Some(known) = others.iter_mut().find(|known| known.generation == other.generation) {
            *known = other;
        }
    }
}

/// How long packets may be on their way to a generation that the assignment no longer names.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);

/// What the running generation and this one have to have in common.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Kind {
    schema: u32,
    node_id: u16,
    cid_length: usize,
    bpf_dir: PathBuf,
    state_dir: PathBuf,
    /// The inode of its network namespace: elsewhere it would have other sockets and other interfaces.
    #[serde(default)]
    network: Option<u64>,
}

impl Kind {
    pub(super) fn of(router: &Router, cid_length: u8) -> Self {
        let settings = Settings::new(router.node_id, cid_length, 0);
        Self {
            schema: settings.schema(),
            node_id: settings.node_id(),
            cid_length: settings.cid_length(),
            bpf_dir: router.bpf_dir.clone(),
            state_dir: router.state_dir.clone(),
            network: fs::metadata("/proc/self/ns/net").ok().map(|namespace| namespace.ino()),
        }
    }

    /// What of `other` is not as here, in words.
    fn differs(&self, other: &Self) -> Option<String> {
        let network = |kind: &Self| kind.network.map_or_else(|| "unknown".to_owned(), |inode| inode.to_string());
        let both_known = self.network.is_some() && other.network.is_some();
        let mut differences = vec![
            ("the maps' schema", self.schema.to_string(), other.schema.to_string()),
            ("router.node_id", self.node_id.to_string(), other.node_id.to_string()),
            ("connection_id.length", self.cid_length.to_string(), other.cid_length.to_string()),
            ("router.bpf_dir", self.bpf_dir.display().to_string(), other.bpf_dir.display().to_string()),
            ("router.state_dir", self.state_dir.display().to_string(), other.state_dir.display().to_string()),
        ];
        if both_known {
            differences.push(("the network namespace", network(self), network(other)));
        }
        let found = differences.into_iter().find(|(_, ours, theirs)| ours != theirs);
        found.map(|(what, ours, theirs)| format!("{what} is {ours} here and {theirs} there"))
    }
}
