//! Do all four engines deliver the same packets to the same workers, each on its own path, and serve clients?

use std::{collections::BTreeMap, thread};

use anyhow::{Context, Result, ensure};
use router_common::{
    frame,
    reason::{Fate, Reason},
};
use router_tests::{
    cpu,
    lab::{ENGINES, Lab, Running, until, wire::Sender},
    packets::{self, Case, HOP_BY_HOP, LISTENERS, NODE_ID, Packet, SLOTS, cases, cid, quic::Quic},
};
use router_userspace::agent::api;

/// Octets of a follower: more than a case has, so that no case is taken for one.
const FOLLOWER: usize = 1_400;

/// The packets that each worker's endpoints got.
type Got = BTreeMap<u8, u64>;

#[test]
fn every_engine_delivers_each_packet_to_the_same_worker() -> Result<()> {
    let mut by_engine = Vec::new();
    for engine in ENGINES {
        let lab = packets::start(Lab::new().engine(engine))?;
        let sender = Sender::new(lab.wire().namespace(), "router0")?;
        let mut came = BTreeMap::new();
        for case in known_to_all() {
            let got = what_comes(&lab, &sender, &case).with_context(|| format!("{engine}: {}", case.name))?;
            came.insert(case.name, got);
        }
        expect_its_way(&lab, engine)?;
        by_engine.push(came);
    }
    for (engine, came) in ENGINES.iter().zip(&by_engine).skip(1) {
        for (name, got) in came {
            let first = &by_engine[0][name];
            ensure!(got == first, "{name}: {got:?} with {engine}, and {first:?} with {}", ENGINES[0]);
        }
    }
    Ok(())
}

#[test]
fn every_engine_serves_clients() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new().engine(engine).start()?;
        let interfaces = lab.control().status()?.interfaces;
        assert!(interfaces.iter().all(|interface| interface.engine == engine), "{interfaces:?}");
        lab.quic_go().get("/bytes/50000").connections(50).requests(2).succeed()?;
        lab.quic_go().echo(50_000).connections(20).rebinding_at(25_000).succeed()?;
    }
    Ok(())
}

/// Without the flow table, which only kernels have, its cases are others.
fn known_to_all() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| case.reason != Reason::Flow)
}

/// The slots that a case's packet comes to; any one where that hangs on a secret or on the queue.
#[derive(Debug, PartialEq, Eq)]
enum Comes {
    Nowhere,
    Slot(u8),
    AnySlot,
}

fn what_comes(lab: &Running, sender: &Sender, case: &Case) -> Result<Comes> {
    let before = Totals::of(lab)?;
    let followers = followers(source_port(&case.frame));
    // From one CPU: a veth has a queue for each, and frames of two queues overtake each other.
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            cpu::stay_on_this_one()?;
            [&case.frame].into_iter().chain(&followers).try_for_each(|frame| sender.send(frame))
        });
        sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let each = followers.len() as u64 / u64::from(SLOTS);
    // None is overtaken on its own way: when all are there, so is the case's.
    let all = followers.len() as u64;
    let moved = until(|| Ok(Totals::of(lab)?.since(&before)), |moved| moved.has(all))?.got;
    let more: Vec<_> = moved.iter().filter(|&(_, &count)| count > each).map(|(&slot, &count)| (slot, count)).collect();
    let comes = match (&more[..], case.slot) {
        ([], _) => Comes::Nowhere,
        (&[(slot, count)], Some(_)) if count == each + 1 => Comes::Slot(slot),
        (&[(_, count)], None) if count == each + 1 => Comes::AnySlot,
        _ => anyhow::bail!("came more than once: {moved:?}"),
    };
    let as_the_table_says = match case.reason.fate() {
        Fate::Dropped => comes == Comes::Nowhere,
        // What the stack has no device or route for, or no way to check, ends there with every engine.
        Fate::Delivered => comes == Comes::Nowhere || comes == case.slot.map_or(Comes::AnySlot, Comes::Slot),
        Fate::Passed | Fate::Answered | Fate::Forwarded => true,
    };
    ensure!(as_the_table_says, "{comes:?}, which is not what {:?} says", case.reason);
    Ok(comes)
}

/// To each worker, by each family, one that AF_XDP sockets get and one that takes the stack. The kernel gives a socket
/// of the group all that comes from one port, so they come from the case's.
fn followers(port: u16) -> Vec<Vec<u8>> {
    let of_slot = |slot: u8| {
        let quic = || Quic::short(cid(0, NODE_ID, slot).as_slice()).padded_to(FOLLOWER);
        let v4 = || Packet::udp(([10, 77, 0, 99], port), LISTENERS[0], quic());
        let (client, router) = ([0xfd77, 0, 0, 0, 0, 0, 0, 0x99], [0xfd77, 0, 0, 0, 0, 0, 0, 1]);
        let v6 = || Packet::udp((client, port), (router, LISTENERS[1].port()), quic());
        [v4(), v4().options(&[1; 4]), v6(), v6().extension(HOP_BY_HOP)].map(|packet| packet.frame())
    };
    (0..SLOTS).flat_map(of_slot).collect()
}

/// The UDP port that a frame comes from, if anything can; else any.
fn source_port(frame: &[u8]) -> u16 {
    frame::parse(frame).ok().map(|datagram| datagram.source.port).filter(|&port| port != 0).unwrap_or(4000)
}

/// What workers have counted.
#[derive(Debug)]
struct Totals {
    got: Got,
    octets: u64,
    /// Received, and what became of it.
    received: [u64; 2],
    /// Handed over, and taken over.
    between: [u64; 2],
}

impl Totals {
    fn of(lab: &Running) -> Result<Self> {
        let workers = lab.workers()?;
        let sum = |count: fn(&api::Totals) -> u64| workers.iter().map(|worker| count(&worker.totals)).sum();
        Ok(Self {
            got: workers.iter().map(|one| (one.slot, one.totals.datagrams_own + one.totals.taken_over)).collect(),
            octets: sum(|totals| totals.bytes_received),
            received: [
                sum(|totals| totals.datagrams_received),
                sum(|totals| totals.datagrams_own + totals.datagrams_dropped + totals.handed_over),
            ],
            between: [sum(|totals| totals.handed_over), sum(|totals| totals.taken_over)],
        })
    }

    fn since(self, before: &Self) -> Self {
        let since = |[a, b]: [u64; 2], [c, d]: [u64; 2]| [a - c, b - d];
        Self {
            got: self.got.into_iter().map(|(slot, count)| (slot, count - before.got[&slot])).collect(),
            octets: self.octets - before.octets,
            received: since(self.received, before.received),
            between: since(self.between, before.between),
        }
    }

    /// Whether all of these followers have come, and what was received is where it belongs. A case that came in the
    /// place of a follower has fewer octets; of one that was dropped there may be a copy for each worker.
    fn has(&self, followers: u64) -> bool {
        self.got.values().sum::<u64>() >= followers
            && self.octets >= followers * FOLLOWER as u64
            && [self.received, self.between].iter().all(|[a, b]| a == b)
    }
}

/// Who decided, and how packets came to their workers.
fn expect_its_way(lab: &Running, engine: &str) -> Result<()> {
    let (counters, totals) = (lab.control().counters()?, lab.control().status()?.totals);
    let stage = |name: &str| counters.stages.iter().find(|stage| stage.name == name).map_or(0, |stage| stage.received);
    let (xdp, select) = (stage("xdp"), stage("select"));
    let ways = (xdp > 0, totals.frames_received > 0, select > 0, totals.handed_over > 0);
    let expected = match engine {
        "af_xdp" => (true, true, true, false),
        "xdp" => (true, false, true, false),
        "reuseport" => (false, false, true, false),
        _ => (false, false, false, true),
    };
    ensure!(ways == expected, "{engine}: by XDP, AF_XDP socket, reuseport program and hands: {ways:?}, {counters:?}");
    Ok(())
}
