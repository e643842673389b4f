//! From what is there and what a configuration asks for to the steps in between: which listeners, workers and
//! interfaces come, stay and go.
//!
//! Nothing here asks the system or changes anything. The first start, the start beside another generation, a reload
//! and the replacement of a worker that crashed all plan here; they differ only in what is present.

use std::net::SocketAddr;

use nix::{
    errno::Errno,
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use router_common::{
    frame::Endpoint,
    identifiers::{CpuId, ListenerId, SlotId},
    maps::{self, ListenerKey},
};

use super::{
    addresses::mapped,
    engine,
    error::{ErrorKind, RoomError},
    known_listener::KnownListener,
    place::Place,
};
use crate::config::{Config, LISTENERS_MAX, Listener};

/// What a configuration asks for.
pub(super) struct Desired<'a> {
    /// How many workers.
    pub(super) workers: usize,
    pub(super) listeners: &'a [Listener],
    /// Interfaces to steer on; none where the engine does not go by interface.
    pub(super) interfaces: &'a [String],
}

impl<'a> Desired<'a> {
    /// What `config` asks for.
    pub(super) fn of(config: &'a Config) -> Self {
        let by_interface = engine::uses_xdp(config.router.engine);
        Self {
            workers: config.router.workers.get().into(),
            listeners: &config.listeners,
            interfaces: if by_interface { &config.router.interfaces } else { &[] },
        }
    }
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Present {
    /// CPUs that this process may use.
    pub(super) cpus: Vec<CpuId>,
    /// Workers that run and were not told to end.
    pub(super) workers: Vec<Place>,
    /// All slots that are taken, other generations' too.
    pub(super) taken: Vec<Place>,
    /// Where the worker was that crashed last: its slot is not taken again at once, so that what is still sent to it
    /// is answered with a stateless reset.
    pub(super) crashed: Option<Place>,
    /// Listeners that take new connections.
    pub(super) listeners: Vec<Numbered>,
    /// Listeners whose last connections have yet to end.
    pub(super) closing: Vec<Numbered>,
    /// Listeners of other generations.
    pub(super) others: Vec<KnownListener>,
    /// Interfaces that packets are steered on.
    pub(super) interfaces: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Steps {
    /// Listeners that stay, as the new configuration has them.
    pub(super) kept: Vec<Numbered>,
    pub(super) new: Vec<Numbered>,
    /// Listeners that close: their connections have `router.drain_timeout` to end.
    pub(super) gone: Vec<Numbered>,
    pub(super) staying: Vec<Place>,
    /// Workers that end when their connections have.
    pub(super) leaving: Vec<Place>,
    pub(super) starting: Vec<Place>,
    /// Interfaces to attach to, and to detach from.
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
}

/// Why there is no way from the one to the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlanError {
    /// An address that was given up comes back before its last connection has ended.
    #[error("listener {0} is still draining its previous connections")]
    StillClosing(SocketAddr),
    /// [`LISTENERS_MAX`] are there, those counted that close.
    #[error("listener {0}: no number is free for it")]
    NoNumber(SocketAddr),
    /// There are 256 slots.
    #[error("router.workers: {taken} of 256 slots are taken, and {wanted} more are needed")]
    NoSlots { taken: usize, wanted: usize },
    /// The kernel does not say which CPUs there are for workers.
    #[error("cannot read this process's CPU affinity: {0}")]
    NoCpus(Errno),
}

impl RoomError for PlanError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoCpus(_) => ErrorKind::Kernel,
            Self::StillClosing(_) | Self::NoNumber(_) | Self::NoSlots { .. } => ErrorKind::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::StillClosing(_) => "again in a while: router.drain_timeout at most",
            Self::NoNumber(_) => "again in a while: some listeners are about to end",
            Self::NoSlots { .. } => "again when workers or generations that drain have ended, or fewer workers",
            Self::NoCpus(_) => return None,
        };
        Some(hint.to_owned())
    }
}

/// The steps from what is `present` to what is `desired`.
///
/// # Errors
/// If there are none, for now.
pub(super) fn plan(desired: &Desired<'_>, present: &Present) -> Result<Steps, PlanError> {
    let is_closing = |listener: &&Listener| present.closing.iter().any(|one| one.listener.address == listener.address);
    if let Some(listener) = desired.listeners.iter().find(is_closing) {
        return Err(PlanError::StillClosing(listener.address));
    }
    let own = present.listeners.iter().chain(&present.closing).map(Numbered::known);
    let known: Vec<_> = own.chain(present.others.iter().copied()).collect();
    let listeners = number_listeners(desired.listeners, &known);
    if let Some(beyond) = listeners.iter().find(|listener| usize::from(listener.id) >= LISTENERS_MAX) {
        return Err(PlanError::NoNumber(beyond.listener.address));
    }
    let was_there = |one: &Numbered| present.listeners.iter().any(|old| old.id == one.id);
    let stays = |old: &&Numbered| listeners.iter().any(|one| one.id == old.id);
    let gone = present.listeners.iter().filter(|old| !stays(old)).cloned().collect();
    let (kept, new) = listeners.iter().cloned().partition(was_there);

    let mut staying = present.workers.clone();
    staying.sort_unstable();
    let leaving = staying.split_off(desired.workers.min(staying.len()));
    let wanted = desired.workers - staying.len();
    let starting = place(wanted, present);
    if starting.len() < wanted {
        return Err(PlanError::NoSlots { taken: present.taken.len(), wanted });
    }
    let lacks = |there: &[String], name: &&String| !there.contains(name);
    let added = desired.interfaces.iter().filter(|name| lacks(&present.interfaces, name)).cloned().collect();
    let removed = present.interfaces.iter().filter(|name| lacks(desired.interfaces, name)).cloned().collect();
    Ok(Steps { kept, new, gone, staying, leaving, starting, added, removed })
}

/// Free slots for `count` more workers, each with the CPU that has the fewest. After a crash the search for slots
/// begins behind the slot of the worker that crashed, and its CPU is taken before others that are no emptier.
fn place(count: usize, present: &Present) -> Vec<Place> {
    let mut all = present.taken.clone();
    let first = present.crashed.map_or(0, |crashed| usize::from(crashed.slot) + 1);
    let slots = SlotId::all().cycle().skip(first).take(256);
    let free = slots.filter(|slot| !present.taken.iter().any(|taken| taken.slot == *slot));
    for slot in free.take(count) {
        let workers_on = |cpu: CpuId| all.iter().filter(|place| place.cpu == cpu).count();
        let was_another = |cpu: CpuId| present.crashed.is_some_and(|crashed| crashed.cpu != cpu);
        let emptiest = present.cpus.iter().min_by_key(|&&cpu| (workers_on(cpu), was_another(cpu)));
        let Some(&cpu) = emptiest else { break };
        all.push(Place { slot, cpu });
    }
    all.split_off(present.taken.len())
}

/// CPUs that this process may use.
///
/// # Errors
/// If the kernel does not say.
pub(super) fn usable_cpus() -> Result<Vec<CpuId>, PlanError> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(PlanError::NoCpus)?;
    let usable = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    Ok(usable.map(|cpu| CpuId::new(cpu as u32)).collect())
}

/// A listener, as the configuration has it, and its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbered {
    /// In the maps `listeners` and `sockets`; 0 to [`LISTENERS_MAX`] - 1.
    pub(super) id: ListenerId,
    pub(super) listener: Listener,
}

impl Numbered {
    /// As other generations know it.
    pub(super) fn known(&self) -> KnownListener {
        KnownListener { id: self.id, address: self.listener.address }
    }

    /// As the maps know it.
    pub(super) fn entry(&self) -> (ListenerKey, maps::Listener) {
        entry(self.id, self.listener.address)
    }
}

/// A listener as the maps know it.
pub(super) fn entry(id: ListenerId, address: SocketAddr) -> (ListenerKey, maps::Listener) {
    (ListenerKey::exact(&Endpoint { address: mapped(address.ip()), port: address.port() }), maps::Listener::new(id))
}

/// The listeners of a configuration with their numbers: those they have `before`, or the lowest
/// that are free.
fn number_listeners(listeners: &[Listener], before: &[KnownListener]) -> Vec<Numbered> {
    let mut numbered: Vec<Numbered> = Vec::new();
    for listener in listeners {
        let same = before.iter().find(|known| known.address == listener.address).map(|known| known.id);
        let taken = |id: &ListenerId| {
            before.iter().any(|known| known.id == *id) || numbered.iter().any(|known| known.id == *id)
        };
        let id = same
            .or_else(|| (0..=u16::MAX).map(ListenerId::new).find(|id| !taken(id)))
            .unwrap_or(ListenerId::new(u16::MAX));
        numbered.push(Numbered { id, listener: listener.clone() });
    }
    numbered
}

impl Steps {
    /// The listeners of the new configuration, in the order of its file.
    pub(super) fn listeners(&self, desired: &[Listener]) -> Vec<Numbered> {
        let all = || self.kept.iter().chain(&self.new);
        let numbered = |listener: &Listener| all().find(|one| one.listener.address == listener.address).cloned();
        desired.iter().filter_map(numbered).collect()
    }

    /// What changes, for people: one sentence each.
    pub(super) fn sentences(&self) -> Vec<String> {
        let slots = |places: &[Place]| places.iter().map(|place| place.slot.to_string()).collect::<Vec<_>>().join(", ");
        let mut sentences = Vec::new();
        sentences.extend(self.new.iter().map(|one| format!("listening on {}", one.listener.address)));
        let gone = |one: &Numbered| format!("no longer listening on {}: its connections may end", one.listener.address);
        sentences.extend(self.gone.iter().map(gone));
        sentences.extend(self.added.iter().map(|name| format!("interface {name} added")));
        sentences.extend(self.removed.iter().map(|name| format!("interface {name} removed")));
        if !self.starting.is_empty() {
            sentences.push(format!("workers started in slots {}", slots(&self.starting)));
        }
        if !self.leaving.is_empty() {
            sentences.push(format!("workers of slots {} end when their connections have", slots(&self.leaving)));
        }
        sentences
    }
}

#[cfg(test)]
mod tests;
