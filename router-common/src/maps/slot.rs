//! `slots` and `slot_counters`: who is where, and what the kernel stages gave them.

use crate::identifiers::{CpuId, GenerationId};

/// What a slot is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotState {
    /// No worker has it.
    Free,
    /// Its worker gets new connections.
    Active,
    /// Its worker keeps the connections it has.
    Draining,
}

/// Value of `slots`, by slot.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot {
    state: u32,
    cpu: u32,
    shares_cpu: u32,
    redirects: u32,
    generation: u64,
}

const _: () = assert!(size_of::<Slot>() == 24);

impl Slot {
    /// A slot whose worker is pinned to `cpu`.
    pub fn new(state: SlotState, cpu: CpuId, generation: GenerationId) -> Self {
        let state = match state {
            SlotState::Free => 0,
            SlotState::Active => 1,
            SlotState::Draining => 2,
        };
        Self { state, cpu: cpu.get(), generation: generation.get(), ..Self::default() }
    }

    /// What it is doing.
    #[inline(always)]
    pub fn state(&self) -> SlotState {
        match self.state {
            1 => SlotState::Active,
            2 => SlotState::Draining,
            _ => SlotState::Free,
        }
    }

    /// Whether a worker is there, active or draining.
    #[inline(always)]
    pub fn is_taken(&self) -> bool {
        self.state == 1 || self.state == 2
    }

    /// The CPU its worker is pinned to.
    #[inline(always)]
    pub fn cpu(&self) -> CpuId {
        CpuId::new(self.cpu)
    }

    /// Whether another slot's packets are handled on the same CPUs, because their workers share one
    /// or because packets stay where they come in: they have to be kept apart before GRO merges them.
    #[inline(always)]
    pub fn shares_cpu(&self) -> bool {
        self.shares_cpu != 0
    }

    /// The same with [`shares_cpu`](Self::shares_cpu) as given.
    pub fn with_shares_cpu(self, yes: bool) -> Self {
        Self { shares_cpu: yes.into(), ..self }
    }

    /// Whether a packet that comes in on another CPU is moved to the worker's (CPU map), or stays.
    #[inline(always)]
    pub fn redirects(&self) -> bool {
        self.redirects != 0
    }

    /// The same with [`redirects`](Self::redirects) as given.
    pub fn with_redirects(self, yes: bool) -> Self {
        Self { redirects: yes.into(), ..self }
    }

    /// The run of the agent that took it.
    pub fn generation(&self) -> GenerationId {
        GenerationId::new(self.generation)
    }
}

/// Value of `slot_counters`, by slot, one per CPU: what the kernel stages gave it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlotCounters {
    xdp_local: u64,
    xdp_redirected: u64,
    xdp_unredirected: u64,
    selected: u64,
    unselected: u64,
    xdp_stayed: u64,
    xdp_socket: u64,
}

const _: () = assert!(size_of::<SlotCounters>() == 56);

/// How a packet went to its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hop {
    /// XDP: it already was on the slot's CPU.
    Local,
    /// XDP: through the CPU map.
    Redirected,
    /// XDP: the CPU map had no entry for the slot's CPU; the kernel carries on where the packet is.
    Unredirected,
    /// `select`: to the slot's socket.
    Selected,
    /// `select`: the slot had no socket for the listener; the kernel chose one.
    Unselected,
    /// XDP: left on the CPU that it came in on, which is not the slot's.
    Stayed,
    /// XDP: to the slot's AF_XDP socket on the queue it came in on.
    Socket,
}

impl SlotCounters {
    /// Packets that went by `hop`.
    pub fn get(&self, hop: Hop) -> u64 {
        match hop {
            Hop::Local => self.xdp_local,
            Hop::Redirected => self.xdp_redirected,
            Hop::Unredirected => self.xdp_unredirected,
            Hop::Selected => self.selected,
            Hop::Unselected => self.unselected,
            Hop::Stayed => self.xdp_stayed,
            Hop::Socket => self.xdp_socket,
        }
    }

    /// Counts one packet.
    #[inline(always)]
    pub fn count(&mut self, hop: Hop) {
        let counter = match hop {
            Hop::Local => &mut self.xdp_local,
            Hop::Redirected => &mut self.xdp_redirected,
            Hop::Unredirected => &mut self.xdp_unredirected,
            Hop::Selected => &mut self.selected,
            Hop::Unselected => &mut self.unselected,
            Hop::Stayed => &mut self.xdp_stayed,
            Hop::Socket => &mut self.xdp_socket,
        };
        *counter = counter.wrapping_add(1);
    }

    /// Adds another CPU's counters.
    pub fn add(&mut self, other: &Self) {
        self.xdp_local += other.xdp_local;
        self.xdp_redirected += other.xdp_redirected;
        self.xdp_unredirected += other.xdp_unredirected;
        self.selected += other.selected;
        self.unselected += other.unselected;
        self.xdp_stayed += other.xdp_stayed;
        self.xdp_socket += other.xdp_socket;
    }
}
