//! Receive queues (AF_XDP): which worker has which, kept as it should be while workers come and go,
//! links go down and queues are added.
//!
//! What is there is compared with what is wanted, whatever it was that changed. A queue without an owner
//! is no trouble: its packets go by CPU and UDP socket, to the same workers. One that changes hands has no
//! owner for a moment: the kernel frees it some time after its socket is closed, and does not say when.

mod accept_rate;
mod error;
mod memory;
mod of_kernel;
mod open;
mod pending_bind;
mod plan;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    thread,
    time::Instant,
};

use router_common::{
    identifiers::{InterfaceQueue, QueueId},
    maps::{self, SlotState},
};

use self::{
    accept_rate::Arrivals,
    error::{AfXdpError, QueueError},
    memory::Memory,
    of_kernel::OfKernel,
    open::{Device, OpenQueue, OpenQueues},
    pending_bind::{AwaitedQueues, BETWEEN_TRIES, PATIENCE},
    plan::{Load, Share},
};
use super::{api, kernel::Kernel, roster::Roster, steering::Steering};
use crate::{
    config::{Config, CpuMap, Engine},
    datapath::{self, QueueSocketPlan},
};

/// The queues that workers of this generation have.
#[derive(Default)]
pub(super) struct Queues {
    open: OpenQueues,
    /// By interface: why a queue of it cannot be had.
    why_not: RefCell<BTreeMap<String, String>>,
    /// Those that another socket has yet.
    awaited: AwaitedQueues,
    arrivals: RefCell<Arrivals>,
    /// What was there at the last scan.
    devices: RefCell<Vec<Device>>,
    /// Netfilter rules that what comes by AF_XDP does not meet.
    passed_by: RefCell<Option<String>>,
    /// Queues of all interfaces: each gets an equal part of the memory.
    all: Cell<u32>,
}

/// What queues depend on: the kernel's half, the workers, and the configuration.
pub(super) struct QueueContext<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) steering: &'a Steering,
    pub(super) roster: &'a Roster,
    pub(super) config: &'a Config,
}

impl Queues {
    /// Takes the queues of the interfaces `steered` at the start.
    ///
    /// # Errors
    /// If AF_XDP was asked for by name, and an interface has no queue for it.
    pub(super) fn begin(&self, context: &QueueContext<'_>, steered: &[String]) -> Result<(), AfXdpError> {
        let begun = Instant::now();
        loop {
            self.scan(context.config, steered);
            self.reconcile(context);
            if context.config.router.engine != Engine::AfXdp {
                return Ok(());
            }
            let Some(without) = steered.iter().find(|name| !self.open.has_some_of(name)) else { return Ok(()) };
            // A process that had them may have ended just now: the kernel takes its time.
            if begun.elapsed() > PATIENCE {
                let why = self.why_not(without).unwrap_or_else(|| "its queues are in use".to_owned());
                return Err(AfXdpError::NoQueue { interface: without.clone(), why });
            }
            thread::sleep(BETWEEN_TRIES);
        }
    }

    /// Looks at the interfaces `steered`, and which queues they have.
    pub(super) fn scan(&self, config: &Config, steered: &[String]) {
        *self.devices.borrow_mut() = self.devices(config.router.engine, steered);
    }

    /// Makes the queues, as they were at the last scan, those of the workers that should have them.
    pub(super) fn reconcile(&self, context: &QueueContext<'_>) {
        let devices = self.devices.borrow().clone();
        let of = |device: &Device| {
            let (interface, queues) = (device.facts.index, device.facts.queues);
            (0..queues).map(move |queue| InterfaceQueue { interface, queue: QueueId::new(queue) })
        };
        let queues: Vec<_> = devices.iter().flat_map(of).collect();
        let wanted = plan::plan(&queues, &self.open.shares(), &self.loads(context));
        self.awaited.keep(|id| wanted.contains_key(id));
        self.all.set(queues.len() as u32);
        let mut leaving = self.open.leaving(&wanted);
        leaving.extend(self.memory(context).of_another_size(&self.open, &devices));
        leaving.iter().for_each(|id| self.release_one(context.kernel, context.roster, *id));
        // What left is taken again at the next look, when it is free.
        for (id, share) in wanted.iter().filter(|(id, _)| !leaving.contains(id)) {
            let Some(device) = devices.iter().find(|device| device.facts.index == id.interface) else { continue };
            let done = match self.open.entry(*id) {
                Some(before) => self.update(context.kernel, *id, before, device.entry(*id, share)),
                None => self.open_one(context, *id, device, share),
            };
            self.note(&device.name, done);
        }
    }

    /// Leaves all queues: nothing more comes to them, and what has come is read.
    pub(super) fn release(&self, kernel: Option<&Kernel>, roster: &Roster) {
        self.awaited.keep(|_| false);
        let Some(kernel) = kernel else { return };
        self.open.ids().into_iter().for_each(|id| self.release_one(kernel, roster, id));
    }

    /// Waits until a queue may be free that another socket had a moment ago; for ever if there is none such.
    pub(super) async fn may_be_free(&self) {
        self.awaited.may_be_free().await;
    }

    /// What the maps say of the queues that workers have, each with the name of its interface.
    pub(super) fn entries(&self) -> Vec<(String, maps::Queue)> {
        self.open.entries()
    }

    /// Adds to how packets come from an interface what the queues have to do with it.
    pub(super) fn complete(&self, interface: &mut api::Interface, cpu_map: CpuMap) {
        interface.queues = self.open.describe(&interface.name);
        if !interface.queues.is_empty() {
            interface.engine = api::RunningEngine::AfXdp;
        }
        if let Some(why) = self.why_not(&interface.name) {
            say_too(interface, &format!("AF_XDP: {why}"));
        }
        if let Some(chains) = self.passed_by.borrow().as_ref().filter(|_| !interface.queues.is_empty()) {
            say_too(interface, &format!("netfilter rules are passed by: {chains}"));
        }
        if interface.mode == Some(api::XdpMode::Generic) && cpu_map == CpuMap::Always {
            say_too(interface, "cpu_map = \"always\" is not followed: the kernel loses what is moved from here");
        }
    }

    /// What is wrong with the queues, one sentence each.
    pub(super) fn problems(&self, engine: Engine) -> Vec<String> {
        if engine != Engine::AfXdp {
            return Vec::new();
        }
        let why_not = self.why_not.borrow();
        let problem = |(name, why): (&String, &String)| {
            format!("interface {name}: packets of some queues do not go by AF_XDP: {why}")
        };
        why_not.iter().map(problem).collect()
    }

    /// Those of the interfaces `steered` to have queues of.
    fn devices(&self, engine: Engine, steered: &[String]) -> Vec<Device> {
        let chains = datapath::chains_before_sockets();
        let passed_by = (!chains.is_empty()).then(|| chains.join(", "));
        self.passed_by.borrow_mut().clone_from(&passed_by);
        if let (Engine::Auto, Some(chains)) = (engine, passed_by) {
            steered.iter().for_each(|name| self.note(name, Err(QueueError::PassesNetfilter(chains.clone()))));
            return Vec::new();
        }
        // A socket outside of a VRF gets nothing from its interfaces; an AF_XDP socket would.
        let suits = |name: &&String| match datapath::vrf(name) {
            None => true,
            Some(vrf) => {
                self.note(name, Err(QueueError::InVrf(vrf)));
                false
            }
        };
        let device = |name: &String| Some(Device { facts: datapath::device(name)?, name: name.clone() });
        steered.iter().filter(suits).filter_map(device).collect()
    }

    fn loads(&self, context: &QueueContext<'_>) -> Vec<Load> {
        let tables = context.steering.tables();
        context.roster.read(|workers| {
            let active = workers.iter().filter(|worker| {
                let is_here = worker.is_running() && !worker.is_stopping();
                is_here && tables.slot_state(worker.slot()) == SlotState::Active
            });
            let (mut arrivals, now) = (self.arrivals.borrow_mut(), Instant::now());
            let load = active.map(|worker| {
                let (slot, totals) = (worker.slot(), worker.stats().totals());
                Load { slot, connections: totals.connections_now + arrivals.lately(slot, totals.accepted, now) }
            });
            let loads: Vec<_> = load.collect();
            arrivals.keep(&loads.iter().map(|load| load.slot).collect::<Vec<_>>());
            loads
        })
    }

    fn memory<'a>(&self, context: &QueueContext<'a>) -> Memory<'a> {
        Memory { config: &context.config.af_xdp, queues: self.all.get() }
    }

    fn open_one(
        &self,
        context: &QueueContext<'_>,
        id: InterfaceQueue,
        device: &Device,
        share: &Share,
    ) -> Result<(), QueueError> {
        let (datapath, entry) = (&context.kernel.datapath, device.entry(id, share));
        // Before any socket is made: one that has no place would be made in vain, again at every look.
        datapath.borrow_mut().require_place(&entry)?;
        let plan = || {
            let taken = self.open.frames() + self.awaited.frames();
            let (frames, sending) = self.memory(context).frames_for(device, id, taken)?;
            let InterfaceQueue { interface, queue } = id;
            let busy_poll = context.config.af_xdp.busy_poll;
            Ok(QueueSocketPlan { interface, queue, frames, sending, busy_poll })
        };
        let (socket, since) = self.awaited.bind(id, plan)?;
        let (copying, sends, frames) = (socket.copying(), socket.sends(), socket.frames());
        // The place first, then its reader, and only then what leads packets there.
        datapath.borrow_mut().set_queue_socket(&entry, &socket)?;
        let leaves_checksums_out = device.facts.leaves_checksums_out;
        let queue = Box::new(OfKernel { socket, leaves_checksums_out });
        let received = context.roster.of_slot(share.slot, |worker| worker.receive(id, queue));
        received.ok_or(QueueError::WorkerEnded)??;
        datapath.borrow_mut().set_queue(&entry)?;
        self.open.insert(id, OpenQueue { interface: device.name.clone(), entry, copying, sends, frames });
        tracing::debug!("queue {} of {} is slot {}'s, after {:?}", id.queue, device.name, share.slot, since.elapsed());
        Ok(())
    }

    fn update(
        &self,
        kernel: &Kernel,
        id: InterfaceQueue,
        before: maps::Queue,
        entry: maps::Queue,
    ) -> Result<(), QueueError> {
        if entry != before {
            kernel.datapath.borrow_mut().set_queue(&entry)?;
            self.open.set_entry(id, entry);
        }
        Ok(())
    }

    fn release_one(&self, kernel: &Kernel, roster: &Roster, id: InterfaceQueue) {
        let Some(open) = self.open.remove(id) else { return };
        if let Err(e) = kernel.datapath.borrow_mut().clear_queue(&open.entry) {
            tracing::error!("queue {} of {}: {e}", id.queue, open.interface);
        }
        roster.of_slot(open.entry.owner(), |worker| worker.release(id));
    }

    fn why_not(&self, interface: &str) -> Option<String> {
        self.why_not.borrow().get(interface).cloned()
    }

    /// Remembers what came of a queue. That another socket has it yet says nothing about AF_XDP.
    fn note(&self, interface: &str, done: Result<(), QueueError>) {
        let mut why_not = self.why_not.borrow_mut();
        match done {
            Ok(()) => drop(why_not.remove(interface)),
            Err(QueueError::Busy) => {}
            Err(refused) => {
                let why = refused.to_string();
                let before = why_not.insert(interface.to_owned(), why.clone());
                if before.as_ref() != Some(&why) {
                    tracing::warn!("interface {interface}: AF_XDP: {why}");
                }
            }
        }
    }
}

/// One more reason why an interface is as it is.
fn say_too(interface: &mut api::Interface, why: &str) {
    let before = interface.why.take().map(|before| format!("{before}; ")).unwrap_or_default();
    interface.why = Some(format!("{before}{why}"));
}
