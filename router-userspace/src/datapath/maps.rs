//! What the agent decided, written into the maps.

use std::os::fd::{AsRawFd, BorrowedFd};

use aya::maps::{CpuMap, ReusePortSockArray};
use router_common::{
    identifiers::{ConfigRotation, CpuId, SlotId},
    maps::{ASSIGNMENT_SIZE, Assigned, CidConfig, CidKeys, Listener, ListenerKey, Port, Settings, Slot, names},
};

use super::{
    error::{DatapathError, Result},
    handle::Datapath,
    plain::Plain,
};

impl Datapath {
    /// Has connection IDs of `rotation` (0 to 6) decoded by `config` from now on.
    pub fn set_cid_config(&mut self, rotation: ConfigRotation, config: CidConfig, keys: &CidKeys) -> Result<()> {
        // The keys first: what is decoded from now on is decoded by them.
        self.array(names::CID_KEYS)?.set(rotation.into(), Plain(*keys), 0)?;
        Ok(self.array(names::CID_CONFIGS)?.set(rotation.into(), Plain(config), 0)?)
    }

    /// Has connection IDs of `rotation` decoded no longer, and forgets the keys.
    pub fn clear_cid_config(&mut self, rotation: ConfigRotation) -> Result<()> {
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
        // A port without a listener is written too, as free.
        for key in before.iter().chain(listeners.iter().map(|(key, _)| key)) {
            let on_port = listeners.iter().filter(|(other, _)| other.endpoint().port == key.endpoint().port);
            let port = on_port.fold(Port::default(), |port, (listener, _)| port.with(listener));
            let port = port.with_tunnel(self.tunnel_port == Some(key.endpoint().port));
            self.array(names::PORTS)?.set(key.endpoint().port.into(), Plain(port), 0)?;
        }
        Ok(())
    }

    /// Tells the kernel what is in a slot. Its CPU must have been [opened](Self::open_cpu).
    pub fn set_slot(&mut self, number: SlotId, slot: Slot) -> Result<()> {
        Ok(self.array(names::SLOTS)?.set(number.into(), Plain(slot), 0)?)
    }

    /// Lets packets be redirected to `cpu`.
    pub fn open_cpu(&mut self, cpu: CpuId) -> Result<()> {
        let map = self.ebpf.map_mut(names::CPUS).ok_or(DatapathError::MissingMap(names::CPUS))?;
        let mut cpus = CpuMap::try_from(map)?;
        // Set again, it would get a new queue, which could overtake what waits in the old one.
        if cpus.get(cpu.get(), 0).is_ok_and(|there| there.queue_size == CPU_QUEUE_PACKETS) {
            return Ok(());
        }
        Ok(cpus.set(cpu.get(), CPU_QUEUE_PACKETS, None, 0)?)
    }

    /// Makes `socket` the one of slot `number` for `listener`.
    pub fn set_socket(&mut self, listener: &Listener, number: SlotId, socket: &impl AsRawFd) -> Result<()> {
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

    pub(super) fn put_settings(&mut self, settings: Settings) -> Result<()> {
        self.array(names::SETTINGS)?.set(0, Plain(settings), 0)?;
        self.settings = settings;
        Ok(())
    }
}

/// Packets that may wait for a CPU: about a millisecond's worth at line rate.
const CPU_QUEUE_PACKETS: u32 = 2_048;
