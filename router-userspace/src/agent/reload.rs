//! A changed configuration, brought into force while everything runs.
//!
//! ```text
//! read, compare ─► prepare: TLS, sockets, interfaces, workers ─► commit: from here on nothing fails
//! ```
//!
//! Whatever can fail is prepared first, beside what runs; if it does fail, what was prepared is
//! taken away again, and nobody has noticed. No connection is touched that the change does not
//! concern: those of a listener that goes, or of a worker that goes, have `drain_timeout` to end.

use std::{convert::Infallible, rc::Rc, time::Duration};

use tokio::{sync::mpsc, task::spawn_local};

use super::{
    api,
    engine::{self, SocketsBySlot},
    error::StartError,
    node::Node,
    plan::{self, Numbered},
    provision::Provision,
};
use crate::{
    config::{Config, Engine, LISTENERS_MAX},
    worker::ListenerSocket,
};

impl Node {
    /// Reads the configuration again and brings it into force; what has changed, one sentence each.
    ///
    /// # Errors
    /// If it is not valid, or asks for what cannot be had while the agent runs; nothing has
    /// changed then.
    pub(super) fn reload(self: &Rc<Self>) -> Result<Vec<String>, StartError> {
        self.require_charge()?;
        self.service_manager.reloading();
        let result = self.reload_now();
        self.service_manager.ready(&match &result {
            Ok(_) => self.in_a_word(),
            Err(e) => format!("{}; reload refused: {e}", self.in_a_word()),
        });
        result
    }

    fn reload_now(self: &Rc<Self>) -> Result<Vec<String>, StartError> {
        // Also where nothing else comes of it: whoever renames the file asks for no more.
        self.instruments.reopen_access_log()?;
        let config = Rc::new(self.source.read()?);
        let before = self.config();
        refuse_immovable(&before, &config)?;
        let provision = Provision::new(&config, &self.secrets, Some(&self.now().provision))?;
        let instruments = self.instruments.prepare(&config)?;
        let change = self.compare(&config)?;
        let sockets = self.open_sockets(&change)?;
        let attached = self.attach(&change)?;
        if let Err(e) = self.add(&change, sockets, &provision, &config) {
            self.undo(&change, &attached);
            return Err(e);
        }
        self.instruments.commit(instruments, &config, self);
        self.commit(&change, provision, &config, attached);
        let mut sentences = change.sentences();
        sentences.extend(what_else(&before, &config));
        for sentence in config.notices.iter().chain(&sentences) {
            tracing::info!("reload: {sentence}");
        }
        Ok(sentences)
    }

    /// What is there, and what `config` asks for.
    fn compare(&self, config: &Config) -> Result<Change, StartError> {
        let now = self.now();
        let still_closing = config
            .listeners
            .iter()
            .find(|listener| now.closing.iter().any(|closing| closing.listener.address == listener.address));
        if let Some(listener) = still_closing {
            let message = format!("listener {} is still draining its previous connections", listener.address);
            return Err(StartError::refused(message).with_hint("again in a while: router.drain_timeout at most"));
        }
        let own = now.listeners.iter().chain(&now.closing).map(|one| (one.id, one.listener.address));
        let theirs = self.generations.others().into_iter().flat_map(|other| other.listeners);
        let known: Vec<_> = own.chain(theirs).collect();
        let listeners = plan::number_listeners(&config.listeners, &known);
        if let Some(beyond) = listeners.iter().find(|listener| usize::from(listener.id) >= LISTENERS_MAX) {
            let message = format!("listener {}: no number is free for it", beyond.listener.address);
            return Err(StartError::refused(message).with_hint("again in a while: some listeners are about to end"));
        }
        let (kept, new) = listeners.iter().cloned().partition(|one| now.listeners.iter().any(|old| old.id == one.id));
        let gone = now.listeners.iter().filter(|old| !listeners.iter().any(|one| one.id == old.id)).cloned().collect();

        let mut workers = self.roster.read(|workers| {
            let stays = workers.iter().filter(|worker| !worker.is_stopping() && worker.is_running());
            stays.map(|worker| (worker.slot(), worker.cpu())).collect::<Vec<_>>()
        });
        workers.sort_unstable();
        let wanted = usize::from(config.router.workers.get());
        let leaving = workers.split_off(wanted.min(workers.len()));
        let starting = plan::place_workers(wanted - workers.len(), &self.all_places())?;
        if starting.len() < wanted - workers.len() {
            return Err(StartError::refused(format!("router.workers: no slots are free for {wanted} workers"))
                .with_hint("again in a while: some workers are about to end"));
        }
        let names = |interfaces: &[api::Interface]| interfaces.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        let (had, wants) = (names(&now.interfaces), &config.router.interfaces);
        let by_interface = self.steering.kernel().is_some() && engine::goes_by_interface(config.router.engine);
        let added = wants.iter().filter(|name| by_interface && !had.contains(name)).cloned().collect();
        let removed = had.into_iter().filter(|name| by_interface && name != "*" && !wants.contains(name)).collect();
        Ok(Change { kept, new, gone, staying: workers, leaving, starting, added, removed })
    }

    /// Sockets for new workers on every listener, and for every worker on new listeners.
    fn open_sockets(&self, change: &Change) -> Result<Vec<(Numbered, SocketsBySlot)>, StartError> {
        let mut known: Vec<_> = self.now().sockets.iter().map(|socket| socket.inode).collect();
        known.extend(self.generations.others().into_iter().flat_map(|other| other.sockets));
        let everybody = [&change.staying[..], &change.starting].concat();
        let for_new = change.new.iter().map(|listener| (listener, &everybody));
        let for_kept = change.kept.iter().map(|listener| (listener, &change.starting));
        let open = |(listener, slots): (&Numbered, &Vec<_>)| {
            Ok((listener.clone(), plan::open_sockets(listener, slots, &known)?))
        };
        for_new.chain(for_kept).map(open).collect()
    }

    fn attach(&self, change: &Change) -> Result<Vec<api::Interface>, StartError> {
        let Some(kernel) = self.steering.kernel() else { return Ok(Vec::new()) };
        let mut attached = Vec::new();
        for name in &change.added {
            let engine = self.config().router.engine;
            let result = engine::attach_one(&mut kernel.datapath.borrow_mut(), name, engine);
            match result {
                Ok(interface) => attached.push(interface),
                Err(e) => {
                    self.detach(attached.iter().map(|interface| &interface.name));
                    return Err(e);
                }
            }
        }
        Ok(attached)
    }

    fn detach<'a>(&self, names: impl Iterator<Item = &'a String>) {
        if let Some(kernel) = self.steering.kernel() {
            names.for_each(|name| kernel.datapath.borrow_mut().detach(name));
        }
    }

    /// Starts new workers, and has the others listen on new listeners. Nobody sends them
    /// anything yet: they are neither in the assignment nor in the map of listeners.
    fn add(
        &self,
        change: &Change,
        mut sockets: Vec<(Numbered, SocketsBySlot)>,
        provision: &Provision,
        config: &Rc<Config>,
    ) -> Result<(), StartError> {
        self.steering.take(&change.starting, &self.beside())?;
        for (listener, by_slot) in &sockets {
            self.connect(listener, by_slot)?;
        }
        let terms_of = |listener: &Numbered| {
            let place = config.listeners.iter().position(|one| one.address == listener.listener.address);
            place.and_then(|place| provision.terms.get(place)).cloned()
        };
        for (listener, by_slot) in &mut sockets {
            for &(slot, _) in &change.staying {
                let (Some(socket), Some(terms)) = (by_slot.remove(&slot), terms_of(listener)) else { continue };
                let listening = ListenerSocket { listener: listener.id, socket, terms };
                self.roster
                    .read(|workers| match workers.iter().find(|worker| worker.slot() == slot) {
                        Some(worker) => worker.listen(listening),
                        None => Ok(()),
                    })
                    .map_err(|e| StartError::kernel(format!("listener {}: {e}", listener.listener.address)))?;
            }
        }
        let place_of = |(listener, _): &(Numbered, SocketsBySlot)| {
            config.listeners.iter().position(|one| one.address == listener.listener.address)
        };
        let in_order = provision.of_listeners(&sockets.iter().filter_map(place_of).collect::<Vec<_>>());
        let sockets = sockets.iter_mut().map(|(listener, sockets)| (&*listener, std::mem::take(sockets))).collect();
        self.start_workers(&change.starting, sockets, &in_order, config)
    }

    /// Takes away what [`add`](Self::add) and [`attach`](Self::attach) have brought.
    fn undo(&self, change: &Change, attached: &[api::Interface]) {
        self.detach(attached.iter().map(|interface| &interface.name));
        let there = |slot| self.roster.read(|workers| workers.iter().any(|worker| worker.slot() == slot));
        let (started, taken): (Vec<_>, Vec<_>) = change.starting.iter().partition(|&&(slot, _)| there(slot));
        let freed = taken.iter().map(|&(slot, _)| self.free_slot(slot));
        let undone = freed.chain([self.send_away(&started, Duration::ZERO)]);
        for e in undone.filter_map(Result::err) {
            tracing::error!("reload, taking back what was begun: {e}");
        }
        for listener in &change.new {
            let (closed, _) = mpsc::channel(1);
            self.roster.read(|workers| {
                workers.iter().for_each(|worker| worker.close(listener.id, Duration::ZERO, closed.clone()));
            });
        }
        let new = |id: u16| change.new.iter().any(|listener| listener.id == id);
        self.change_now(|now| now.sockets.retain(|socket| !new(socket.listener)));
    }

    fn commit(
        self: &Rc<Self>,
        change: &Change,
        provision: Provision,
        config: &Rc<Config>,
        attached: Vec<api::Interface>,
    ) {
        let grace = config.router.drain_timeout;
        self.change_now(|now| {
            now.config = Rc::clone(config);
            now.listeners = config
                .listeners
                .iter()
                .filter_map(|listener| {
                    let one = change.kept.iter().chain(&change.new);
                    one.clone().find(|one| one.listener.address == listener.address).cloned()
                })
                .collect();
            now.closing.extend(change.gone.iter().cloned());
            now.interfaces.retain(|interface| !change.removed.contains(&interface.name));
            now.interfaces.extend(attached);
        });
        self.log.change(&config.router.log);
        self.admission.set_limits(config.limits);
        self.connection_ids.silence_lasts(config.limits.idle_timeout);
        let instructions = self.instructions(config, &provision);
        self.roster.read(|workers| {
            workers.iter().for_each(|worker| worker.reconfigure(instructions.clone()));
        });
        *self.certificates.borrow_mut() = provision.files.clone();
        self.serve(provision);
        self.watch_upstreams();
        self.detach(change.removed.iter());
        self.look_at_devices();
        for listener in &change.gone {
            self.close(listener.clone(), grace);
        }
        // Also where nobody leaves: those that were started are assigned connections, and get queues.
        let mut kernel_says = vec![self.write_listeners(), self.send_away(&change.leaving, grace)];
        if let Some(kernel) = self.steering.kernel() {
            kernel.keep_flows_for(config.limits.idle_timeout);
            kernel_says.push(self.steering.account_where_xdp_does_not());
            self.change_now(|now| {
                now.interfaces.retain(|interface| interface.name != "*");
                if now.interfaces.is_empty() {
                    now.interfaces.push(engine::without_interfaces(&config.router));
                }
            });
        }
        // Writes of entries that exist into maps that exist: the kernel has no reason to refuse.
        for e in kernel_says.into_iter().filter_map(Result::err) {
            tracing::error!("reload: {e}");
        }
    }

    /// Has new connections begun by these terms, one for each listener of the configuration in force.
    pub(super) fn serve(&self, provision: Provision) {
        self.change_now(|now| now.provision = Rc::new(provision));
        self.serve_now();
    }

    /// The same by the terms there are: also on TCP.
    pub(super) fn serve_now(&self) {
        let now = self.now();
        self.roster.read(|workers| {
            for (listener, terms) in now.listeners.iter().zip(&now.provision.terms) {
                workers.iter().for_each(|worker| worker.serve(listener.id, terms.clone()));
            }
        });
    }

    /// Lets the connections of a listener end that is no longer in the configuration.
    fn close(self: &Rc<Self>, listener: Numbered, grace: Duration) {
        let (closed, mut all_closed) = mpsc::channel::<Infallible>(1);
        self.roster.read(|workers| {
            workers.iter().for_each(|worker| worker.close(listener.id, grace, closed.clone()));
        });
        drop(closed);
        let node = Rc::clone(self);
        spawn_local(async move {
            while all_closed.recv().await.is_some() {}
            node.change_now(|now| {
                now.closing.retain(|closing| closing.id != listener.id);
                now.sockets.retain(|socket| socket.listener != listener.id);
            });
            match node.write_listeners() {
                Ok(()) => tracing::info!("listener {} is closed", listener.listener.address),
                Err(e) => tracing::error!("listener {}: {e}", listener.listener.address),
            }
        });
    }
}

/// What is to be different.
struct Change {
    kept: Vec<Numbered>,
    new: Vec<Numbered>,
    gone: Vec<Numbered>,
    staying: Vec<(u8, u32)>,
    leaving: Vec<(u8, u32)>,
    starting: Vec<(u8, u32)>,
    added: Vec<String>,
    removed: Vec<String>,
}

impl Change {
    fn sentences(&self) -> Vec<String> {
        let slots = |slots: &[(u8, u32)]| slots.iter().map(|(slot, _)| slot.to_string()).collect::<Vec<_>>().join(", ");
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

/// What else has changed: what takes no preparation.
fn what_else(before: &Config, after: &Config) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut when = |changed: bool, sentence: &str| {
        if changed {
            sentences.push(sentence.to_owned());
        }
    };
    when(before.routes != after.routes, "routes have changed");
    when(before.upstreams != after.upstreams, "upstreams have changed");
    when(before.limits != after.limits, "limits have changed");
    let raised = after.limits.max_connections > before.limits.max_connections;
    when(raised, "the flow table keeps its size until the next start: beyond it connections go by their IDs alone");
    let certificates = |config: &Config| {
        config.listeners.iter().map(|one| (one.address, one.certificates.clone())).collect::<Vec<_>>()
    };
    when(certificates(before) != certificates(after), "certificates have changed");
    when(before.router.drain_timeout != after.router.drain_timeout, "drain_timeout has changed");
    when(before.admin != after.admin, "the admin address has changed");
    when(before.access_log != after.access_log, "the access log has changed");
    when(before.router.log != after.router.log, "what is logged has changed");
    when(before.router.cpu_map != after.router.cpu_map, "cpu_map has changed");
    let paths = |config: &Config| config.router.path_normalization;
    when(paths(before) != paths(after), "path_normalization has changed");
    when(before.router.debug_headers != after.router.debug_headers, "debug_headers has changed");
    sentences
}

/// What cannot change while the agent runs, by name.
fn refuse_immovable(before: &Config, after: &Config) -> Result<(), StartError> {
    let (old, new) = (&before.router, &after.router);
    let changed = [
        ("router.node_id", old.node_id != new.node_id),
        ("router.engine", old.engine != new.engine),
        ("router.bpf_dir", old.bpf_dir != new.bpf_dir),
        ("router.state_dir", old.state_dir != new.state_dir),
        ("router.control", old.control != new.control),
        ("connection_id", before.connection_id != after.connection_id),
        ("af_xdp", before.af_xdp != after.af_xdp),
    ];
    let names: Vec<_> = changed.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect();
    let by_upgrade = changed.iter().filter(|(_, changed)| *changed).all(|(name, _)| match *name {
        "router.engine" => new.engine != Engine::Userspace && old.engine != Engine::Userspace,
        "connection_id" => before.connection_id.length == after.connection_id.length,
        "af_xdp" => true,
        _ => false,
    });
    let way_out = if by_upgrade { "quic-router upgrade, which takes it" } else { "stop and start the agent" };
    match &names[..] {
        [] => Ok(()),
        names => {
            let refused = format!("{} cannot change while this process runs", names.join(", "));
            Err(StartError::refused(refused).with_hint(way_out))
        }
    }
}
