//! The workers of this generation: started, asked, told to end, and counted on when they are gone.

use std::{cell::RefCell, convert::Infallible, sync::Arc, time::Duration};

use router_common::{
    admission::Prefix,
    identifiers::{ConfigRotation, SlotId},
};
use tokio::{
    sync::{Mutex, Notify, mpsc},
    time::timeout,
};

use super::{
    api::Totals,
    crashed::Crashed,
    error::{ErrorKind, RoomError},
    place::Place,
    retired_workers::Departed,
};
use crate::worker::{Plan, Shared, Worker, WorkerError};

/// Who works, and what those who have ended had counted.
pub(super) struct Roster {
    workers: RefCell<Vec<Worker>>,
    departed: RefCell<Departed>,
    /// Those that have no successor yet.
    pub(super) crashed: Crashed,
    /// What workers share; none once the agent stops.
    shared: RefCell<Option<Shared>>,
    ended: Arc<Notify>,
    /// Closed when the last worker has ended.
    alive: Mutex<mpsc::Receiver<Infallible>>,
}

/// Why there is no worker more.
#[derive(Debug, thiserror::Error)]
pub(super) enum RosterError {
    /// All are about to end.
    #[error("the agent is about to stop")]
    Stopping,
    /// It has no thread, or cannot use a socket.
    #[error(transparent)]
    NotStarted(WorkerError),
}

impl RoomError for RosterError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Stopping => ErrorKind::Refused,
            Self::NotStarted(_) => ErrorKind::Kernel,
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

impl Roster {
    /// Without workers yet. Each worker will hold the sender that belongs to `alive`.
    pub(super) fn new(shared: Shared, alive: mpsc::Receiver<Infallible>) -> Self {
        Self {
            workers: RefCell::default(),
            departed: RefCell::default(),
            crashed: Crashed::default(),
            ended: shared.ended(),
            shared: RefCell::new(Some(shared)),
            alive: Mutex::new(alive),
        }
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// If the system gives no thread, or the agent is about to stop.
    pub(super) fn start(&self, plan: Plan) -> Result<(), RosterError> {
        let shared = self.shared.borrow().clone();
        let shared = shared.ok_or(RosterError::Stopping)?;
        let worker = Worker::start(plan, shared).map_err(RosterError::NotStarted)?;
        self.workers.borrow_mut().push(worker);
        Ok(())
    }

    /// Runs `read` over the workers.
    pub(super) fn read<T>(&self, read: impl FnOnce(&[Worker]) -> T) -> T {
        read(&self.workers.borrow())
    }

    /// Runs `act` over the worker of a slot; none if no worker is there.
    pub(super) fn of_slot<T>(&self, slot: SlotId, act: impl FnOnce(&Worker) -> T) -> Option<T> {
        self.read(|workers| workers.iter().find(|worker| worker.slot() == slot).map(act))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.workers.borrow().len()
    }

    /// Where those are that run and were not told to end.
    pub(super) fn staying(&self) -> Vec<Place> {
        self.read(|workers| {
            let staying = workers.iter().filter(|worker| worker.is_running() && !worker.is_stopping());
            staying.map(|worker| Place { slot: worker.slot(), cpu: worker.cpu() }).collect()
        })
    }

    /// Connections over QUIC and over TCP: what there is to wait for.
    pub(super) fn connections(&self) -> u64 {
        let of = |worker: &Worker| {
            let totals = worker.stats().totals();
            totals.connections_now + totals.tcp_connections_now
        };
        self.read(|workers| workers.iter().map(of).sum())
    }

    /// Takes those off the list that have ended. What they have counted stays counted.
    pub(super) fn take_ended(&self) -> Vec<Worker> {
        let ended: Vec<_> = self.workers.borrow_mut().extract_if(.., |worker| !worker.is_running()).collect();
        ended.iter().for_each(|worker| self.departed.borrow_mut().add(worker));
        ended
    }

    /// Waits until a worker has ended.
    pub(super) async fn one_ended(&self) {
        self.ended.notified().await;
    }

    /// What those who are gone have counted.
    pub(super) fn departed(&self) -> Totals {
        self.departed.borrow().totals()
    }

    /// Closes the connections of clients in `prefix` that the block list drops; how many.
    pub(super) async fn close_blocked(&self, prefix: Prefix) -> u64 {
        let asked: Vec<_> = self.read(|workers| workers.iter().map(|worker| worker.close_blocked(prefix)).collect());
        let mut closed = 0;
        for answer in asked {
            // None of a worker that has ended, and its connections with it, or that hangs.
            closed += timeout(CLOSING, answer).await.ok().and_then(Result::ok).unwrap_or(0);
        }
        closed
    }

    /// Datagrams that were decoded by the configurations of `rotation`, also by those who are gone.
    pub(super) fn datagrams_of(&self, rotation: ConfigRotation) -> u64 {
        let now: u64 = self.read(|workers| workers.iter().map(|worker| worker.stats().of_rotation(rotation)).sum());
        now + self.departed.borrow().of_rotation(rotation)
    }

    /// Whether all have been told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.shared.borrow().is_none()
    }

    /// Tells all to stop: connections have `grace` to finish. Said again, the shorter grace counts. Answers whether it
    /// was said for the first time.
    pub(super) fn stop(&self, grace: Duration) -> bool {
        let is_first = self.shared.take().is_some();
        self.read(|workers| workers.iter().for_each(|worker| worker.stop(grace)));
        is_first
    }

    /// Tells all to end when their last connection has, at the latest after `grace`. What is still on its way to them is
    /// taken in until then.
    pub(super) fn leave(&self, grace: Duration) {
        self.shared.take();
        self.read(|workers| workers.iter().for_each(|worker| worker.leave(grace)));
    }

    /// Waits until all have ended.
    pub(super) async fn stopped(&self) {
        while self.alive.lock().await.recv().await.is_some() {}
    }
}

/// For a worker to close connections.
const CLOSING: Duration = Duration::from_secs(5);
