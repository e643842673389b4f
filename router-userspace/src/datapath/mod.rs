//! The kernel's half, from the agent's side: load, attach, pin, and typed verbs on the maps.
//!
//! The only room that knows aya. Nothing here decides where a packet goes; it writes down
//! what the agent decided, and reads back what the kernel counted.

mod af_xdp;
mod attach;
pub(crate) mod capabilities;
mod changes;
mod error;
pub(crate) mod ethtool;
mod flows;
mod netfilter;
mod netlink;
mod object;
mod pins;
mod plain;
mod queues;
mod rings;
mod routes;
mod xdp_links;
mod xsk;

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, BorrowedFd},
    path::{Path, PathBuf},
    time::Duration,
};

use aya::{
    Ebpf, TestRunOptions,
    maps::{Array, CpuMap, HashMap, MapData, PerCpuArray, ReusePortSockArray},
    programs::{SkReuseport, TestRun as _, Xdp},
};
use router_common::maps::{
    ASSIGNMENT_SIZE, Assigned, CidConfig, CidKeys, Counters, Listener, ListenerKey, Port, Secrets, Settings, Slot,
    SlotCounters, Stage, names,
};

pub use self::{
    attach::{Attachment, Mode},
    changes::Changes,
    error::{DatapathError, Result},
    flows::{FlowCount, FlowReader, FlowWriter, monotonic_now},
    netfilter::chains_before_sockets,
    pins::{Pins, link_pin, remove_stale},
    queues::{DeviceFacts, device, is_pair, vlan_beside_frames, vrf},
    rings::CHUNK,
    routes::{Hop, Routes},
    xdp_links::{Neighbours, attached_program, link, neighbours, program_id},
    xsk::{Copying, QueueSocket, QueueSocketPlan},
};
use self::{object::KernelLog, plain::Plain};

/// The loaded programs and their maps, attached and pinned for as long as this lives.
pub struct Datapath {
    ebpf: Ebpf,
    pins: Pins,
    settings: Settings,
    attachments: BTreeMap<String, Attachment>,
    flow_count: FlowCount,
    _kernel_log: Option<KernelLog>,
}

/// How large a datapath to load.
#[derive(Clone, Debug)]
pub struct Size {
    /// Entries of the flow table.
    pub flows: u32,
    /// CPUs of the host, online or not.
    pub cpus: u32,
}

/// What to write before the first packet.
#[derive(Clone)]
pub struct Initial {
    /// For the whole node.
    pub settings: Settings,
    /// The seed of the hash that places new connections; secret.
    pub secrets: Secrets,
    /// By rotation; the keys are secret.
    pub cid_configs: Vec<(u8, CidConfig, CidKeys)>,
    /// Those to answer on.
    pub listeners: Vec<(ListenerKey, Listener)>,
}

impl Datapath {
    /// Loads the programs, pins the maps and fills in `initial`. Attaches nothing yet.
    ///
    /// With `kernel_log` the build with diagnostics is loaded, and logs through `tracing`
    /// at that level; this has to happen within a tokio runtime.
    ///
    /// # Errors
    /// What the kernel refused, and the way out.
    pub fn load(pins: Pins, size: &Size, initial: &Initial, kernel_log: Option<&str>) -> Result<Self> {
        let (mut ebpf, kernel_log) = object::load(size, kernel_log, None)?;
        for name in names::ALL {
            pins.pin_map(&ebpf, name)?;
        }
        object::load_programs(&mut ebpf)?;
        let (settings, attachments, flow_count) = (initial.settings, BTreeMap::new(), FlowCount::default());
        let mut datapath = Self { ebpf, pins, settings, attachments, flow_count, _kernel_log: kernel_log };
        datapath.fill_in(initial)?;
        datapath.pins.settle()?;
        Ok(datapath)
    }

    /// Loads the programs beside those of the generation that runs, with its maps. What is in
    /// force stays in force: nothing is changed but that configurations of connection IDs are
    /// added which that generation does not have.
    ///
    /// # Errors
    /// If the maps are not as this program knows them, or belong to another node.
    pub fn join(pins: Pins, size: &Size, initial: &Initial, kernel_log: Option<&str>) -> Result<Self> {
        pins.require_schema()?;
        let (mut ebpf, kernel_log) = object::load(size, kernel_log, Some(&pins))?;
        object::load_programs(&mut ebpf)?;
        let (settings, attachments, flow_count) = (initial.settings, BTreeMap::new(), FlowCount::default());
        let mut datapath = Self { ebpf, pins, settings, attachments, flow_count, _kernel_log: kernel_log };
        let running: Plain<Settings> = datapath.array(names::SETTINGS)?.get(&0, 0)?;
        let secrets: Plain<Secrets> = datapath.array(names::SECRETS)?.get(&0, 0)?;
        let same = (running.0.node_id(), running.0.cid_length())
            == (initial.settings.node_id(), initial.settings.cid_length());
        if !same || secrets.0 != initial.secrets {
            return Err(DatapathError::OtherNode(datapath.pins.directory().to_owned()));
        }
        // Its assignment stays in force until ours is flipped in.
        datapath.settings = initial.settings.after(running.0);
        for (rotation, config, keys) in &initial.cid_configs {
            datapath.set_cid_config(*rotation, *config, keys)?;
        }
        Ok(datapath)
    }

    /// Says whether everything is detached and unpinned when this is dropped, or another
    /// generation has it.
    pub fn set_in_charge(&mut self, yes: bool) {
        self.pins.set_ours(yes);
    }

    /// Takes back what another generation, which has ended, has changed: our settings are in
    /// force again (the assignment has to follow), and our programs wherever they were.
    pub fn resume(&mut self, interfaces: &[String]) -> Result<()> {
        let running: Plain<Settings> = self.array(names::SETTINGS)?.get(&0, 0)?;
        self.settings = self.settings.after(running.0);
        let had = std::mem::take(&mut self.attachments);
        let wanted = interfaces.iter().filter(|interface| had.contains_key(*interface));
        for interface in wanted {
            self.take_over(interface)?;
        }
        Ok(())
    }

    /// Interfaces to which some generation has attached `steer`.
    pub fn attached_interfaces(&self) -> Vec<String> {
        self.pins.links()
    }

    /// Puts `steer` in the place of another generation's on `interface`, in one step; or attaches
    /// it where there is none.
    pub fn take_over(&mut self, interface: &str) -> Result<&Attachment> {
        let Self { ebpf, pins, .. } = self;
        if !pins.link(interface).exists() {
            return self.attach(interface);
        }
        let attachment = attach::replace(object::xdp(ebpf)?, interface, pins)?;
        Ok(self.attachments.entry(interface.to_owned()).or_insert(attachment))
    }

    /// Detaches another generation's `steer` from an interface that is not ours.
    pub fn detach_other(&mut self, interface: &str) {
        // It goes with its last reference, and that is the other generation's until it ends.
        if let Err(e) = std::fs::remove_file(self.pins.link(interface)) {
            tracing::warn!("XDP link of {interface} cannot be unpinned: {e}");
        }
    }

    fn fill_in(&mut self, initial: &Initial) -> Result<()> {
        for (rotation, config, keys) in &initial.cid_configs {
            self.set_cid_config(*rotation, *config, keys)?;
        }
        self.set_listeners(&initial.listeners)?;
        for index in 0..2 * ASSIGNMENT_SIZE {
            self.array(names::ASSIGNMENT)?.set(index, Plain(Assigned::NONE), 0)?;
        }
        self.array(names::SECRETS)?.set(0, Plain(initial.secrets), 0)?;
        self.array(names::SETTINGS)?.set(0, Plain(initial.settings), 0)?;
        Ok(())
    }

    /// Has connection IDs of `rotation` (0 to 6) decoded by `config` from now on.
    pub fn set_cid_config(&mut self, rotation: u8, config: CidConfig, keys: &CidKeys) -> Result<()> {
        // The keys first: what is decoded from now on is decoded by them.
        self.array(names::CID_KEYS)?.set(rotation.into(), Plain(*keys), 0)?;
        Ok(self.array(names::CID_CONFIGS)?.set(rotation.into(), Plain(config), 0)?)
    }

    /// Has connection IDs of `rotation` decoded no longer, and forgets the keys.
    pub fn clear_cid_config(&mut self, rotation: u8) -> Result<()> {
        self.array(names::CID_CONFIGS)?.set(rotation.into(), Plain(CidConfig::default()), 0)?;
        Ok(self.array(names::CID_KEYS)?.set(rotation.into(), Plain(CidKeys::NONE), 0)?)
    }

    /// Makes these the listeners, and no others. What is not among them any more is passed to
    /// the kernel's stack from now on.
    pub fn set_listeners(&mut self, listeners: &[(ListenerKey, Listener)]) -> Result<()> {
        let before: Vec<ListenerKey> =
            self.hash::<ListenerKey, Listener>(names::LISTENERS)?.keys().filter_map(|key| Some(key.ok()?.0)).collect();
        for &(key, listener) in listeners {
            self.hash(names::LISTENERS)?.insert(Plain(key), Plain(listener), 0)?;
        }
        for key in before.iter().filter(|key| !listeners.iter().any(|(kept, _)| kept == *key)) {
            self.hash::<_, Listener>(names::LISTENERS)?.remove(&Plain(*key))?;
        }
        // A port that nobody has any more is written too, as nobody's.
        for key in before.iter().chain(listeners.iter().map(|(key, _)| key)) {
            let on_port = listeners.iter().filter(|(other, _)| other.endpoint().port == key.endpoint().port);
            let port = on_port.fold(Port::default(), |port, (listener, _)| port.with(listener));
            self.array(names::PORTS)?.set(key.endpoint().port.into(), Plain(port), 0)?;
        }
        Ok(())
    }

    /// Tells the kernel what is in a slot. Its CPU must have been [opened](Self::open_cpu).
    pub fn set_slot(&mut self, number: u8, slot: Slot) -> Result<()> {
        Ok(self.array(names::SLOTS)?.set(number.into(), Plain(slot), 0)?)
    }

    /// Lets packets be redirected to `cpu`.
    pub fn open_cpu(&mut self, cpu: u32) -> Result<()> {
        let map = self.ebpf.map_mut(names::CPUS).ok_or(DatapathError::MissingMap(names::CPUS))?;
        let mut cpus = CpuMap::try_from(map)?;
        // Set again, it would get a new queue, which could overtake what waits in the old one.
        if cpus.get(cpu, 0).is_ok_and(|there| there.queue_size == CPU_QUEUE_PACKETS) {
            return Ok(());
        }
        Ok(cpus.set(cpu, CPU_QUEUE_PACKETS, None, 0)?)
    }

    /// Makes `socket` the one of slot `number` for `listener`.
    pub fn set_socket(&mut self, listener: &Listener, number: u8, socket: &impl AsRawFd) -> Result<()> {
        let map = self.ebpf.map_mut(names::SOCKETS).ok_or(DatapathError::MissingMap(names::SOCKETS))?;
        let index = listener.socket_index(number);
        Ok(ReusePortSockArray::try_from(map)?.set(index, socket, 0)?)
    }

    /// Puts `select` in charge of the reuseport group that `socket` is in: once per group.
    pub fn select_for(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        Ok(self.select()?.attach(socket)?)
    }

    /// Brings a new assignment into force: into the half not in use, then one write flips.
    ///
    /// `slots` has [`ASSIGNMENT_SIZE`] entries.
    pub fn assign(&mut self, slots: &[Assigned]) -> Result<()> {
        let next = self.settings.flipped();
        let base = next.assignment_half() * ASSIGNMENT_SIZE;
        for (index, &assigned) in (base..base + ASSIGNMENT_SIZE).zip(slots) {
            self.array(names::ASSIGNMENT)?.set(index, Plain(assigned), 0)?;
        }
        self.put_settings(next)
    }

    /// Says whether `select` keeps the flow entries, there being no XDP program.
    pub fn set_select_accounts(&mut self, yes: bool) -> Result<()> {
        self.put_settings(self.settings.with_select_accounts(yes))
    }

    fn put_settings(&mut self, settings: Settings) -> Result<()> {
        self.array(names::SETTINGS)?.set(0, Plain(settings), 0)?;
        self.settings = settings;
        Ok(())
    }

    /// Attaches `steer` to an interface, natively if the driver can, else generically, and
    /// pins the link.
    ///
    /// # Errors
    /// If the interface is not there, or if another XDP program is on it (named).
    pub fn attach(&mut self, interface: &str) -> Result<&Attachment> {
        let Self { ebpf, pins, .. } = self;
        let attachment = attach::attach(object::xdp(ebpf)?, interface, pins)?;
        Ok(self.attachments.entry(interface.to_owned()).or_insert(attachment))
    }

    /// Detaches `steer` from an interface.
    pub fn detach(&mut self, interface: &str) {
        if let Some(attachment) = self.attachments.remove(interface) {
            attachment.detach(interface, &self.pins);
        }
    }

    /// Puts back pins that somebody has removed: maps, links, the directory itself; their names.
    ///
    /// # Errors
    /// If one cannot be put back.
    pub fn restore_pins(&mut self) -> Result<Vec<String>> {
        self.pins.restore_directory()?;
        let mut restored = Vec::new();
        for name in names::ALL.into_iter().filter(|name| !self.pins.map(name).exists()).collect::<Vec<_>>() {
            self.pins.pin_map(&self.ebpf, name)?;
            restored.push(name.to_owned());
        }
        let gone: Vec<_> =
            self.attachments.keys().filter(|interface| !self.pins.link(interface).exists()).cloned().collect();
        for interface in gone {
            let Some(attachment) = self.attachments.remove(&interface) else { continue };
            let attachment = attachment.pin_again(&interface, &self.pins)?;
            self.attachments.insert(interface.clone(), attachment);
            restored.push(format!("link-{interface}"));
        }
        Ok(restored)
    }

    /// Whether another file system hides the pins: nobody else finds them by their path then.
    pub fn is_hidden(&self) -> bool {
        self.pins.is_hidden()
    }

    /// Where `steer` is attached, by interface.
    pub fn attachments(&self) -> &BTreeMap<String, Attachment> {
        &self.attachments
    }

    /// Whether `steer` is attached generically to an interface: from there the kernel loses what is
    /// redirected through the CPU map.
    pub fn is_generic_somewhere(&self) -> bool {
        self.attachments.values().any(|attachment| attachment.mode() == Mode::Generic)
    }

    /// One stage's counters, all CPUs added up.
    pub fn counters(&mut self, stage: Stage) -> Result<Counters> {
        let map: PerCpuArray<_, Plain<Counters>> = self.map(names::COUNTERS)?.try_into()?;
        let mut sum = Counters::default();
        for counters in map.get(&(stage as u32), 0)?.iter() {
            sum.add(&counters.0);
        }
        Ok(sum)
    }

    /// One slot's counters, all CPUs added up.
    pub fn slot_counters(&mut self, number: u8) -> Result<SlotCounters> {
        let map: PerCpuArray<_, Plain<SlotCounters>> = self.map(names::SLOT_COUNTERS)?.try_into()?;
        let mut sum = SlotCounters::default();
        for counters in map.get(&number.into(), 0)?.iter() {
            sum.add(&counters.0);
        }
        Ok(sum)
    }

    /// Entries that the flow table has room for.
    pub fn flow_capacity(&self) -> u64 {
        let info = MapData::from_pin(self.pins.map(names::FLOWS)).and_then(|map| map.info());
        info.map_or(0, |info| info.max_entries().into())
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> FlowCount {
        self.flow_count.clone()
    }

    /// A handle to write flows with, one for each worker.
    pub fn flow_writer(&self) -> Result<FlowWriter> {
        FlowWriter::open(&self.pins.map(names::FLOWS), self.flow_count.clone())
    }

    /// A handle to read flows with.
    pub fn flow_reader(&self) -> Result<FlowReader> {
        FlowReader::open(&self.pins.map(names::FLOWS))
    }

    /// Runs `steer` over `frame` without a network: the action it returns, and the mean
    /// time of one of `repeat` runs.
    pub fn try_steer(&mut self, frame: &[u8], repeat: u32) -> Result<(u32, Duration)> {
        try_run(self.xdp()?, frame, repeat)
    }

    /// The same with `floor`, which only parses: what to measure `steer` by.
    pub fn try_floor(&mut self, frame: &[u8], repeat: u32) -> Result<(u32, Duration)> {
        try_run(object::floor(&mut self.ebpf)?, frame, repeat)
    }

    /// Kernel memory that each map takes now, in bytes, as the kernel accounts it.
    pub fn map_memory(&self) -> Vec<(&'static str, u64)> {
        names::ALL.iter().map(|&name| (name, pins::memory(&self.pins.map(name)).unwrap_or(0))).collect()
    }

    /// Instructions the verifier looked at, by program.
    pub fn verified_instructions(&mut self) -> Result<[(&'static str, u32); 2]> {
        let steer = self.xdp()?.info()?.verified_instruction_count().unwrap_or(0);
        let select = self.select()?.info()?.verified_instruction_count().unwrap_or(0);
        Ok([(object::STEER, steer), (object::SELECT, select)])
    }

    /// Where the maps are pinned.
    pub fn directory(&self) -> &Path {
        self.pins.directory()
    }

    fn map(&self, name: &'static str) -> Result<&aya::maps::Map> {
        self.ebpf.map(name).ok_or(DatapathError::MissingMap(name))
    }

    fn array<T: plain::Contract>(&mut self, name: &'static str) -> Result<Array<&mut MapData, Plain<T>>> {
        Ok(self.ebpf.map_mut(name).ok_or(DatapathError::MissingMap(name))?.try_into()?)
    }

    fn hash<K: plain::Contract, V: plain::Contract>(
        &mut self,
        name: &'static str,
    ) -> Result<HashMap<&mut MapData, Plain<K>, Plain<V>>> {
        Ok(self.ebpf.map_mut(name).ok_or(DatapathError::MissingMap(name))?.try_into()?)
    }

    fn xdp(&mut self) -> Result<&mut Xdp> {
        object::xdp(&mut self.ebpf)
    }

    fn select(&mut self) -> Result<&mut SkReuseport> {
        object::select(&mut self.ebpf)
    }
}

impl Drop for Datapath {
    /// Detaches everything; the pins go after it. What an agent set up goes when it goes.
    fn drop(&mut self) {
        for (interface, attachment) in std::mem::take(&mut self.attachments) {
            if self.pins.are_ours() {
                attachment.detach(&interface, &self.pins);
            }
        }
    }
}

/// Loads the programs and lets them go: whether this process may, whatever its capabilities say.
///
/// # Errors
/// What the kernel refused.
pub fn try_programs() -> Result<()> {
    let (mut ebpf, _) = object::load(&Size { flows: 1, cpus: possible_cpus() }, None, None)?;
    object::load_programs(&mut ebpf)
}

fn try_run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<(u32, Duration)> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    let result = program.test_run(options)?;
    Ok((result.return_value, result.duration))
}

/// CPUs of the host, online or not: what the CPU map has to have room for.
pub fn possible_cpus() -> u32 {
    aya::util::nr_cpus().map_or(1, |cpus| cpus as u32)
}

/// Kernel memory that a flow table for `capacity` entries takes when it is full, in bytes.
///
/// The bucket array (16 octets for each, a power of two of them) is there from the start;
/// entries (key, value and 48 octets of the kernel's own, rounded up to its allocator's
/// size class) come and go with the flows.
pub fn flow_table_bytes(capacity: u32) -> u64 {
    const BUCKET: u64 = 16;
    const ENTRY: u64 = 192;
    u64::from(capacity.next_power_of_two()) * BUCKET + u64::from(capacity) * ENTRY
}

/// Where pins go unless the configuration says otherwise.
pub fn default_directory() -> PathBuf {
    PathBuf::from("/sys/fs/bpf/quic-router")
}

/// Packets that may wait for a CPU: about a millisecond's worth at line rate.
const CPU_QUEUE_PACKETS: u32 = 2_048;
