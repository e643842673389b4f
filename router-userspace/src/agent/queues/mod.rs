//! Receive queues (AF_XDP): which worker has which, kept as it should be while workers come and go,
//! links go down and queues are added.
//!
//! What is there is compared with what is wanted, whatever it was that changed. A queue that nobody has
//! is no trouble: its packets go by CPU and UDP socket, to the same workers. One that changes hands is
//! nobody's for a moment: the kernel frees it some time after its socket is closed, and does not say when.

mod accept_rate;
mod local_addresses;
mod memory;
mod of_kernel;
mod pending_bind;
mod plan;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    io, thread,
    time::Instant,
};

use nix::errno::Errno;
use router_common::{
    frame::Address,
    maps::{self, SlotState},
};

use self::{
    accept_rate::Arrivals,
    of_kernel::OfKernel,
    pending_bind::{AwaitedQueues, BETWEEN_TRIES, PATIENCE},
    plan::{Load, Share},
};
use super::{api, error::StartError, node::Node, takeover::Phase};
use crate::{
    config::{CpuMap, Engine},
    datapath::{
        self, Copying, QueueSocketPlan,
        capabilities::{Capabilities, NET_RAW},
    },
    worker::QueueId,
};

/// The queues that workers of this generation have.
#[derive(Default)]
pub(super) struct Queues {
    open: RefCell<BTreeMap<QueueId, Open>>,
    /// By interface: why a queue of it cannot be had.
    why_not: RefCell<BTreeMap<String, String>>,
    /// Those that another socket has yet.
    pub(super) awaited: AwaitedQueues,
    arrivals: RefCell<Arrivals>,
    /// What was there at the last look.
    devices: RefCell<Vec<Device>>,
    /// Netfilter rules that what comes by AF_XDP does not meet.
    passed_by: RefCell<Option<String>>,
    /// Queues of all interfaces: each gets an equal part of the memory.
    all: Cell<u32>,
    addresses: RefCell<BTreeSet<[u8; 16]>>,
}

/// A queue that a worker has.
struct Open {
    interface: String,
    entry: maps::Queue,
    copying: Copying,
    sends: bool,
    frames: u32,
}

/// An interface to have queues of.
#[derive(Clone)]
struct Device {
    name: String,
    facts: datapath::DeviceFacts,
}

impl Node {
    /// Takes the queues at the start.
    ///
    /// # Errors
    /// If AF_XDP was asked for by name, and an interface has no queue for it.
    pub(super) fn begin_queues(&self) -> Result<(), StartError> {
        let begun = Instant::now();
        loop {
            self.look_around();
            if self.config().router.engine != Engine::AfXdp {
                return Ok(());
            }
            let steered = self.steered();
            let Some(without) = steered.iter().find(|name| !self.queues.has_some_of(name)) else { return Ok(()) };
            // Whoever had them may have ended just now: the kernel takes its time.
            if begun.elapsed() > PATIENCE {
                let why = self.queues.why_not(without).unwrap_or_else(|| "its queues are in use".to_owned());
                return Err(StartError::kernel(format!("interface {without}: AF_XDP cannot be had: {why}")).with_hint(
                    "engine = \"auto\", which takes the next best; quic-router doctor says what is missing",
                ));
            }
            thread::sleep(BETWEEN_TRIES);
        }
    }

    /// Looks at what the kernel has, interfaces, their queues and the host's addresses, and makes of it
    /// what it should be.
    pub(super) fn look_around(&self) {
        self.look_at_devices();
        self.look_after_queues();
    }

    /// The same but for the queues, which stay as they are.
    pub(super) fn look_at_devices(&self) {
        if !self.roster.is_stopping() && self.generations.phase() == Phase::InCharge {
            self.look_after_addresses();
            self.restore_pins();
        }
        self.look_after_devices();
        if self.has_queues() {
            *self.queues.devices.borrow_mut() = self.devices();
        }
    }

    /// Makes the queues, as they were at the last look, those of the workers that should have them.
    pub(super) fn look_after_queues(&self) {
        if !self.has_queues() {
            return;
        }
        let devices = self.queues.devices.borrow().clone();
        let queues: Vec<_> = devices
            .iter()
            .flat_map(|device| {
                let interface = device.facts.index;
                (0..device.facts.queues).map(move |queue| QueueId { interface, queue })
            })
            .collect();
        let wanted = plan::plan(&queues, &self.queues.shares(), &self.loads());
        self.queues.awaited.keep(|id| wanted.contains_key(id));
        self.queues.all.set(queues.len() as u32);
        let mut leaving = self.queues.leaving(&wanted);
        leaving.extend(self.queues.of_another_size(&devices, &self.config().af_xdp));
        leaving.iter().for_each(|id| self.release_queue(*id));
        for (id, share) in &wanted {
            let Some(device) = devices.iter().find(|device| device.facts.index == id.interface) else { continue };
            let done = if leaving.contains(id) {
                // It is taken again at the next look, when it is free.
                continue;
            } else if self.queues.has(*id) {
                self.update_queue(*id, device, share)
            } else {
                self.open_queue(*id, device, share)
            };
            self.queues.note(&device.name, done);
        }
    }

    /// Whether workers of this generation are to have queues now.
    fn has_queues(&self) -> bool {
        let is_wanted = matches!(self.config().router.engine, Engine::AfXdp | Engine::Auto);
        is_wanted
            && self.steering.kernel().is_some()
            && !self.roster.is_stopping()
            && self.generations.phase() == Phase::InCharge
    }

    /// Leaves all queues: nothing more comes to them, and what has come is read.
    pub(super) fn release_queues(&self) {
        self.queues.awaited.keep(|_| false);
        // Others write them from now on.
        self.queues.addresses.take();
        let all: Vec<_> = self.queues.open.borrow().keys().copied().collect();
        all.into_iter().for_each(|id| self.release_queue(id));
    }

    /// How packets come from each interface.
    pub(super) fn interfaces(&self) -> Vec<api::Interface> {
        let mut interfaces = self.now().interfaces.clone();
        for interface in &mut interfaces {
            interface.queues = self.queues.describe(&interface.name);
            if !interface.queues.is_empty() {
                interface.engine = api::RunningEngine::AfXdp;
            }
            if let Some(why) = self.queues.why_not(&interface.name) {
                say_too(interface, &format!("AF_XDP: {why}"));
            }
            if let Some(chains) = self.queues.passed_by.borrow().as_ref().filter(|_| !interface.queues.is_empty()) {
                say_too(interface, &format!("netfilter rules are passed by: {chains}"));
            }
            if interface.mode == Some(api::XdpMode::Generic) && self.config().router.cpu_map == CpuMap::Always {
                say_too(interface, "cpu_map = \"always\" is not followed: the kernel loses what is moved from here");
            }
        }
        interfaces
    }

    /// What is wrong with the queues, one sentence each.
    pub(super) fn queue_problems(&self) -> Vec<String> {
        if self.config().router.engine != Engine::AfXdp {
            return Vec::new();
        }
        let why_not = self.queues.why_not.borrow();
        let problem = |(name, why): (&String, &String)| {
            format!("interface {name}: packets of some queues do not go by AF_XDP: {why}")
        };
        why_not.iter().map(problem).collect()
    }

    /// Interfaces that `steer` is on.
    fn steered(&self) -> Vec<String> {
        let now = self.now();
        now.interfaces.iter().filter(|one| one.program_id.is_some()).map(|one| one.name.clone()).collect()
    }

    /// Those of them to have queues of.
    fn devices(&self) -> Vec<Device> {
        let names = self.steered();
        let passed_by = self.chains_passed_by();
        if let (Engine::Auto, Some(chains)) = (self.config().router.engine, passed_by) {
            for name in &names {
                self.queues
                    .note(name, Err(QueueError::Refused(format!("netfilter rules would be passed by: {chains}"))));
            }
            return Vec::new();
        }
        // A socket outside of a VRF gets nothing from its interfaces; an AF_XDP socket would.
        let suits = |name: &String| match datapath::vrf(name) {
            None => true,
            Some(vrf) => {
                self.queues.note(name, Err(QueueError::Refused(format!("the interface belongs to the VRF {vrf}"))));
                false
            }
        };
        names
            .into_iter()
            .filter(suits)
            .filter_map(|name| Some(Device { facts: datapath::device(&name)?, name }))
            .collect()
    }

    /// Netfilter rules that packets do not meet which come by AF_XDP, in words.
    fn chains_passed_by(&self) -> Option<String> {
        let chains = datapath::chains_before_sockets();
        let words = (!chains.is_empty()).then(|| chains.join(", "));
        self.queues.passed_by.borrow_mut().clone_from(&words);
        words
    }

    fn loads(&self) -> Vec<Load> {
        self.roster.read(|workers| {
            let active = workers.iter().filter(|worker| {
                worker.is_running()
                    && !worker.is_stopping()
                    && self.steering.tables().slot_state(worker.slot()) == SlotState::Active
            });
            let (mut arrivals, now) = (self.queues.arrivals.borrow_mut(), Instant::now());
            let load = active.map(|worker| {
                let (slot, totals) = (worker.slot(), worker.stats().totals());
                Load { slot, connections: totals.connections_now + arrivals.lately(slot, totals.accepted, now) }
            });
            let loads: Vec<_> = load.collect();
            arrivals.keep(&loads.iter().map(|load| load.slot).collect::<Vec<_>>());
            loads
        })
    }

    fn open_queue(&self, id: QueueId, device: &Device, share: &Share) -> Result<(), QueueError> {
        let Some(kernel) = self.steering.kernel() else { return Ok(()) };
        let config = self.config();
        let entry = entry(id, device, share);
        // Before any socket is made: one that has no place would be made in vain, again at every look.
        kernel.datapath.borrow_mut().require_place(&entry)?;
        let plan = || {
            let (frames, sending) = self.queues.frames_for(device, id, &config.af_xdp)?;
            let QueueId { interface, queue } = id;
            Ok(QueueSocketPlan { interface, queue, frames, sending, busy_poll: config.af_xdp.busy_poll })
        };
        let (socket, since) = self.queues.awaited.bind(id, plan)?;
        let (copying, sends, frames) = (socket.copying(), socket.sends(), socket.frames());
        // The place first, then its reader, and only then what leads packets there.
        kernel.datapath.borrow_mut().set_queue_socket(&entry, &socket)?;
        let received = self.roster.read(|workers| match workers.iter().find(|worker| worker.slot() == share.slot) {
            Some(worker) => {
                let leaves_checksums_out = device.facts.leaves_checksums_out;
                worker.receive(id, Box::new(OfKernel { socket, leaves_checksums_out }))
            }
            None => Err(io::Error::other("its worker has ended")),
        });
        received?;
        kernel.datapath.borrow_mut().set_queue(&entry)?;
        let open = Open { interface: device.name.clone(), entry, copying, sends, frames };
        self.queues.open.borrow_mut().insert(id, open);
        tracing::debug!("queue {} of {} is slot {}'s, after {:?}", id.queue, device.name, share.slot, since.elapsed());
        Ok(())
    }

    fn update_queue(&self, id: QueueId, device: &Device, share: &Share) -> Result<(), QueueError> {
        let mut open = self.queues.open.borrow_mut();
        let (Some(kernel), Some(open)) = (self.steering.kernel(), open.get_mut(&id)) else { return Ok(()) };
        let entry = entry(id, device, share);
        if entry != open.entry {
            kernel.datapath.borrow_mut().set_queue(&entry)?;
            open.entry = entry;
        }
        Ok(())
    }

    fn release_queue(&self, id: QueueId) {
        let (Some(kernel), Some(open)) = (self.steering.kernel(), self.queues.open.borrow_mut().remove(&id)) else {
            return;
        };
        if let Err(e) = kernel.datapath.borrow_mut().clear_queue(&open.entry) {
            tracing::error!("queue {} of {}: {e}", id.queue, open.interface);
        }
        self.roster.read(|workers| {
            workers.iter().filter(|worker| worker.slot() == open.entry.owner()).for_each(|worker| worker.release(id));
        });
    }
}

impl Queues {
    /// What the maps say of the queues that workers have, each with the name of its interface.
    pub(super) fn entries(&self) -> Vec<(String, maps::Queue)> {
        self.open.borrow().values().map(|open| (open.interface.clone(), open.entry)).collect()
    }

    /// Whether the maps have an address as the host's own.
    pub(super) fn is_local(&self, address: &Address) -> bool {
        self.addresses.borrow().contains(&address.octets().0)
    }

    fn has(&self, id: QueueId) -> bool {
        self.open.borrow().contains_key(&id)
    }

    fn has_some_of(&self, interface: &str) -> bool {
        self.open.borrow().values().any(|open| open.interface == interface)
    }

    fn shares(&self) -> BTreeMap<QueueId, Share> {
        let share = |entry: &maps::Queue| Share { slot: entry.owner(), places: entry.places() };
        self.open.borrow().iter().map(|(id, open)| (*id, share(&open.entry))).collect()
    }

    /// Those that are to be nobody's, or another's.
    fn leaving(&self, wanted: &BTreeMap<QueueId, Share>) -> Vec<QueueId> {
        let open = self.open.borrow();
        let leaving =
            open.iter().filter(|(id, open)| wanted.get(id).is_none_or(|share| share.slot != open.entry.owner()));
        leaving.map(|(id, _)| *id).collect()
    }

    fn describe(&self, interface: &str) -> Vec<api::Queue> {
        let open = self.open.borrow();
        let own = open.values().filter(|open| open.interface == interface);
        let describe = |open: &Open| api::Queue {
            queue: open.entry.number(),
            slot: open.entry.owner(),
            mode: match open.copying {
                Copying::Zero => api::QueueMode::ZeroCopy,
                Copying::Once => api::QueueMode::Copy,
            },
            places: open.entry.places(),
            sends: open.sends,
        };
        own.map(describe).collect()
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
            Err(QueueError::Refused(why)) => {
                let before = why_not.insert(interface.to_owned(), why.clone());
                if before.as_ref() != Some(&why) {
                    tracing::warn!("interface {interface}: AF_XDP: {why}");
                }
            }
        }
    }
}

/// Why a queue is not had.
enum QueueError {
    /// Another socket has it, perhaps not for long.
    Busy,
    Refused(String),
}

impl From<io::Error> for QueueError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ResourceBusy => Self::Busy,
            _ if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Self::Refused(NO_LOCKED_MEMORY.to_owned()),
            io::ErrorKind::PermissionDenied if !Capabilities::effective().has(&NET_RAW) => {
                Self::Refused(format!("{error}: {} missing", NET_RAW.name))
            }
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<datapath::DatapathError> for QueueError {
    fn from(error: datapath::DatapathError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// What the maps are to say of a queue.
fn entry(id: QueueId, device: &Device, share: &Share) -> maps::Queue {
    maps::Queue::new(id.interface, id.queue, device.facts.mac, share.slot).with_places(share.places)
}

/// One more reason why an interface is as it is.
fn say_too(interface: &mut api::Interface, why: &str) {
    let before = interface.why.take().map(|before| format!("{before}; ")).unwrap_or_default();
    interface.why = Some(format!("{before}{why}"));
}

const NO_LOCKED_MEMORY: &str = "the limit of locked memory (RLIMIT_MEMLOCK) has no room for a queue's; LimitMEMLOCK=infinity \
                                in the unit or the capability CAP_IPC_LOCK lifts it, and less af_xdp.memory needs less";
