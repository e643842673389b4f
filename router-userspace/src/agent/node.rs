//! A started agent: its workers, its datapath, and what the control socket asks about them.

use std::{
    cell::RefCell,
    convert::Infallible,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use quinn::ServerConfig;
use router_common::maps::{Listener, Settings, Slot, SlotState};
use tokio::sync::{Mutex, mpsc};

use super::{
    RunOptions, api,
    connection_ids::CidRotation,
    engine::{self, Loaded, SocketsBySlot},
    error::StartError,
    flows::KernelFlows,
    maglev, plan,
    state::State,
    sweep::{self, Sweeper},
};
use crate::{
    config::{Config, Limits},
    datapath::{Datapath, FlowReader, Initial},
    edge::{Edge, ServedBy},
    worker::{Admission, FlowTable, NoFlows, NodeTables, Plan, Shared, Worker},
};

/// Everything that runs. Dropping it detaches the datapath.
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) generation: u64,
    pub(super) started: Instant,
    pub(super) tables: Arc<NodeTables>,
    pub(super) connection_ids: CidRotation,
    pub(super) interfaces: Vec<api::Interface>,
    pub(super) kernel: Option<Kernel>,
    pub(super) sockets: Vec<plan::SocketInfo>,
    workers: RefCell<Vec<Worker>>,
    alive: Mutex<mpsc::Receiver<Infallible>>,
    _state: State,
}

/// What a node has if its engine uses BPF.
pub(super) struct Kernel {
    pub(super) datapath: RefCell<Datapath>,
    pub(super) flows: FlowReader,
    pub(super) capacity: u64,
    pub(super) full: Arc<AtomicU64>,
    pub(super) swept: Arc<AtomicU64>,
    sweeper: Sweeper,
}

impl Node {
    /// Starts everything. The interfaces come last: until then no packet is touched.
    ///
    /// # Errors
    /// What cannot be had; nothing is left of what was begun.
    pub(super) fn start(config: Config, options: &RunOptions) -> Result<Self, StartError> {
        let state = State::take(&config.router.state_dir)?;
        let secrets = Arc::new(state.secrets()?);
        let slots = plan::place_workers(config.router.workers)?;
        let server_configs = plan::server_configs(&config, &secrets)?;
        let listeners = plan::listeners(&config);
        let sockets = plan::open_sockets(&config, &slots)?;
        let connection_ids = CidRotation::start(&config, &state, Arc::clone(&secrets))?;
        let generation = state.next_generation()?;

        let settings = Settings::new(config.router.node_id, config.connection_id.length, generation);
        let initial = Initial {
            settings,
            secrets: router_common::maps::Secrets::new(secrets.hash_seed()),
            cid_configs: connection_ids.for_kernel(),
            listeners: listeners.clone(),
        };
        let (living, alive) = mpsc::channel(1);
        let Loaded { datapath, why_not } = engine::load(&config, &initial, options)?;
        let tables = NodeTables::new(settings, Arc::clone(connection_ids.ids()), secrets.hash_seed());
        let tables = tables.with_listeners(listeners);
        let mut node = Self {
            connection_ids,
            tables: Arc::new(tables),
            interfaces: vec![engine::without_xdp("*", "userspace", why_not.unwrap_or_default())],
            kernel: datapath.map(|datapath| Kernel::new(datapath, &config.limits)).transpose()?,
            sockets: plan::describe(&sockets),
            workers: RefCell::default(),
            alive: Mutex::new(alive),
            started: Instant::now(),
            _state: state,
            generation,
            config,
        };
        if let Some(kernel) = &mut node.kernel {
            engine::connect(kernel.datapath.get_mut(), &slots, &sockets, generation)?;
        }
        let admission = Admission::new(node.config.limits);
        let lifetime = node.config.connection_id.lifetime;
        let shared =
            Shared::new(Arc::clone(&node.tables), admission, lifetime, living).steered_by_kernel(node.kernel.is_some());
        node.start_workers(&slots, sockets, &server_configs, shared)?;
        node.assign()?;
        if let Some(kernel) = &mut node.kernel {
            node.interfaces = engine::attach(kernel.datapath.get_mut(), &node.config.router)?;
        }
        Ok(node)
    }

    fn start_workers(
        &self,
        slots: &[(u8, u32)],
        mut sockets: Vec<(Listener, SocketsBySlot)>,
        server_configs: &[ServerConfig],
        shared: Shared,
    ) -> Result<(), StartError> {
        for &(slot, cpu) in slots {
            let own = sockets.iter_mut().zip(server_configs).filter_map(|((listener, by_slot), config)| {
                Some((listener.id() as u16, by_slot.remove(&slot)?, config.clone()))
            });
            let plan = Plan { slot, cpu, sockets: own.collect(), flows: self.flow_table(slot)?, edge: self.edge(slot) };
            let worker = Worker::start(plan, shared.clone()).map_err(StartError::kernel)?;
            self.tables.set_slot_state(slot, SlotState::Active);
            self.workers.borrow_mut().push(worker);
        }
        Ok(())
    }

    fn flow_table(&self, slot: u8) -> Result<Box<dyn FlowTable>, StartError> {
        let Some(kernel) = &self.kernel else { return Ok(Box::new(NoFlows)) };
        Ok(Box::new(KernelFlows {
            slot,
            writer: kernel.datapath.borrow().flow_writer()?,
            sweeper: kernel.sweeper.sender(),
            full: Arc::clone(&kernel.full),
        }))
    }

    fn edge(&self, slot: u8) -> Box<dyn FnOnce() -> Edge + Send> {
        let config = self.config.clone();
        let description =
            format!("node {}, worker {slot}, slot {slot}, process {}", config.router.node_id, std::process::id());
        Box::new(move || Edge::new(&config, ServedBy { slot: slot.to_string(), description }))
    }

    /// Spreads new connections over the active slots: one write, in kernel and userspace alike.
    fn assign(&self) -> Result<(), StartError> {
        let active: Vec<_> = self
            .workers
            .borrow()
            .iter()
            .map(Worker::slot)
            .filter(|&slot| self.tables.slot_state(slot) == SlotState::Active)
            .map(|slot| (slot, 1))
            .collect();
        let assignment = maglev(&active);
        self.tables.assign(&assignment);
        if let Some(kernel) = &self.kernel {
            kernel.datapath.borrow_mut().assign(&assignment)?;
        }
        Ok(())
    }

    /// Takes a slot out of the assignment, or back in. Its connections stay.
    ///
    /// # Errors
    /// If there is no such worker, or if it is the last active one.
    pub(super) fn set_draining(&self, slot: u8, draining: bool) -> Result<(), StartError> {
        let workers = self.workers.borrow();
        let Some(worker) = workers.iter().find(|worker| worker.slot() == slot) else {
            return Err(
                StartError::refused(format!("slot {slot}: no worker is there")).with_hint("quic-router workers list")
            );
        };
        let others_active = workers
            .iter()
            .any(|other| other.slot() != slot && self.tables.slot_state(other.slot()) == SlotState::Active);
        if draining && !others_active {
            return Err(StartError::refused(format!("slot {slot}: it is the last active one"))
                .with_hint("undrain another first"));
        }
        let state = if draining { SlotState::Draining } else { SlotState::Active };
        self.tables.set_slot_state(slot, state);
        if let Some(kernel) = &self.kernel {
            let shared = workers.iter().filter(|other| other.cpu() == worker.cpu()).count() > 1;
            let entry = Slot::new(state, worker.cpu(), self.generation).with_shares_cpu(shared);
            kernel.datapath.borrow_mut().set_slot(slot, entry)?;
        }
        drop(workers);
        self.assign()
    }

    /// Brings in a new configuration of connection IDs.
    ///
    /// # Errors
    /// If it cannot be had now; nothing has changed then.
    pub(super) fn rotate_connection_ids(&self) -> Result<(), StartError> {
        let mut datapath = self.kernel.as_ref().map(|kernel| kernel.datapath.borrow_mut());
        self.connection_ids.rotate(datapath.as_deref_mut(), |rotation| self.datagrams_of(rotation))
    }

    /// What has to be done now and then, for as long as the agent runs.
    pub(super) async fn look_after(self: Rc<Self>) {
        let mut tick = tokio::time::interval(BETWEEN_LOOKS);
        loop {
            tick.tick().await;
            let mut datapath = self.kernel.as_ref().map(|kernel| kernel.datapath.borrow_mut());
            self.connection_ids.look_after(datapath.as_deref_mut(), |rotation| self.datagrams_of(rotation));
        }
    }

    /// Datagrams that the workers have decoded by the configurations of `rotation`.
    fn datagrams_of(&self, rotation: u8) -> u64 {
        self.workers.borrow().iter().map(|worker| worker.stats().of_rotation(rotation)).sum()
    }

    /// Runs `read` over the workers.
    pub(super) fn with_workers<T>(&self, read: impl FnOnce(&[Worker]) -> T) -> T {
        read(&self.workers.borrow())
    }

    /// What was started, in lines for the log.
    pub(super) fn summary(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "quic-router {}: node {}, generation {}, {} workers",
            env!("CARGO_PKG_VERSION"),
            self.config.router.node_id,
            self.generation,
            self.workers.borrow().len()
        )];
        for listener in &self.config.listeners {
            lines.push(format!("listening on {}", listener.address));
        }
        for interface in &self.interfaces {
            let mode = interface.mode.as_ref().map(|mode| format!(", {mode}")).unwrap_or_default();
            let why = interface.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            lines.push(format!("interface {}: engine {}{mode}{why}", interface.name, interface.engine));
        }
        lines
    }

    /// Tells all workers to stop: connections have `grace` to finish. Said again, the shorter
    /// grace counts.
    pub(super) fn stop(&self, grace: Duration) {
        for worker in self.workers.borrow().iter() {
            worker.stop(grace);
        }
    }

    /// Waits until all workers have ended.
    pub(super) async fn stopped(&self) {
        while self.alive.lock().await.recv().await.is_some() {}
    }
}

impl Kernel {
    fn new(datapath: Datapath, limits: &Limits) -> Result<Self, StartError> {
        let swept = Arc::<AtomicU64>::default();
        let sweeper = sweep::start(datapath.flow_writer()?, limits.idle_timeout, Arc::clone(&swept))
            .map_err(|e| StartError::kernel(format!("the sweeper cannot be started: {e}")))?;
        let capacity = limits.max_connections.saturating_mul(router_common::maps::FLOWS_PER_CONNECTION);
        Ok(Self {
            flows: datapath.flow_reader()?,
            datapath: RefCell::new(datapath),
            capacity: capacity.into(),
            full: Arc::default(),
            swept,
            sweeper,
        })
    }
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
