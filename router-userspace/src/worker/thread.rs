//! What runs on a worker's thread: its endpoints, and what the agent tells it.

use std::{
    collections::BTreeMap,
    io, mem,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use router_common::{
    admission::{Listed, Prefix},
    identifiers::{CpuId, InterfaceQueue, ListenerId},
};
use rustix::thread::{MembarrierCommand, membarrier};
use tokio::{
    sync::{Notify, mpsc},
    task::{LocalSet, spawn_blocking, spawn_local},
    time::{Duration, Instant, sleep, sleep_until, timeout},
};

use super::{
    af_xdp::{Frames, NextHopCache, ReceiveQueue},
    command::{Channels, Command},
    connection::{Acceptor, CLOSED, Issuing, ListenerState, SteeredGenerator},
    connection_ids::ResetKeys,
    error::WorkerError,
    flows::Flows,
    plan::{ListenerSocket, Plan},
    shared::Shared,
    socket::{Intake, Ownership, Recipient, SteeredSocket},
    stats::WorkerStats,
    tables::Placement,
    tcp::Port,
};
use crate::edge::{Drain, Speaks};

/// The worker's thread.
pub(super) fn run(plan: Plan, shared: Shared, stats: Arc<WorkerStats>, channels: Channels) {
    let slot = plan.slot;
    let runtime = pin_to(plan.cpu).and_then(|()| runtime());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = channels.ready.send(Err(WorkerError::NotSetUp { slot, source }));
            return;
        }
    };
    LocalSet::new().block_on(&runtime, serve(plan, shared, stats, channels));
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(READERS_MAX).build()
}

async fn serve(mut plan: Plan, shared: Shared, stats: Arc<WorkerStats>, mut channels: Channels) {
    let sockets = mem::take(&mut plan.sockets);
    let mut service = Service::new(plan, shared, stats);
    for listening in sockets {
        if let Err(e) = service.listen(listening) {
            let _ = channels.ready.send(Err(e.into()));
            return;
        }
    }
    let _ = channels.ready.send(Ok(()));
    let Some(ending) = service.work(&mut channels.commands).await else { return };
    let frames = Arc::clone(&service.frames);
    let out_of_patience = over(ending.grace, &mut channels.commands, &frames);
    match ending.refusing {
        true => service.stop(out_of_patience).await,
        false => service.leave(out_of_patience).await,
    }
    drop(service.shared.living);
}

/// Waits until `grace` is over, or the agent says again that the worker is to stop. No other worker can have a queue
/// before it is closed here.
async fn over(grace: Duration, commands: &mut mpsc::UnboundedReceiver<Command>, frames: &Arc<Frames>) {
    let said = async {
        loop {
            match commands.recv().await {
                None | Some(Command::Stop { .. }) => return,
                Some(Command::Release { id }) => release(frames, id),
                Some(_) => {}
            }
        }
    };
    let _ = timeout(grace, said).await;
}

/// How a worker ends.
struct Ending {
    /// For connections to end by themselves.
    grace: Duration,
    /// Whether new connections are refused meanwhile.
    refusing: bool,
}

/// A worker at work.
struct Service {
    acceptor: Rc<Acceptor>,
    shared: Shared,
    frames: Arc<Frames>,
    listeners: BTreeMap<ListenerId, Open>,
    drains_until: Option<Instant>,
    /// Said when an endpoint has ended that was not closed.
    broken: Rc<Notify>,
}

impl Service {
    /// Without listeners yet.
    fn new(plan: Plan, shared: Shared, stats: Arc<WorkerStats>) -> Self {
        let acceptor = Rc::new(Acceptor {
            slot: plan.slot,
            admission: Arc::clone(&shared.admission),
            tables: Arc::clone(&shared.tables),
            flows: Flows::new(plan.flows),
            half_open: Rc::default(),
            issuing: Issuing::default(),
            retirements: Rc::default(),
            tcp: Rc::default(),
            stats,
            edge: (plan.edge)(),
        });
        spawn_local(Rc::clone(&acceptor.retirements).close_those_with_too_many(acceptor.issuing.clone()));
        let next_hops = shared.enquiries.clone().map(NextHopCache::new);
        let frames = Arc::new(Frames::new(Arc::clone(&shared.tables), Arc::clone(&acceptor.stats), next_hops));
        // Among quinn's own tasks: in the LocalSet it would have its turn too late.
        tokio::spawn(Arc::clone(&frames).see_off());
        Self { acceptor, shared, frames, listeners: BTreeMap::new(), drains_until: None, broken: Rc::default() }
    }

    /// Does what the agent says, until that is to end; none if an endpoint has broken: half a worker is none, and the
    /// agent starts another.
    async fn work(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Option<Ending> {
        let broken = Rc::clone(&self.broken);
        loop {
            let deadline = self.drains_until;
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Leave { grace }) => return Some(Ending { grace, refusing: false }),
                    Some(Command::Stop { grace }) => return Some(Ending { grace, refusing: true }),
                    Some(other) => self.obey(other),
                    // The agent keeps the other end for as long as it runs; without it there is no reason to serve.
                    None => return Some(Ending { grace: Duration::ZERO, refusing: true }),
                },
                () = broken.notified() => return None,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.drains_until = None;
                    self.each_drain(Drain::end);
                }
            }
        }
    }
}

/// An endpoint, and the way in to it.
struct Open {
    endpoint: Endpoint,
    listener_state: Rc<ListenerState>,
    ports: Ports,
}

/// A listener's TCP ports.
#[derive(Default)]
struct Ports(BTreeMap<SocketAddr, Port>);

impl Ports {
    /// Opens those of `wanted` that are not open, closes those that are not wanted any more.
    fn open(
        &mut self,
        wanted: BTreeMap<SocketAddr, Speaks>,
        acceptor: &Rc<Acceptor>,
        listener_state: &Rc<ListenerState>,
    ) -> io::Result<()> {
        self.0.retain(|address, _| wanted.contains_key(address));
        for (address, speaks) in wanted {
            match self.0.get(&address) {
                Some(port) => port.speak(speaks),
                None => drop(self.0.insert(address, Port::open(address, speaks, acceptor, listener_state)?)),
            }
        }
        Ok(())
    }
}

impl Service {
    fn obey(&mut self, command: Command) {
        match command {
            Command::Reconfigure(instructions) => self.acceptor.edge.reconfigure(&instructions),
            Command::Listen { listening, done } => {
                // The agent waits for it.
                let _ = done.send(self.listen(listening));
            }
            Command::Serve { listener, terms } => {
                if let Some(open) = self.listeners.get_mut(&listener) {
                    open.endpoint.set_server_config(Some(terms.quic.clone()));
                    open.listener_state.source_override.prefer(terms.preferred);
                    open.listener_state.terms.replace(terms.clone());
                    // The agent has tried the ports: it takes an accident for one to be gone now.
                    if let Err(e) = open.ports.open(terms.tcp, &self.acceptor, &open.listener_state) {
                        tracing::error!("slot {}: {e}", self.acceptor.slot);
                    }
                }
            }
            Command::Close { listener, grace, closed } => {
                if let Some(open) = self.listeners.remove(&listener) {
                    spawn_local(async move {
                        open.listener_state.stop_accepting();
                        close(&[&open], idle(&[&open]), sleep(grace)).await;
                        drop(closed);
                    });
                }
            }
            Command::Receive { id, queue, done } => {
                // The agent waits for it.
                let _ = done.send(self.receive(id, queue));
            }
            Command::Release { id } => release(&self.frames, id),
            Command::Drain { grace } => {
                self.drains_until = Some(Instant::now() + grace);
                self.each_drain(Drain::begin);
            }
            Command::CloseBlocked { prefix, closed } => {
                // The agent may have waited long enough.
                let _ = closed.send(self.close_blocked(&prefix));
            }
            Command::Undrain => {
                self.drains_until = None;
                self.each_drain(Drain::cancel);
            }
            #[cfg(debug_assertions)]
            Command::Panic => panic!("a test asked for it"),
            // They end the loop that this is called from.
            Command::Leave { .. } | Command::Stop { .. } => {}
        }
    }

    fn close_blocked(&self, prefix: &Prefix) -> u64 {
        let tables = &self.shared.tables;
        let is_meant = |peer: IpAddr| {
            let peer = peer.to_canonical();
            prefix.holds(&peer.into()) && tables.listed(peer) == Listed::Drop
        };
        self.acceptor.retirements.close_those(is_meant) + self.acceptor.tcp.close_those(is_meant)
    }

    fn listen(&mut self, listening: ListenerSocket) -> io::Result<()> {
        let listener = listening.listener;
        let listener_state = Rc::new(ListenerState::new(listening.socket.local_addr()?, listening.terms.clone()));
        let mut ports = Ports::default();
        ports.open(listening.terms.tcp.clone(), &self.acceptor, &listener_state)?;
        if self.drains_until.is_some() {
            listener_state.drain.begin();
        }
        let endpoint = self.endpoint(listening, &listener_state)?;
        let deciding = spawn_local(Arc::clone(&listener_state.source_override).decide()).abort_handle();
        let (accepting, broken) = (Rc::clone(&self.acceptor), self.broken.clone());
        let (incoming, here) = (endpoint.clone(), Rc::clone(&listener_state));
        spawn_local(async move {
            let ended = spawn_local(accepting.accept(incoming, Rc::clone(&here))).await;
            // Unless it was closed, its driver has panicked, or what was spawned here.
            deciding.abort();
            if ended.is_err() || !here.has_stopped() {
                broken.notify_one();
            }
        });
        self.listeners.insert(listener, Open { endpoint, listener_state, ports });
        Ok(())
    }

    fn receive(&self, id: InterfaceQueue, queue: Box<dyn ReceiveQueue>) -> io::Result<()> {
        self.frames.add(id, queue)?;
        let frames = Arc::downgrade(&self.frames);
        spawn_local(async move {
            // What the kernel has lost is asked of it now and then: it is a system call for each queue.
            while let Some(frames) = frames.upgrade().filter(|frames| frames.has(id)) {
                frames.count_drops();
                drop(frames);
                sleep(BETWEEN_COUNTS).await;
            }
        });
        Ok(())
    }

    fn endpoint(
        &self,
        ListenerSocket { listener, socket, terms }: ListenerSocket,
        listener_state: &ListenerState,
    ) -> io::Result<Endpoint> {
        let (shared, slot) = (&self.shared, self.acceptor.slot);
        let address = socket.local_addr()?;
        let ownership = Ownership {
            slot,
            listener,
            address,
            placement: if shared.by_kernel { Placement::Kernel(slot) } else { Placement::Assignment },
            tables: Arc::clone(&shared.tables),
            forward_queues: Arc::clone(&shared.forward_queues),
            tunnel: shared.tunnel.clone(),
            stats: Arc::clone(&self.acceptor.stats),
        };
        let reset_keys = ResetKeys::new(Arc::clone(shared.tables.connection_ids()), address);
        let (forwarded, frames) = (shared.forward_queues.open(Recipient { listener, slot }), Arc::clone(&self.frames));
        let source_override = &listener_state.source_override;
        let intake = Intake { udp: socket, forwarded, frames };
        let socket = Arc::new(SteeredSocket::new(intake, ownership, Arc::clone(source_override))?);
        source_override.prefer(terms.preferred);
        let (tables, lifetime) = (Arc::clone(&shared.tables), shared.cid_lifetime);
        let (flows, issuing) = (self.acceptor.flows.clone(), self.acceptor.issuing.clone());
        let mut endpoint_config = EndpointConfig::new(Arc::new(reset_keys));
        endpoint_config.min_reset_interval(BETWEEN_RESETS);
        // What other nodes send on to this one has to fit between them.
        if let Some(size) = shared.tables.nodes().max_udp_payload_size(address.is_ipv4()) {
            endpoint_config.max_udp_payload_size(size).map_err(io::Error::other)?;
        }
        // What the kernel's program answers with, too.
        endpoint_config.supported_versions(router_common::quic::SUPPORTED_VERSIONS.to_vec());
        endpoint_config.cid_generator(move || {
            let (tables, flows, issuing) = (Arc::clone(&tables), flows.clone(), issuing.clone());
            Box::new(SteeredGenerator { tables, slot, flows, issuing, lifetime })
        });
        // Among quinn's own tasks: in the LocalSet it would have its turn too late.
        tokio::spawn(SteeredSocket::flush(Arc::downgrade(&socket)));
        Endpoint::new_with_abstract_socket(endpoint_config, Some(terms.quic), socket, Arc::new(TokioRuntime))
    }

    fn each_drain(&self, act: impl Fn(&Drain)) {
        self.listeners.values().for_each(|open| act(&open.listener_state.drain));
    }

    fn all(&self) -> Vec<&Open> {
        self.listeners.values().collect()
    }

    /// Ends, new connections being refused: no other worker is there for them.
    async fn stop(&self, out_of_patience: impl Future<Output = ()>) {
        self.listeners.values().for_each(|open| open.listener_state.stop_accepting());
        let all = self.all();
        close(&all, idle(&all), out_of_patience).await;
    }

    /// Ends when nothing is left. Other workers get the new connections; those that were on their way
    /// here are taken in.
    async fn leave(&self, out_of_patience: impl Future<Output = ()>) {
        self.each_drain(Drain::begin);
        let all = self.all();
        let left = async {
            loop {
                sleep(ON_THEIR_WAY).await;
                idle(&all).await;
                if all.iter().all(|open| open.endpoint.open_connections() == 0) {
                    return;
                }
            }
        };
        close(&all, left, out_of_patience).await;
    }
}

/// Closes a queue, which has no owner any more, when what it got has been read.
fn release(frames: &Arc<Frames>, id: InterfaceQueue) {
    let frames = Arc::clone(frames);
    spawn_local(async move {
        programs_have_run().await;
        let emptied = timeout(EMPTYING, async {
            while !frames.remove(id) {
                sleep(BETWEEN_LOOKS).await;
            }
        });
        if emptied.await.is_err() {
            frames.abandon(id);
        }
    });
}

/// Waits until each XDP program that has seen the maps as they were has ended, and what it gave to a
/// ring is in there: a driver's poll is one reader to RCU, and this barrier waits for all of them
/// (`membarrier_global` in `kernel/sched/membarrier.c`).
async fn programs_have_run() {
    let waited = spawn_blocking(|| membarrier(MembarrierCommand::Global)).await;
    if !matches!(waited, Ok(Ok(()))) {
        // Refused where CPUs are free of ticks (`nohz_full`).
        sleep(ON_THEIR_WAY_TO_A_RING).await;
    }
}

async fn idle(all: &[&Open]) {
    for open in all {
        open.endpoint.wait_idle().await;
        open.listener_state.tcp_idle().await;
    }
}

/// Those there are may finish what they are doing; then a proper close, never silence.
async fn close(all: &[&Open], done: impl Future<Output = ()>, out_of_patience: impl Future<Output = ()>) {
    tokio::select! {
        () = done => {}
        () = out_of_patience => {}
    }
    // Also where no connection is left: it ends the accept loop, and the socket with it.
    for open in all {
        open.endpoint.close(CLOSED, b"the server stops");
        open.listener_state.drain.end();
    }
    for open in all {
        // Three probe timeouts of the slowest path: enough for the close to be repeated.
        let _ = timeout(CLOSE_LINGERS, idle(&[open])).await;
    }
}

/// Threads that read files for a worker, at most: beyond it, a request for one waits.
const READERS_MAX: usize = 16;

fn pin_to(cpu: CpuId) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu.get() as usize)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// No wait between stateless resets. After a restart each client of the last run has to learn
/// at once that its connection is gone, and many ask in one batch. An attacker that floods us gains
/// nothing: only a connection ID of this very slot is answered, with less than what asked.
const BETWEEN_RESETS: Duration = Duration::ZERO;
/// How long packets may be on their way to a worker that the assignment no longer names: in
/// the queues of a busy host.
const ON_THEIR_WAY: Duration = Duration::from_millis(500);
/// How long a frame may be on its way to an AF_XDP socket that has left the map, where the kernel does
/// not say: the rest of a batch.
const ON_THEIR_WAY_TO_A_RING: Duration = Duration::from_millis(20);
/// How long it may take until what a ring got has been read.
const EMPTYING: Duration = Duration::from_secs(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
const BETWEEN_COUNTS: Duration = Duration::from_millis(250);
const CLOSE_LINGERS: Duration = Duration::from_secs(3);
