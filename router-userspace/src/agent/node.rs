//! A started agent: its workers, its datapath, and what the control socket asks about them.

use std::{
    cell::{OnceCell, Ref, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use router_common::maps::{Listener, Settings, SlotState};
use tokio::{sync::mpsc, task::AbortHandle};

use super::{
    ConfigSource, RunOptions, api,
    certificates::CertificateFiles,
    connection_ids::CidRotation,
    control::ControlSocket,
    engine::{self, Loaded, SocketsBySlot},
    error::StartError,
    interfaces::Devices,
    kernel::Kernel,
    observability::Observability,
    plan::{self, Numbered},
    provision::Provision,
    queues::Queues,
    respawn::Replacements,
    roster::Roster,
    secrets::Secrets,
    sending,
    service_manager::ServiceManager,
    state_dir::State,
    steering::Steering,
    takeover::{Generations, Neighbour, Phase},
};
use crate::{
    config::Config,
    datapath::Initial,
    edge::{Edge, Instructions, ServedBy},
    telemetry::{Log, Meter},
    worker::{Admission, FlowTable, ListenerSocket, NoFlows, NodeTables, Plan, Shared},
};

/// Everything that runs. Dropping it detaches the datapath.
pub(super) struct Node {
    pub(super) generation: u64,
    pub(super) started: Instant,
    pub(super) connection_ids: CidRotation,
    pub(super) steering: Steering,
    pub(super) source: ConfigSource,
    pub(super) log: Log,
    pub(super) secrets: Arc<Secrets>,
    pub(super) admission: Arc<Admission>,
    pub(super) roster: Roster,
    pub(super) certificates: RefCell<CertificateFiles>,
    pub(super) generations: Generations,
    pub(super) replacements: Replacements,
    pub(super) queues: Queues,
    pub(super) devices: Devices,
    pub(super) service_manager: ServiceManager,
    pub(super) instruments: Observability,
    control: OnceCell<Rc<ControlSocket>>,
    watching: RefCell<Option<AbortHandle>>,
    now: RefCell<Now>,
    _state: State,
}

/// What a reload changes.
pub(super) struct Now {
    pub(super) config: Rc<Config>,
    pub(super) provision: Rc<Provision>,
    pub(super) interfaces: Vec<api::Interface>,
    pub(super) sockets: Vec<plan::SocketInfo>,
    pub(super) listeners: Vec<Numbered>,
    /// No longer in the configuration; their connections have some time left.
    pub(super) closing: Vec<Numbered>,
}

impl Node {
    /// Starts everything. The interfaces come last: until then no packet is touched.
    ///
    /// Where generations are there `before`, all of it is beside theirs, and gets nothing yet.
    ///
    /// # Errors
    /// What cannot be had; nothing is left of what was begun.
    pub(super) fn start(
        config: Config,
        source: ConfigSource,
        options: &RunOptions,
        before: &[Neighbour],
    ) -> Result<Self, StartError> {
        let is_first = before.is_empty();
        let state = match is_first {
            true => State::take(&config.router.state_dir)?,
            false => State::share(&config.router.state_dir)?,
        };
        let secrets = Arc::new(state.secrets()?);
        let places: Vec<_> = before.iter().flat_map(|other| other.places.clone()).collect();
        let slots = plan::place_workers(config.router.workers.get().into(), &places)?;
        if slots.len() < config.router.workers.get().into() {
            return Err(StartError::refused(format!("router.workers: {} of 256 slots are taken", places.len()))
                .with_hint("again when the generations before have ended, or fewer workers"));
        }
        let provision = Provision::new(&config, &secrets, None)?;
        let instruments = Observability::start(&config, !is_first)?;
        let known: Vec<_> = before.iter().flat_map(|other| other.listeners.clone()).collect();
        let listeners = plan::number_listeners(&config.listeners, &known);
        let sockets: Vec<_> = before.iter().flat_map(|other| other.sockets.clone()).collect();
        let open = |listener: &Numbered| plan::open_sockets(listener, &slots, &sockets);
        let sockets = listeners.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let connection_ids = CidRotation::start(&config, &state, Arc::clone(&secrets))?;
        let generation = state.next_generation()?;

        let settings = Settings::new(config.router.node_id, config.connection_id.length, generation);
        let initial = Initial {
            settings,
            secrets: router_common::maps::Secrets::new(secrets.hash_seed()),
            cid_configs: connection_ids.for_kernel(),
            listeners: listeners.iter().map(Numbered::entry).collect(),
        };
        let Loaded { datapath, why_not } = match is_first {
            true => engine::load(&config, &initial, options)?,
            false => engine::join(&config, &initial, options)?,
        };
        let tables = Arc::new(NodeTables::new(settings, Arc::clone(connection_ids.ids()), secrets.hash_seed()));
        let (living, alive) = mpsc::channel(1);
        let admission = Admission::new(config.limits);
        let lifetime = config.connection_id.lifetime;
        let shared = Shared::new(Arc::clone(&tables), Arc::clone(&admission), lifetime, living)
            .steered_by_kernel(datapath.is_some())
            .sending_frames(sending::begin(&config)?);
        let interfaces = vec![engine::without_xdp("*", api::RunningEngine::Userspace, why_not.unwrap_or_default())];
        let certificates = provision.files.clone();
        let kernel = datapath.map(|datapath| Kernel::new(datapath, &config)).transpose()?;
        let steering = Steering::new(generation, tables, kernel, initial.listeners);
        steering.know_of_others(places.iter().map(|(slot, _)| *slot), SlotState::Draining);
        let node = Self {
            generation,
            started: Instant::now(),
            steering,
            connection_ids,
            source,
            log: options.log.clone(),
            secrets,
            admission,
            roster: Roster::new(shared, alive),
            certificates: RefCell::new(certificates),
            generations: Generations::after(before),
            replacements: Replacements::default(),
            queues: Queues::default(),
            devices: Devices::default(),
            service_manager: ServiceManager::of_environment(!is_first),
            instruments,
            control: OnceCell::new(),
            watching: RefCell::default(),
            now: RefCell::new(Now {
                config: Rc::new(config),
                provision: Rc::new(provision.clone()),
                interfaces,
                sockets: Vec::new(),
                listeners: listeners.clone(),
                closing: Vec::new(),
            }),
            _state: state,
        };
        node.steering.take(&slots, &node.beside())?;
        let sockets: Vec<_> = listeners.iter().zip(sockets).collect();
        for (listener, sockets) in &sockets {
            node.connect(listener, sockets)?;
        }
        let config = node.config();
        // Ports are opened by who is in charge.
        let provision = if is_first { provision } else { provision.without_ports() };
        node.start_workers(&slots, sockets, &provision, &config)?;
        node.watch_upstreams();
        if is_first {
            node.assign()?;
        }
        // Before the programs: they judge only what is for this host.
        node.look_after_addresses();
        if let Some(kernel) = node.steering.kernel() {
            let interfaces = engine::attach(&mut kernel.datapath.borrow_mut(), &config.router)?;
            node.now.borrow_mut().interfaces = interfaces;
        }
        // Now that it is known how the program runs.
        node.steering.write_slots(&node.beside())?;
        if is_first {
            node.steering.account_where_xdp_does_not()?;
            node.begin_queues()?;
        }
        Ok(node)
    }

    /// Has the servers that requests go to watched: those of the configuration in force.
    pub(super) fn watch_upstreams(&self) {
        let upstreams = Arc::clone(self.now().provision.origins.upstreams());
        let watching = tokio::task::spawn_local(upstreams.watch()).abort_handle();
        if let Some(before) = self.watching.replace(Some(watching)) {
            before.abort();
        }
    }

    /// Where the agent answers for this node, from now on.
    pub(super) fn answers_on(&self, control: &Rc<ControlSocket>) {
        // Once, right after the start.
        let _ = self.control.set(Rc::clone(control));
    }

    /// Where the agent answers.
    ///
    /// # Errors
    /// If it does not yet.
    pub(super) fn control(&self) -> Result<&ControlSocket, StartError> {
        self.control.get().map(|control| &**control).ok_or_else(|| StartError::refused("not yet"))
    }

    /// What a reload may change.
    pub(super) fn now(&self) -> Ref<'_, Now> {
        self.now.borrow()
    }

    /// Changes it.
    pub(super) fn change_now(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.now.borrow_mut());
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Rc<Config> {
        Rc::clone(&self.now.borrow().config)
    }

    /// Makes sockets those of their slots on a listener.
    pub(super) fn connect(&self, listener: &Numbered, sockets: &SocketsBySlot) -> Result<(), StartError> {
        self.now.borrow_mut().sockets.extend(plan::describe(listener.id, sockets));
        match self.steering.kernel() {
            Some(kernel) => engine::connect(&mut kernel.datapath.borrow_mut(), &Listener::new(listener.id), sockets),
            None => Ok(()),
        }
    }

    /// Starts workers in slots that were taken, each with its sockets.
    pub(super) fn start_workers(
        &self,
        slots: &[(u8, u32)],
        mut sockets: Vec<(&Numbered, SocketsBySlot)>,
        provision: &Provision,
        config: &Rc<Config>,
    ) -> Result<(), StartError> {
        let instructions = self.instructions(config, provision);
        for &(slot, cpu) in slots {
            let own = sockets.iter_mut().zip(&provision.terms).filter_map(|((listener, by_slot), terms)| {
                Some(ListenerSocket { listener: listener.id, socket: by_slot.remove(&slot)?, terms: terms.clone() })
            });
            let (sockets, flows) = (own.collect(), self.flow_table(slot)?);
            let edge = edge(instructions.clone(), slot, self.instruments.meters().join());
            self.roster.start(Plan { slot, cpu, sockets, flows, edge })?;
        }
        Ok(())
    }

    /// What workers serve requests by.
    pub(super) fn instructions(&self, config: &Rc<Config>, provision: &Provision) -> Instructions {
        Instructions {
            config: Arc::new(Config::clone(config)),
            origins: provision.origins.clone(),
            access_log: self.instruments.access_log(),
        }
    }

    fn flow_table(&self, slot: u8) -> Result<Box<dyn FlowTable>, StartError> {
        match self.steering.kernel() {
            Some(kernel) => kernel.flow_table(slot),
            None => Ok(Box::new(NoFlows)),
        }
    }

    /// Brings the listeners into force in the kernel and for the workers: those there are, and
    /// those whose connections have some time left.
    pub(super) fn write_listeners(&self) -> Result<(), StartError> {
        let mut entries: Vec<_> = {
            let now = self.now.borrow();
            now.listeners.iter().chain(&now.closing).map(Numbered::entry).collect()
        };
        for (id, address) in self.generations.others().into_iter().flat_map(|other| other.listeners) {
            let theirs = plan::entry(id, address);
            if !entries.contains(&theirs) {
                entries.push(theirs);
            }
        }
        self.steering.set_listeners(entries)
    }

    /// Brings in a new configuration of connection IDs.
    ///
    /// # Errors
    /// If it cannot be had now; nothing has changed then.
    pub(super) fn rotate_connection_ids(&self) -> Result<(), StartError> {
        let mut datapath = self.steering.kernel().map(|kernel| kernel.datapath.borrow_mut());
        self.connection_ids.rotate(datapath.as_deref_mut(), |rotation| self.roster.datagrams_of(rotation))
    }

    /// What runs, in a word.
    pub(super) fn in_a_word(&self) -> String {
        format!("generation {}, {} workers", self.generation, self.roster.len())
    }

    /// What was started, in lines for the log.
    pub(super) fn summary(&self) -> Vec<String> {
        let now = self.now.borrow();
        let mut lines = vec![format!(
            "quic-router {}: node {}, generation {}, {} workers",
            env!("CARGO_PKG_VERSION"),
            now.config.router.node_id,
            self.generation,
            self.roster.len()
        )];
        for listener in &now.config.listeners {
            lines.push(format!("listening on {}", listener.address));
        }
        for interface in self.interfaces() {
            let mode = interface.mode.as_ref().map(|mode| format!(", {mode}")).unwrap_or_default();
            let why = interface.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            lines.push(format!("interface {}: engine {}{mode}{why}", interface.name, interface.engine));
        }
        lines
    }

    /// Tells all workers to stop: connections have `grace` to finish. Said again, the shorter grace counts.
    pub(super) fn stop(&self, grace: Duration) {
        if self.roster.stop(grace) && self.generations.phase() == Phase::InCharge {
            self.service_manager.stopping();
            self.generations.stop_others();
        }
    }
}

fn edge(instructions: Instructions, slot: u8, meter: Arc<Meter>) -> Box<dyn FnOnce() -> Edge + Send> {
    let node = instructions.config.router.node_id;
    let description = format!("node {node}, worker {slot}, slot {slot}, process {}", std::process::id());
    Box::new(move || Edge::new(&instructions, ServedBy { slot: slot.to_string(), description }, meter))
}
