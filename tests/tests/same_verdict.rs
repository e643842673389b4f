//! Do the loaded program and the function agree about packets that nobody thought of: a
//! million of them, random and mutated?

use std::{
    ops::{Add, Sub},
    path::PathBuf,
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};
use router_common::{
    connection_id::ConnectionId,
    maps::{CidConfig, Hop, Listener, Origin, Secrets, Settings, Slot, SlotState, Stage},
    reason::{Counters, Reason},
    steer::{self, Verdict},
};
use router_tests::packets::{
    CID_LENGTH, LISTENERS, NODE_ID, PLANTED_FLOWS, Packet, SLOTS, World, cases, cid,
    quic::{Kind, Quic, UNKNOWN_VERSION, V1, V2},
};
use router_userspace::datapath::{Datapath, Initial, Pins, Size, possible_cpus};

#[test]
fn a_million_packets() -> Result<()> {
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos() as u64;
    let mut packets = Packets::new(seed);
    let mut kernel = Kernel::new()?;
    let world = World::new();
    let mut kinds = Tally::default();
    for _ in 0..PACKETS / BATCH {
        let frames: Vec<_> = (0..BATCH).map(|_| packets.next()).collect();
        let expected: Tally = frames.iter().map(|frame| decide(&world, frame)).fold(Tally::default(), Tally::add);
        kinds = kinds + expected;
        if kernel.steer(&frames)? != expected {
            name_the_culprit(&mut kernel, &world, &frames).with_context(|| format!("seed {seed}"))?;
        }
    }
    // They were not all of one kind.
    for &reason in Reason::ALL.iter().filter(|&&reason| reason != Reason::NoSlot) {
        let count = kinds.reasons[reason as usize];
        assert!(count > PACKETS as u64 / 10_000, "only {count} of {} packets were {}", PACKETS, reason.name());
    }
    Ok(())
}

/// A batch has gone another way in the kernel. One by one, which packet was it?
fn name_the_culprit(kernel: &mut Kernel, world: &World, frames: &[Vec<u8>]) -> Result<()> {
    for frame in frames {
        let (there, here) = (kernel.steer(std::slice::from_ref(frame))?, decide(world, frame));
        ensure!(there == here, "the program: {there:?}\nthe function: {here:?}\nframe: {frame:02x?}");
    }
    bail!("a batch of packets differed, but none of them alone")
}

/// How many packets went which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Tally {
    passed: u64,
    dropped: u64,
    slots: [u64; SLOTS as usize],
    reasons: [u64; Reason::ALL.len()],
}

impl Tally {
    fn combine(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            passed: with(self.passed, other.passed),
            dropped: with(self.dropped, other.dropped),
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

/// What the function says.
fn decide(world: &World, frame: &[u8]) -> Tally {
    let (verdict, _) = steer::frame(frame, world);
    let mut tally = Tally::default();
    tally.reasons[verdict.reason() as usize] = 1;
    match verdict {
        Verdict::Pass(_) => tally.passed = 1,
        Verdict::Drop(_) => tally.dropped = 1,
        Verdict::Deliver(delivery) => tally.slots[usize::from(delivery.number)] = 1,
    }
    tally
}

/// The program, loaded but not attached, in the same world.
struct Kernel {
    datapath: Datapath,
    actions: Actions,
    total: Tally,
}

/// What the program has returned so far.
#[derive(Default)]
struct Actions {
    pass: u64,
    drop: u64,
}

impl Kernel {
    fn new() -> Result<Self> {
        let directory = PathBuf::from(format!("/sys/fs/bpf/qr-{}-same", std::process::id()));
        let (pins, _) = Pins::take(&directory)?;
        let listeners = World::listeners().into_iter().zip(0..).map(|(key, id)| (key, Listener::new(id)));
        let initial = Initial {
            settings: Settings::new(NODE_ID, CID_LENGTH, 1),
            secrets: Secrets::new(World::SEED),
            cid_configs: vec![(0, CidConfig::clear(World::layout()))],
            listeners: listeners.collect(),
        };
        let mut datapath = Datapath::load(pins, &Size { flows: 1024, cpus: possible_cpus() }, &initial, None)?;
        for slot in 0..SLOTS {
            let cpu = u32::from(slot) % possible_cpus();
            datapath.open_cpu(cpu)?;
            datapath.set_slot(slot, Slot::new(SlotState::Active, cpu, 1))?;
        }
        datapath.assign(&World::assignment())?;
        let mut flows = datapath.flow_writer()?;
        for (cid, slot) in PLANTED_FLOWS {
            let cid = ConnectionId::new(cid).context("at most 20 octets")?;
            ensure!(flows.insert(&cid, slot, Origin::Issued), "no room for a flow");
        }
        Ok(Self { datapath, actions: Actions::default(), total: Tally::default() })
    }

    /// What the program did with `frames`: what it returned, and which counters moved.
    fn steer(&mut self, frames: &[Vec<u8>]) -> Result<Tally> {
        for frame in frames {
            match self.datapath.try_steer(frame, 1)?.0 {
                XDP_PASS => self.actions.pass += 1,
                XDP_DROP => self.actions.drop += 1,
                XDP_REDIRECT => {}
                other => bail!("XDP action {other} for {frame:02x?}"),
            }
        }
        let before = self.total;
        self.total = self.count()?;
        Ok(self.total - before)
    }

    fn count(&mut self) -> Result<Tally> {
        let counters: Counters = self.datapath.counters(Stage::Xdp)?;
        ensure!(counters.closes(), "the sum is open");
        let mut total = Tally { passed: self.actions.pass, dropped: self.actions.drop, ..Tally::default() };
        for &reason in Reason::ALL {
            total.reasons[reason as usize] = counters.get(reason);
        }
        for slot in 0..SLOTS {
            let hops = self.datapath.slot_counters(slot)?;
            total.slots[usize::from(slot)] = hops.get(Hop::Local) + hops.get(Hop::Redirected);
            // What is on its slot's CPU already is delivered by passing it.
            total.passed -= hops.get(Hop::Local);
        }
        Ok(total)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.datapath.directory());
    }
}

/// Packets of all kinds: those of the table, spoilt; well-formed ones with random headers; noise.
struct Packets {
    random: Random,
    cases: Vec<Vec<u8>>,
}

impl Packets {
    fn new(seed: u64) -> Self {
        Self { random: Random(seed), cases: cases().into_iter().map(|case| case.frame).collect() }
    }

    fn next(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0 => self.noise(),
            1..5 => self.mutated(),
            _ => self.made_up(),
        }
    }

    /// Octets that are only by chance a packet; at least an Ethernet header.
    fn noise(&mut self) -> Vec<u8> {
        let length = 14 + self.random.below(200);
        let mut frame = self.random.octets(length);
        let ethertype = *self.random.one_of(&[[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00], [0x88, 0xa8], [0x12, 0x34]]);
        frame[12..14].copy_from_slice(&ethertype);
        frame
    }

    /// A packet of the table with some octets of its headers changed, or another length.
    fn mutated(&mut self) -> Vec<u8> {
        let mut frame = self.random.one_of(&self.cases).clone();
        for _ in 0..self.random.below(4) {
            let at = self.random.below(frame.len().min(100));
            frame[at] = match self.random.below(3) {
                0 => frame[at] ^ 1 << self.random.below(8),
                1 => self.random.below(32) as u8,
                _ => self.random.below(256) as u8,
            };
        }
        if self.random.below(4) == 0 {
            let length = 14 + self.random.below(frame.len() + 20);
            frame.resize(length, 0);
        }
        frame
    }

    /// A sound datagram to a listener with any QUIC header.
    fn made_up(&mut self) -> Vec<u8> {
        let cid = self.connection_id();
        let kind = *self.random.one_of(&[Kind::Initial, Kind::Initial, Kind::ZeroRtt, Kind::Handshake, Kind::Retry]);
        let version = *self.random.one_of(&[V1, V1, V2, UNKNOWN_VERSION, 0]);
        let quic = if self.random.below(3) == 0 { Quic::short(&cid) } else { Quic::long(kind, version, &cid) };
        let length = *self.random.one_of(&[5, 20, 21, 60, 1199, 1200, 1300]);
        let quic = quic.padded_to(length);
        let [router, _] = LISTENERS;
        let port = *self.random.one_of(&[router.port(), router.port(), router.port(), 4000]);
        let mut packet = match self.random.below(2) {
            0 => Packet::udp(([10, 77, 0, 99], 4000), (router.ip(), port), quic),
            _ => Packet::udp(([0xfd77, 0, 0, 0, 0, 0, 0, 9], 4000), ([0xfd77, 0, 0, 0, 0, 0, 0, 1], port), quic),
        };
        for _ in 0..self.random.below(4).saturating_sub(1) {
            packet = packet.vlan(self.random.below(4096) as u16);
        }
        packet.frame()
    }

    /// Any, or one that means something here.
    fn connection_id(&mut self) -> Vec<u8> {
        let (rotation, node, slot) = (self.random.below(8), self.random.below(3), self.random.below(6));
        match self.random.below(4) {
            0 => self.random.one_of(&PLANTED_FLOWS).0.to_vec(),
            1 => cid(rotation.min(6) as u8 / 3, node as u16, slot as u8).as_slice().to_vec(),
            2 => {
                let length = self.random.below(24);
                self.random.octets(length)
            }
            _ => self.random.octets(8),
        }
    }
}

/// SplitMix64: what matters is that a seed gives the same packets again.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }

    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    fn octets(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.word() as u8).collect()
    }
}

const PACKETS: usize = 1_000_000;
/// So many go through the program before its counters are read.
const BATCH: usize = 250;

/// `linux/bpf.h`, `enum xdp_action`
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;
