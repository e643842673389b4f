//! A worker: a thread pinned to a CPU, with a single-threaded runtime, a socket and a quinn
//! endpoint for each listener, and the connections that came to it. They never leave it.
//!
//! This room knows quinn and connection IDs; it knows no maps. What it writes there goes
//! through [`FlowTable`].

mod accept;
mod admission;
mod connection_ids;
mod flows;
mod generator;
mod inbox;
mod socket;
mod stats;
mod tables;
pub mod udp;

use std::{
    cell::Cell,
    convert::Infallible,
    io,
    net::UdpSocket,
    rc::Rc,
    sync::{Arc, mpsc as std_mpsc},
    thread,
    time::Duration,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime, VarInt};
use tokio::{
    sync::mpsc,
    task::{LocalSet, spawn_local},
    time::timeout,
};

use self::{
    accept::Reception,
    connection_ids::ResetKeys,
    flows::Flows,
    generator::SteeredGenerator,
    inbox::Inboxes,
    socket::{Ownership, SteeredSocket},
};
pub use self::{
    admission::Admission,
    connection_ids::{Configuration, ConnectionIds, HostKeys, Ledger, Nonces, Secrets, Set},
    flows::{FlowTable, NoFlows},
    stats::WorkerStats,
    tables::{NodeTables, Placement, View},
};
use crate::edge::Edge;

/// What all workers of an agent share.
#[derive(Clone)]
pub struct Shared {
    tables: Arc<NodeTables>,
    admission: Arc<Admission>,
    cid_lifetime: Duration,
    by_kernel: bool,
    inboxes: Arc<Inboxes>,
    living: mpsc::Sender<Infallible>,
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
        Self { tables, admission, cid_lifetime, by_kernel: false, inboxes: Arc::default(), living }
    }

    /// The same, saying whether the kernel brings packets to their workers, or the workers
    /// have to do it among themselves.
    pub fn steered_by_kernel(self, by_kernel: bool) -> Self {
        Self { by_kernel, ..self }
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
    /// Its socket for each listener, by the listener's number, with what the listener serves.
    pub sockets: Vec<(u16, UdpSocket, ServerConfig)>,
    /// Where it writes flows.
    pub flows: Box<dyn FlowTable>,
    /// What its connections are for.
    pub edge: EdgeFactory,
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
    thread: thread::JoinHandle<()>,
}

/// What the agent tells a worker.
#[derive(Debug)]
enum Command {
    Stop { grace: Duration },
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
        let thread = thread::Builder::new().name(format!("worker-{slot}")).spawn({
            let stats = Arc::clone(&stats);
            move || run(plan, shared, stats, Channels { commands: received, ready })
        })?;
        match is_ready.recv() {
            Ok(Ok(())) => Ok(Self { slot, cpu, stats, commands, thread }),
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

    /// Whether its thread is alive.
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Tells it to take no more connections, to let requests finish for `grace`, then to
    /// close what is left, and to end. Said again, it closes at once.
    pub fn stop(&self, grace: Duration) {
        // A worker that is gone has stopped.
        let _ = self.commands.send(Command::Stop { grace });
    }
}

struct Channels {
    commands: mpsc::UnboundedReceiver<Command>,
    ready: std_mpsc::SyncSender<io::Result<()>>,
}

/// The worker's thread.
fn run(plan: Plan, shared: Shared, stats: Arc<WorkerStats>, channels: Channels) {
    let slot = plan.slot;
    let runtime = pin_to(plan.cpu).and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            let _ = channels.ready.send(Err(io::Error::new(e.kind(), format!("worker {slot}: {e}"))));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, serve(plan, shared, stats, channels));
}

async fn serve(plan: Plan, shared: Shared, stats: Arc<WorkerStats>, mut channels: Channels) {
    let edge = (plan.edge)();
    let reception = Rc::new(Reception {
        slot: plan.slot,
        admission: Arc::clone(&shared.admission),
        tables: Arc::clone(&shared.tables),
        flows: Flows::new(plan.flows),
        stats,
        edge: edge.clone(),
        draining: Cell::new(false),
    });
    let mut endpoints = Vec::new();
    for (listener, socket, config) in plan.sockets {
        match endpoint(&reception, &shared, listener, socket, config) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(e) => {
                let _ = channels.ready.send(Err(e));
                return;
            }
        }
    }
    for endpoint in &endpoints {
        spawn_local(Rc::clone(&reception).accept(endpoint.clone()));
    }
    let _ = channels.ready.send(Ok(()));

    // The agent keeps the other end for as long as it runs; without it there is nobody to serve for.
    let Command::Stop { grace } = channels.commands.recv().await.unwrap_or(Command::Stop { grace: Duration::ZERO });
    reception.draining.set(true);
    let out_of_patience = async {
        // Over when the grace is, or when the agent says it again.
        let _ = timeout(grace, channels.commands.recv()).await;
    };
    stop(&endpoints, &edge, out_of_patience).await;
    drop(shared.living);
}

/// The quinn endpoint of this worker on one listener.
fn endpoint(
    reception: &Reception,
    shared: &Shared,
    listener: u16,
    socket: UdpSocket,
    config: ServerConfig,
) -> io::Result<Endpoint> {
    let slot = reception.slot;
    let ownership = Ownership {
        slot,
        listener,
        placement: if shared.by_kernel { Placement::Kernel(slot) } else { Placement::Assignment },
        tables: Arc::clone(&shared.tables),
        inboxes: Arc::clone(&shared.inboxes),
        stats: Arc::clone(&reception.stats),
    };
    let socket = SteeredSocket::new(socket, shared.inboxes.open(listener, slot), ownership)?;
    let (tables, flows, lifetime) = (Arc::clone(&shared.tables), reception.flows.clone(), shared.cid_lifetime);
    let reset_keys = ResetKeys(Arc::clone(tables.connection_ids()));
    let mut endpoint_config = EndpointConfig::new(Arc::new(reset_keys));
    endpoint_config.min_reset_interval(BETWEEN_RESETS);
    endpoint_config
        .cid_generator(move || Box::new(SteeredGenerator::new(Arc::clone(&tables), slot, flows.clone(), lifetime)));
    Endpoint::new_with_abstract_socket(endpoint_config, Some(config), Arc::new(socket), Arc::new(TokioRuntime))
}

/// No new connections; those there are may finish what they are doing; then a proper close,
/// never silence.
async fn stop(endpoints: &[Endpoint], edge: &Edge, out_of_patience: impl Future<Output = ()>) {
    edge.drain();
    let idle = async {
        for endpoint in endpoints {
            endpoint.wait_idle().await;
        }
    };
    tokio::select! {
        () = idle => return,
        () = out_of_patience => {}
    }
    for endpoint in endpoints {
        endpoint.close(CLOSED, b"the server stops");
    }
    for endpoint in endpoints {
        // Three probe timeouts of the slowest path: enough for the close to be repeated.
        let _ = timeout(CLOSE_LINGERS, endpoint.wait_idle()).await;
    }
}

fn pin_to(cpu: u32) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu as usize)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// H3_NO_ERROR (RFC 9114 section 8.1), which raw QUIC clients see as an application error
/// code like any other.
const CLOSED: VarInt = VarInt::from_u32(0x100);
/// No wait between stateless resets. After a restart each client of the last run has to learn
/// at once that its connection is gone, and many ask in one batch. Who would flood us gains
/// nothing: only a connection ID of this very slot is answered, with less than what asked.
const BETWEEN_RESETS: Duration = Duration::ZERO;
const CLOSE_LINGERS: Duration = Duration::from_secs(3);
