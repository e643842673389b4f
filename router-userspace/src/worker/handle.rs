//! The agent's side of a worker: it starts the thread, and tells it what to do.

use std::{
    cell::Cell,
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self as std_mpsc, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use router_common::{
    admission::Prefix,
    identifiers::{CpuId, InterfaceQueue, ListenerId, SlotId},
};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    af_xdp::ReceiveQueue,
    command::{Channels, Command},
    error::WorkerError,
    plan::{ListenerConfig, ListenerSocket, Plan},
    shared::Shared,
    stats::WorkerStats,
    thread,
};
use crate::edge::Instructions;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    slot: SlotId,
    cpu: CpuId,
    stats: Arc<WorkerStats>,
    commands: mpsc::UnboundedSender<Command>,
    running: Arc<AtomicBool>,
    stopping: Cell<bool>,
    until: Cell<Option<Instant>>,
}

impl Worker {
    /// Starts a worker, and returns once it is ready to receive.
    ///
    /// # Errors
    /// If the thread cannot be made or pinned, or a socket cannot be used.
    pub fn start(plan: Plan, shared: Shared) -> Result<Self, WorkerError> {
        let (slot, cpu) = (plan.slot, plan.cpu);
        let stats = Arc::<WorkerStats>::default();
        let (commands, received) = mpsc::unbounded_channel();
        let (ready, is_ready) = std_mpsc::sync_channel(1);
        let running = Arc::new(AtomicBool::new(true));
        let spawned = std::thread::Builder::new().name(format!("worker-{slot}")).spawn({
            let stats = Arc::clone(&stats);
            let end = End { running: Arc::clone(&running), said: shared.ended() };
            move || {
                // The last to go, also if the worker panics.
                let _end = end;
                thread::run(plan, shared, stats, Channels { commands: received, ready });
            }
        });
        spawned.map_err(WorkerError::NoThread)?;
        match is_ready.recv_timeout(ANSWER_TIMEOUT) {
            Ok(Ok(())) => {
                Ok(Self { slot, cpu, stats, commands, running, stopping: Cell::default(), until: Cell::default() })
            }
            Ok(Err(e)) => Err(e),
            Err(RecvTimeoutError::Disconnected) => Err(WorkerError::EndedEarly(slot)),
            // It ends by itself: nothing is left that could tell it anything.
            Err(RecvTimeoutError::Timeout) => Err(WorkerError::NotReady { slot, patience: ANSWER_TIMEOUT }),
        }
    }

    /// Its slot.
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// The CPU it is pinned to.
    pub fn cpu(&self) -> CpuId {
        self.cpu
    }

    /// What it counts.
    pub fn stats(&self) -> &WorkerStats {
        &self.stats
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Whether it has no connections any more, and none that begin.
    pub fn is_done(&self) -> bool {
        !self.is_running() || self.stats.connections_now.get() + self.stats.tcp_connections_now.get() == 0
    }

    /// Whether it has been told to leave or to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// When the connections are closed that are left, if it drains.
    pub fn drains_until(&self) -> Option<Instant> {
        self.until.get()
    }

    /// Has its connections asked to end, and what is left of them closed after `grace`. It
    /// stays, and takes in what is sent to it all the same.
    pub fn drain(&self, grace: Duration) {
        self.until.set(Some(Instant::now() + grace));
        self.tell(Command::Drain { grace });
    }

    /// Takes [`drain`](Self::drain) back. Clients that were asked to go may still do so.
    pub fn undrain(&self) {
        self.until.set(None);
        self.tell(Command::Undrain);
    }

    /// The same as [`drain`](Self::drain), and then to end: when the last connection has, or
    /// after `grace`.
    pub fn leave(&self, grace: Duration) {
        self.go(grace);
        self.tell(Command::Leave { grace });
    }

    /// Tells it to take no more connections, to let requests finish for `grace`, then to
    /// close what is left, and to end. Said again, it closes at once.
    pub fn stop(&self, grace: Duration) {
        self.go(grace);
        self.tell(Command::Stop { grace });
    }

    /// Has it close the connections of clients in `prefix` that the block list drops; how many, by the result. That is
    /// dropped if the worker ends.
    pub fn close_blocked(&self, prefix: Prefix) -> oneshot::Receiver<u64> {
        let (closed, are_closed) = oneshot::channel();
        self.tell(Command::CloseBlocked { prefix, closed });
        are_closed
    }

    /// Has its thread panic, for tests of what comes then.
    #[cfg(debug_assertions)]
    pub fn make_panic(&self) {
        self.tell(Command::Panic);
    }

    fn go(&self, grace: Duration) {
        self.stopping.set(true);
        self.until.set(Some(Instant::now() + grace));
    }

    /// Has requests and new raw connections served by these from now on.
    pub fn reconfigure(&self, instructions: Instructions) {
        self.tell(Command::Reconfigure(instructions));
    }

    /// Has it listen on one more listener.
    ///
    /// # Errors
    /// If the socket cannot be used, or the worker has ended or does not answer within ten seconds.
    pub fn listen(&self, listening: ListenerSocket) -> Result<(), WorkerError> {
        let (done, is_done) = std_mpsc::sync_channel(1);
        self.tell(Command::Listen { listening, done });
        self.answer(&is_done)
    }

    /// Has it receive from a receive queue too.
    ///
    /// # Errors
    /// If the socket cannot be used, or the worker has ended or does not answer within ten seconds.
    pub fn receive(&self, id: InterfaceQueue, queue: Box<dyn ReceiveQueue>) -> Result<(), WorkerError> {
        let (done, is_done) = std_mpsc::sync_channel(1);
        self.tell(Command::Receive { id, queue, done });
        // It may come to it later all the same.
        self.answer(&is_done).inspect_err(|_| self.release(id))
    }

    /// The outcome of a command. A worker does what it is told between two packets, so the agent waits no longer than a
    /// worker that hangs may cost it.
    fn answer(&self, is_done: &std_mpsc::Receiver<io::Result<()>>) -> Result<(), WorkerError> {
        let done = is_done.recv_timeout(ANSWER_TIMEOUT).map_err(|e| match e {
            RecvTimeoutError::Disconnected => WorkerError::Ended(self.slot),
            RecvTimeoutError::Timeout => WorkerError::Silent { slot: self.slot, patience: ANSWER_TIMEOUT },
        });
        Ok(done??)
    }

    /// Has it read what has come in on a queue, to which nothing more comes, and close it then.
    pub fn release(&self, id: InterfaceQueue) {
        self.tell(Command::Release { id });
    }

    /// Has new connections to `listener` begun by `terms`.
    pub fn serve(&self, listener: ListenerId, terms: ListenerConfig) {
        self.tell(Command::Serve { listener, terms });
    }

    /// Has it take no more connections to `listener`, let requests finish for `grace`, then
    /// close what is left, and the socket. The agent holds the other end of `closed`.
    pub fn close(&self, listener: ListenerId, grace: Duration, closed: mpsc::Sender<Infallible>) {
        self.tell(Command::Close { listener, grace, closed });
    }

    /// A worker that is gone needs to be told nothing.
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

/// The end of a worker: nothing of it is left, and it is said.
struct End {
    running: Arc<AtomicBool>,
    said: Arc<Notify>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Release);
        self.said.notify_one();
    }
}

/// For a worker to do what the agent waits for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
