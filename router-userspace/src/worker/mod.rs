//! A worker: a thread pinned to a CPU, with a single-threaded runtime, a socket and a quinn
//! endpoint for each listener, and the connections that came to it. They never leave it.
//!
//! This room knows quinn and connection IDs; it knows no maps. What it writes there goes
//! through [`FlowTable`].

mod af_xdp;
mod connection;
mod connection_ids;
mod flows;
mod socket;
mod stats;
mod tables;
pub mod tcp;
mod thread;

use std::{
    cell::Cell,
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::{Duration, Instant},
};

use quinn::ServerConfig;
use tokio::sync::{Notify, mpsc};

use self::socket::ForwardQueues;
pub use self::{
    af_xdp::{NextHop, NextHopResolver, QueueId, ReceiveQueue, Routes},
    connection::{Admission, HandshakeWindow, Tracing, strip_padding},
    connection_ids::{Configuration, ConnectionIds, HostKeys, Ledger, Nonces, Secrets, Set},
    flows::{FlowTable, NoFlows},
    socket::udp,
    stats::{WorkerStats, WorkerTotals},
    tables::{NodeTables, Placement, View},
};
use crate::edge::{Edge, Instructions, Speaks};

/// What all workers of an agent share.
#[derive(Clone)]
pub struct Shared {
    tables: Arc<NodeTables>,
    admission: Arc<Admission>,
    cid_lifetime: Duration,
    by_kernel: bool,
    enquiries: Option<NextHopResolver>,
    forward_queues: Arc<ForwardQueues>,
    living: mpsc::Sender<Infallible>,
    ended: Arc<Notify>,
}

impl Shared {
    /// A connection's IDs are replaced after `cid_lifetime`. Each worker keeps a copy of
    /// `living` until its thread ends, however it ends.
    pub fn new(
        tables: Arc<NodeTables>,
        admission: Arc<Admission>,
        cid_lifetime: Duration,
        living: mpsc::Sender<Infallible>,
    ) -> Self {
        let (forward_queues, ended) = (Arc::default(), Arc::default());
        Self { tables, admission, cid_lifetime, by_kernel: false, enquiries: None, forward_queues, living, ended }
    }

    /// The same, saying whether the kernel brings packets to their workers, or the workers
    /// have to do it among themselves.
    pub fn steered_by_kernel(self, by_kernel: bool) -> Self {
        Self { by_kernel, ..self }
    }

    /// The same, sending by AF_XDP where a worker has a queue of the interface that a datagram goes
    /// out by: `enquiries` know which that is.
    pub fn sending_frames(self, enquiries: Option<NextHopResolver>) -> Self {
        Self { enquiries, ..self }
    }

    /// Said whenever a worker has ended, however that came.
    pub fn ended(&self) -> Arc<Notify> {
        Arc::clone(&self.ended)
    }

    /// The node's tables.
    pub fn tables(&self) -> &Arc<NodeTables> {
        &self.tables
    }
}

/// What one worker is to be.
pub struct Plan {
    /// Its slot.
    pub slot: u8,
    /// The CPU to pin it to.
    pub cpu: u32,
    /// Its socket for each listener, with what the listener serves.
    pub sockets: Vec<ListenerSocket>,
    /// Where it writes flows.
    pub flows: Box<dyn FlowTable>,
    /// What its connections are for.
    pub edge: EdgeFactory,
}

/// A worker's part in a listener.
pub struct ListenerSocket {
    /// The listener's number.
    pub listener: u16,
    /// The worker's own socket.
    pub socket: UdpSocket,
    /// How connections are begun.
    pub terms: ListenerConfig,
}

/// How connections to a listener are begun.
#[derive(Clone)]
pub struct ListenerConfig {
    /// QUIC connections.
    pub quic: ServerConfig,
    /// Where their clients are asked to move to.
    pub preferred: Option<IpAddr>,
    /// Whether requests are taken before their handshake is complete (0-RTT).
    pub early_data: bool,
    /// Whether every client is sent a Retry.
    #[cfg(feature = "interop")]
    pub always_retry: bool,
    /// Which of them are traced.
    pub tracing: Option<Arc<Tracing>>,
    /// TCP connections, by the port they come to.
    pub tcp: BTreeMap<SocketAddr, Speaks>,
}

/// Makes a worker's edge, on the worker's own thread.
pub type EdgeFactory = Box<dyn FnOnce() -> Edge + Send>;

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    slot: u8,
    cpu: u32,
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
    pub fn start(plan: Plan, shared: Shared) -> io::Result<Self> {
        let (slot, cpu) = (plan.slot, plan.cpu);
        let stats = Arc::<WorkerStats>::default();
        let (commands, received) = mpsc::unbounded_channel();
        let (ready, is_ready) = std_mpsc::sync_channel(1);
        let running = Arc::new(AtomicBool::new(true));
        std::thread::Builder::new().name(format!("worker-{slot}")).spawn({
            let stats = Arc::clone(&stats);
            let end = End { running: Arc::clone(&running), said: shared.ended() };
            move || {
                // The last to go, also if the worker panics.
                let _end = end;
                thread::run(plan, shared, stats, Channels { commands: received, ready });
            }
        })?;
        match is_ready.recv() {
            Ok(Ok(())) => {
                Ok(Self { slot, cpu, stats, commands, running, stopping: Cell::default(), until: Cell::default() })
            }
            Ok(Err(e)) => Err(e),
            Err(_) => Err(io::Error::other(format!("worker {slot} ended before it was ready"))),
        }
    }

    /// Its slot.
    pub fn slot(&self) -> u8 {
        self.slot
    }

    /// The CPU it is pinned to.
    pub fn cpu(&self) -> u32 {
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
    /// If the socket cannot be used, or the worker has ended.
    pub fn listen(&self, listening: ListenerSocket) -> io::Result<()> {
        let (done, is_done) = std_mpsc::sync_channel(1);
        self.tell(Command::Listen { listening, done });
        let gone = || io::Error::other(format!("worker {} has ended", self.slot));
        is_done.recv().map_err(|_| gone())?
    }

    /// Has it receive from a receive queue too.
    ///
    /// # Errors
    /// If the socket cannot be used, or the worker has ended.
    pub fn receive(&self, id: QueueId, queue: Box<dyn ReceiveQueue>) -> io::Result<()> {
        let (done, is_done) = std_mpsc::sync_channel(1);
        self.tell(Command::Receive { id, queue, done });
        let gone = || io::Error::other(format!("worker {} has ended", self.slot));
        is_done.recv().map_err(|_| gone())?
    }

    /// Has it read what has come in on a queue, to which nothing more comes, and close it then.
    pub fn release(&self, id: QueueId) {
        self.tell(Command::Release { id });
    }

    /// Has new connections to `listener` begun by `terms`.
    pub fn serve(&self, listener: u16, terms: ListenerConfig) {
        self.tell(Command::Serve { listener, terms });
    }

    /// Has it take no more connections to `listener`, let requests finish for `grace`, then
    /// close what is left, and the socket. The agent holds the other end of `closed`.
    pub fn close(&self, listener: u16, grace: Duration, closed: mpsc::Sender<Infallible>) {
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

/// What the agent tells a worker.
enum Command {
    Drain {
        grace: Duration,
    },
    Undrain,
    Leave {
        grace: Duration,
    },
    Stop {
        grace: Duration,
    },
    #[cfg(debug_assertions)]
    Panic,
    Reconfigure(Instructions),
    Listen {
        listening: ListenerSocket,
        done: std_mpsc::SyncSender<io::Result<()>>,
    },
    Receive {
        id: QueueId,
        queue: Box<dyn ReceiveQueue>,
        done: std_mpsc::SyncSender<io::Result<()>>,
    },
    Release {
        id: QueueId,
    },
    Serve {
        listener: u16,
        terms: ListenerConfig,
    },
    Close {
        listener: u16,
        grace: Duration,
        closed: mpsc::Sender<Infallible>,
    },
}

struct Channels {
    commands: mpsc::UnboundedReceiver<Command>,
    ready: std_mpsc::SyncSender<io::Result<()>>,
}
