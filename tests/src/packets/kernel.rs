//! The XDP program, loaded but not attached: what does it do with a frame?

use std::{
    ops::{Add, Sub},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail, ensure};
use router_common::{
    admission::Challenge,
    identifiers::{CpuId, GenerationId, ListenerId, NodeId, SlotId},
    maps::{
        AnsweredBy, Hop, Listener, NodeCounters, PerSource, Queue, Secrets, Settings, Slot, SlotState, SourcePorts,
        Stage,
    },
    reason::{Counters, Reason},
    steer::{self, Verdict},
    tunnel::Leaving,
};
use router_userspace::datapath::{CidEntry, Datapath, FlowWriter, Initial, Pins, Size, Trial, possible_cpus};

use super::{
    REFUSED_PORTS, World,
    cluster::{Cluster, TUNNEL_PORT},
};

/// The program with maps of its own.
pub struct Kernel {
    datapath: Datapath,
    slots: usize,
    actions: Actions,
    total: Tally,
}

/// What the program has returned so far.
#[derive(Default)]
struct Actions {
    pass: u64,
    drop: u64,
    send: u64,
}

impl Actions {
    fn add(&mut self, action: u32) -> Result<()> {
        match action {
            XDP_PASS => self.pass += 1,
            XDP_DROP => self.drop += 1,
            XDP_TX => self.send += 1,
            XDP_REDIRECT => {}
            other => bail!("XDP action {other}"),
        }
        Ok(())
    }
}

/// How many packets went which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Left to the kernel.
    pub passed: u64,
    /// Thrown away.
    pub dropped: u64,
    /// Answered, or sent on to another node.
    pub answered: u64,
    /// Delivered, by slot.
    pub slots: [u64; 256],
    /// By reason.
    pub reasons: [u64; Reason::ALL.len()],
}

impl Kernel {
    /// Loads it, with the listeners and the assignment of [`World`], `slots` active slots, and
    /// these configurations of connection IDs. `name` is for its pins.
    pub fn load(name: &str, settings: Settings, slots: usize, configs: &[CidEntry]) -> Result<Self> {
        let directory = PathBuf::from(format!("/sys/fs/bpf/qr-{}-{name}", std::process::id()));
        let (pins, _) = Pins::take(&directory)?;
        let listeners =
            World::listeners().into_iter().zip(0..).map(|(key, id)| (key, Listener::new(ListenerId::new(id))));
        let initial = Initial {
            settings,
            secrets: Secrets::new(World::SEED),
            cid_configs: configs.to_vec(),
            listeners: listeners.collect(),
        };
        let mut datapath = Datapath::load(pins, &Size { flows: 1024, cpus: possible_cpus() }, &initial, None)?;
        for slot in SlotId::all().take(slots) {
            let cpu = CpuId::new(u32::from(slot) % possible_cpus());
            datapath.open_cpu(cpu)?;
            datapath.set_slot(slot, Slot::new(SlotState::Active, cpu, GenerationId::new(1)))?;
        }
        datapath.assign(&World::assignment())?;
        datapath.set_local_addresses(&World::local_addresses())?;
        let blocks = World::blocks();
        blocks.iter().try_for_each(|(prefix, block)| datapath.set_block(prefix, *block))?;
        datapath.set_block_count(blocks.len() as u32)?;
        datapath.set_source_ports(&SourcePorts::refusing(&REFUSED_PORTS))?;
        let mut kernel = Self { datapath, slots, actions: Actions::default(), total: Tally::default() };
        kernel.total = kernel.count()?;
        Ok(kernel)
    }

    /// From now on a worker has this queue; the program is run as if each frame came in on queue 0 of
    /// the loopback interface, whose index is 1.
    pub fn on_queue(&mut self, queue: Queue) -> Result<()> {
        Ok(self.datapath.set_queue(&queue)?)
    }

    /// From now on it lets so much through of one prefix.
    pub fn limit_sources(&mut self, limit: PerSource) -> Result<()> {
        let admission = self.datapath.admission()?.limiting_sources(Some(limit));
        Ok(self.datapath.set_admission(admission)?)
    }

    /// From now on the program answers what it can itself, and asks clients for their address so; it has the keys
    /// and the time of [`World`].
    pub fn answering(&mut self, challenge: Challenge) -> Result<()> {
        let offset = (World::NOW * 1_000_000_000).wrapping_sub(monotonic_now()?);
        let admission = self.datapath.admission()?.answering(AnsweredBy::Xdp).challenging(challenge);
        self.datapath.set_admission(admission.with_unix_offset(offset))?;
        Ok(self.datapath.set_token_keys(&World::token_keys_now())?)
    }

    /// From now on it is so many seconds after [`World::NOW`].
    pub fn pass(&mut self, seconds: u64) -> Result<()> {
        let offset = ((World::NOW + seconds) * 1_000_000_000).wrapping_sub(monotonic_now()?);
        let admission = self.datapath.admission()?.with_unix_offset(offset);
        Ok(self.datapath.set_admission(admission)?)
    }

    /// What it made of a frame: what it returned, and the octets it left.
    pub fn answer(&mut self, frame: &[u8]) -> Result<Trial> {
        let trial = self.datapath.try_answer(frame)?;
        self.actions.add(trial.action).with_context(|| format!("{frame:02x?}"))?;
        self.total = self.count()?;
        Ok(trial)
    }

    /// From now on it is a node of this cluster.
    pub fn join(&mut self, cluster: &Cluster) -> Result<()> {
        for (&number, &node) in &cluster.nodes {
            self.datapath.set_node(number, node)?;
        }
        self.datapath.set_tunnel_keys(&cluster.keys)?;
        self.datapath.set_tunnel_port(Some(TUNNEL_PORT))?;
        self.datapath.assign_nodes(cluster.assignment.as_deref())?;
        Ok(self.datapath.set_node_count(cluster.nodes.len() as u32)?)
    }

    /// What was counted between it and another node.
    pub fn counters_of_node(&mut self, number: NodeId) -> Result<Option<NodeCounters>> {
        Ok(self.datapath.counters_of_node(number)?)
    }

    /// A handle to plant flows with.
    pub fn flow_writer(&self) -> Result<FlowWriter> {
        Ok(self.datapath.flow_writer()?)
    }

    /// What the program did with `frames`: what it returned, and which counters moved.
    pub fn steer(&mut self, frames: &[Vec<u8>]) -> Result<Tally> {
        for frame in frames {
            let (action, _) = self.datapath.try_steer(frame, 1)?;
            self.actions.add(action).with_context(|| format!("{frame:02x?}"))?;
        }
        let before = self.total;
        self.total = self.count()?;
        Ok(self.total - before)
    }

    /// Makes sure that it does with `frames` what `decide` says it has to; else names the frame.
    pub fn agree(&mut self, frames: &[Vec<u8>], decide: impl Fn(&[u8]) -> Tally) -> Result<Tally> {
        let expected: Tally = frames.iter().map(|frame| decide(frame)).fold(Tally::default(), Tally::add);
        if self.steer(frames)? == expected {
            return Ok(expected);
        }
        for frame in frames {
            let (there, here) = (self.steer(std::slice::from_ref(frame))?, decide(frame));
            ensure!(there == here, "the program: {there:?}\nthe function: {here:?}\nframe: {frame:02x?}");
        }
        bail!("a batch of packets differed, but none of them alone")
    }

    fn count(&mut self) -> Result<Tally> {
        let mut counters = Counters::default();
        for stage in [Stage::Xdp, Stage::Unwrap] {
            let of_stage = self.datapath.counters(stage)?;
            ensure!(of_stage.closes(), "the sum is open");
            counters.add(&of_stage);
        }
        let Actions { pass, drop, send } = self.actions;
        let mut total = Tally { passed: pass, dropped: drop, answered: send, ..Tally::default() };
        for &reason in Reason::ALL {
            total.reasons[reason as usize] = counters.get(reason);
        }
        for slot in SlotId::all().take(self.slots) {
            let hops = self.datapath.slot_counters(slot)?;
            total.slots[usize::from(slot)] =
                [Hop::Local, Hop::Redirected, Hop::Stayed].map(|hop| hops.get(hop)).iter().sum();
            // What is on its slot's CPU already, or stays where it is, is delivered by passing it.
            total.passed -= hops.get(Hop::Local) + hops.get(Hop::Stayed);
        }
        Ok(total)
    }
}

/// Nanoseconds of CLOCK_MONOTONIC.
fn monotonic_now() -> Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.datapath.directory());
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self { passed: 0, dropped: 0, answered: 0, slots: [0; 256], reasons: [0; Reason::ALL.len()] }
    }
}

impl Tally {
    /// What the function says of one frame in the world that `tables` tell of.
    pub fn decided<T: steer::Tables>(frame: &[u8], tables: &T) -> Self {
        let (verdict, _) = steer::frame(frame, tables);
        let mut tally = Self::default();
        let leaving = match verdict {
            Verdict::Forward(forward) => tables.node(forward.node).map(|node| Leaving::of(frame, node)),
            _ => None,
        };
        let reason = if leaving == Some(Leaving::TooLong) { Reason::TooLongToForward } else { verdict.reason() };
        tally.reasons[reason as usize] = 1;
        match verdict {
            Verdict::Forward(_) => match leaving {
                Some(Leaving::Packet(_)) => tally.answered = 1,
                Some(Leaving::TooLong) => tally.dropped = 1,
                Some(Leaving::Worker) | None => tally.passed = 1,
            },
            Verdict::Pass(_) => tally.passed = 1,
            Verdict::Drop(_) => tally.dropped = 1,
            Verdict::Deliver(delivery) => tally.slots[usize::from(delivery.number)] = 1,
            Verdict::Answer(_) => tally.answered = 1,
        }
        tally
    }

    /// Packets with `reason`.
    pub fn of(&self, reason: Reason) -> u64 {
        self.reasons[reason as usize]
    }

    fn combine(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            passed: with(self.passed, other.passed),
            dropped: with(self.dropped, other.dropped),
            answered: with(self.answered, other.answered),
            slots: std::array::from_fn(|i| with(self.slots[i], other.slots[i])),
            reasons: std::array::from_fn(|i| with(self.reasons[i], other.reasons[i])),
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.combine(other, |a, b| a + b)
    }
}

impl Sub for Tally {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.combine(other, |a, b| a - b)
    }
}

/// `linux/bpf.h`, `enum xdp_action`
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
