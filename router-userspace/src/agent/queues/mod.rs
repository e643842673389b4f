//! Receive queues (AF_XDP): which worker has which, kept as it should be while workers come and go,
//! links go down and queues are added.
//!
//! What is there is compared with what is wanted now and then, whatever it was that changed: a message
//! of the kernel's can be lost, a look cannot. A queue that nobody has is no trouble: its packets go
//! by CPU and UDP socket, to the same workers.

mod of_kernel;
mod plan;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use nix::ifaddrs::getifaddrs;
use router_common::maps::{self, SlotState};

use self::{
    of_kernel::OfKernel,
    plan::{Load, Share},
};
use super::{api, error::StartError, generations::Phase, mapped, node::Node};
use crate::{
    config::{AfXdp, Engine, SendBy},
    datapath::{self, CHUNK, Copying, QueueSocket, QueueSocketPlan},
    worker::QueueId,
};

/// The queues that workers of this generation have.
#[derive(Default)]
pub(super) struct Queues {
    open: RefCell<BTreeMap<QueueId, Open>>,
    /// By interface: why a queue of it cannot be had.
    why_not: RefCell<BTreeMap<String, String>>,
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
            self.look_after_queues();
            if self.config().router.engine != Engine::AfXdp {
                return Ok(());
            }
            let Some(without) = self.devices().into_iter().find(|device| !self.queues.has_some_of(&device.name)) else {
                return Ok(());
            };
            // Whoever had them may have ended just now: the kernel takes its time.
            if begun.elapsed() > PATIENCE {
                let why = self.queues.why_not(&without.name).unwrap_or_else(|| "its queues are in use".to_owned());
                return Err(StartError::kernel(format!("interface {}: AF_XDP cannot be had: {why}", without.name))
                    .with_hint(
                        "engine = \"auto\", which takes the next best; quic-router doctor says what is missing",
                    ));
            }
            thread::sleep(BETWEEN_TRIES);
        }
    }

    /// Makes the queues those of the workers that should have them.
    pub(super) fn look_after_queues(&self) {
        let is_wanted = matches!(self.config().router.engine, Engine::AfXdp | Engine::Auto);
        if !is_wanted || self.kernel.is_none() || self.is_stopping() || self.generations.phase() != Phase::InCharge {
            return;
        }
        self.look_after_addresses();
        let devices = self.devices();
        let queues: Vec<_> = devices
            .iter()
            .flat_map(|device| {
                let interface = device.facts.index;
                (0..device.facts.queues).map(move |queue| QueueId { interface, queue })
            })
            .collect();
        let wanted = plan::plan(&queues, &self.queues.shares(), &self.loads());
        let leaving = self.queues.leaving(&wanted);
        leaving.iter().for_each(|id| self.release_queue(*id));
        for (id, share) in wanted.iter().filter(|(id, _)| !leaving.contains(id)) {
            let Some(device) = devices.iter().find(|device| device.facts.index == id.interface) else { continue };
            let done =
                if self.queues.has(*id) { self.update_queue(*id, share) } else { self.open_queue(*id, device, share) };
            self.queues.note(&device.name, done);
        }
    }

    /// Leaves all queues: nothing more comes to them, and what has come is read.
    pub(super) fn release_queues(&self) {
        let all: Vec<_> = self.queues.open.borrow().keys().copied().collect();
        all.into_iter().for_each(|id| self.release_queue(id));
    }

    /// How packets come from each interface.
    pub(super) fn interfaces(&self) -> Vec<api::Interface> {
        let mut interfaces = self.now().interfaces.clone();
        for interface in &mut interfaces {
            interface.queues = self.queues.describe(&interface.name);
            if !interface.queues.is_empty() {
                interface.engine = "af_xdp".to_owned();
            }
            if let Some(why) = self.queues.why_not(&interface.name) {
                let before = interface.why.take().map(|before| format!("{before}; ")).unwrap_or_default();
                interface.why = Some(format!("{before}AF_XDP: {why}"));
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
    fn devices(&self) -> Vec<Device> {
        let names: Vec<_> = {
            let now = self.now();
            now.interfaces.iter().filter(|one| one.program_id.is_some()).map(|one| one.name.clone()).collect()
        };
        names.into_iter().filter_map(|name| Some(Device { facts: datapath::device(&name)?, name })).collect()
    }

    fn loads(&self) -> Vec<Load> {
        self.with_workers(|workers| {
            let active = workers.iter().filter(|worker| {
                worker.is_running()
                    && !worker.is_stopping()
                    && self.tables.slot_state(worker.slot()) == SlotState::Active
            });
            let load =
                active.map(|worker| Load { slot: worker.slot(), connections: worker.stats().totals().connections_now });
            load.collect()
        })
    }

    fn open_queue(&self, id: QueueId, device: &Device, share: &Share) -> Result<(), QueueError> {
        let Some(kernel) = &self.kernel else { return Ok(()) };
        let config = self.config();
        let (frames, sending) = self.queues.frames_for(device.facts.queues, &config.af_xdp)?;
        // The kernel sends nothing by a queue that it does not have.
        let sending = if id.queue < device.facts.transmit_queues { sending } else { 0 };
        let busy_poll = config.af_xdp.busy_poll;
        let plan = QueueSocketPlan { interface: id.interface, queue: id.queue, frames, sending, busy_poll };
        let socket = QueueSocket::open(plan)?;
        let (copying, sends, frames) = (socket.copying(), socket.sends(), frames + sending);
        if copying == Copying::Once && config.router.engine == Engine::Auto && !AUTO_TAKES_COPYING {
            return Err(QueueError::Refused("the driver has no zero-copy, without which it is no faster".to_owned()));
        }
        let entry = maps::Queue::new(id.interface, id.queue, device.facts.mac, share.slot).with_places(share.places);
        // The place first, then its reader, and only then what leads packets there.
        kernel.datapath.borrow_mut().set_queue_socket(&entry, &socket)?;
        let received = self.with_workers(|workers| match workers.iter().find(|worker| worker.slot() == share.slot) {
            Some(worker) => worker.receive(id, Box::new(OfKernel(socket))),
            None => Err(io::Error::other("its worker has ended")),
        });
        received?;
        kernel.datapath.borrow_mut().set_queue(&entry)?;
        self.queues
            .open
            .borrow_mut()
            .insert(id, Open { interface: device.name.clone(), entry, copying, sends, frames });
        tracing::debug!("queue {} of {} is slot {}'s", id.queue, device.name, share.slot);
        Ok(())
    }

    fn update_queue(&self, id: QueueId, share: &Share) -> Result<(), QueueError> {
        let mut open = self.queues.open.borrow_mut();
        let (Some(kernel), Some(open)) = (&self.kernel, open.get_mut(&id)) else { return Ok(()) };
        let entry = open.entry.with_places(share.places);
        if entry != open.entry {
            kernel.datapath.borrow_mut().set_queue(&entry)?;
            open.entry = entry;
        }
        Ok(())
    }

    fn release_queue(&self, id: QueueId) {
        let (Some(kernel), Some(open)) = (&self.kernel, self.queues.open.borrow_mut().remove(&id)) else { return };
        if let Err(e) = kernel.datapath.borrow_mut().clear_queue(&open.entry) {
            tracing::error!("queue {} of {}: {e}", id.queue, open.interface);
        }
        self.with_workers(|workers| {
            workers.iter().filter(|worker| worker.slot() == open.entry.owner()).for_each(|worker| worker.release(id));
        });
    }

    /// Tells the kernel which addresses are the host's: only what is for them goes to an AF_XDP socket.
    fn look_after_addresses(&self) {
        let Some(kernel) = &self.kernel else { return };
        let now = match local_addresses() {
            Ok(now) => now,
            Err(e) => return tracing::error!("the host's addresses cannot be told: {e}"),
        };
        if *self.queues.addresses.borrow() != now {
            match kernel.datapath.borrow_mut().set_local_addresses(&now) {
                Ok(()) => *self.queues.addresses.borrow_mut() = now,
                Err(e) => tracing::error!("the host's addresses: {e}"),
            }
        }
    }
}

impl Queues {
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
                Copying::Zero => "zero-copy",
                Copying::Once => "copy",
            }
            .to_owned(),
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

    /// Frames for one of `queues`, to receive and to send: what the budget has left for it, or what is
    /// of use.
    fn frames_for(&self, queues: u32, config: &AfXdp) -> Result<(u32, u32), QueueError> {
        let taken: u64 = self.open.borrow().values().map(|open| u64::from(open.frames)).sum();
        let all = config.memory / CHUNK as u64;
        let even = all / u64::from(queues.max(1));
        let share = even.min(all.saturating_sub(taken));
        let (ways, sending_max) = match config.send {
            SendBy::Udp => (1, 0),
            SendBy::AfXdp => (2, SENDING_MAX),
        };
        let frames = (share / ways).min(u64::from(FRAMES_MAX)) as u32;
        match frames.checked_ilog2().map(|power| 1 << power) {
            Some(frames @ FRAMES_MIN..) => Ok((frames, frames.min(sending_max))),
            _ => Err(QueueError::Refused(format!("af_xdp.memory is too small for {queues} queues"))),
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
            _ => Self::Refused(error.to_string()),
        }
    }
}

impl From<datapath::DatapathError> for QueueError {
    fn from(error: datapath::DatapathError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// The host's addresses, as the maps have them: those that packets from elsewhere may be for. What
/// comes to a link-local one needs to know its link, so it takes the stack.
fn local_addresses() -> io::Result<BTreeSet<[u8; 16]>> {
    let addresses = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    });
    Ok(addresses.map(mapped).filter(|address| address.is_ordinary()).map(|address| address.octets().0).collect())
}

/// Whether `auto` takes AF_XDP where frames are copied.
const AUTO_TAKES_COPYING: bool = true;
/// Fewer are of no use; more only make the processor's caches miss.
const FRAMES_MIN: u32 = 64;
const FRAMES_MAX: u32 = 4_096;
/// Frames on their way out: what a device takes time for, not what may wait.
const SENDING_MAX: u32 = 1_024;
/// How long queues may be another's at the start.
const PATIENCE: Duration = Duration::from_secs(1);
const BETWEEN_TRIES: Duration = Duration::from_millis(20);
