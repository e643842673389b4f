//! `bench engines`: what a packet costs by each engine.
//!
//! The engines take turns, each under the same loads from third-party clients. A load asks for the
//! same whatever the engine, so what the machine's processors were busy for, clients and kernel
//! included, differs by the way that packets came. What the clients did in user mode is the same by
//! every engine, and is taken off: it only pulls ratios towards 1. The figures are medians over the
//! turns, and the ratios are to the engine `xdp`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};
use router_tests::lab::{ENGINES, Lab, Running, peers::QuicGo};

pub(super) fn run() -> Result<()> {
    let mut all: Vec<Vec<Turn>> = vec![Vec::new(); LOADS.len() * ENGINES.len()];
    for turn in 0..TURNS {
        for (place, engine) in ENGINES.iter().enumerate() {
            let lab =
                Lab::new().engine(engine).queues(2).workers(2).limit("max_connections_per_ip", "10000").start()?;
            // Whatever is done for the first time.
            lab.quic_go().get("/bytes/1000").connections(20).succeed()?;
            for (row, load) in LOADS.iter().enumerate() {
                all[row * ENGINES.len() + place].push(Turn::of(&lab, load)?);
            }
        }
        eprintln!("turn {} of {TURNS}", turn + 1);
    }
    println!(
        "medians of {TURNS} turns; microseconds for a packet: of the whole machine's processors less the clients' user\n\
         mode, of the clients' user mode, and of the agent alone\n"
    );
    println!(
        "{:<30} {:<10} {:>9} {:>10} {:>10} {:>10} {:>10} {:>16}",
        "", "engine", "packets", "packets/s", "machine", "clients", "agent", "p/machine, xdp=1"
    );
    for (load, engines) in LOADS.iter().zip(all.chunks(ENGINES.len())) {
        let of_xdp =
            ENGINES.iter().position(|engine| *engine == "xdp").map(|place| median(&engines[place], Turn::busy_each));
        for (engine, turns) in ENGINES.iter().zip(engines) {
            let busy = median(turns, Turn::busy_each);
            println!(
                "{:<30} {engine:<10} {:>9.0} {:>10.0} {:>10.2} {:>10.2} {:>10.2} {:>16.2}",
                load.name,
                median(turns, |turn| turn.packets as f64),
                median(turns, |turn| turn.packets as f64 / turn.time.as_secs_f64()),
                busy,
                median(turns, |turn| turn.each(turn.clients)),
                median(turns, |turn| turn.each(turn.agent)),
                of_xdp.unwrap_or(busy) / busy,
            );
        }
    }
    Ok(())
}

/// What clients do.
struct Load {
    name: &'static str,
    ask: fn(QuicGo<'_>) -> QuicGo<'_>,
}

const LOADS: [Load; 5] = [
    Load { name: "small uploads, 20 kB", ask: |goq| goq.post("/sink", 20_000).connections(40).requests(25) },
    Load {
        name: "small uploads, half idle",
        ask: |goq| goq.post("/sink", 20_000).connections(40).requests(10).pausing(Duration::from_millis(100)),
    },
    Load { name: "requests, 100 B", ask: |goq| goq.get("/bytes/100").connections(40).requests(100) },
    Load { name: "bulk uploads, 10 MB", ask: |goq| goq.post("/sink", 10_000_000).connections(8) },
    Load { name: "bulk uploads, one connection", ask: |goq| goq.post("/sink", 40_000_000).connections(1) },
];

/// One load by one engine.
#[derive(Clone)]
struct Turn {
    packets: u64,
    time: Duration,
    /// Of all processors.
    busy: Duration,
    /// Of it, the clients in user mode.
    clients: Duration,
    /// Of it, the agent.
    agent: Duration,
}

impl Turn {
    fn of(lab: &Running, load: &Load) -> Result<Self> {
        let received = || Ok::<_, anyhow::Error>(lab.control().status()?.totals.datagrams_received);
        let pid = lab.agent()?.pid()?;
        let (packets, busy, clients, agent) = (received()?, machine()?, children()?, process(pid)?);
        let begun = std::time::Instant::now();
        (load.ask)(lab.quic_go()).succeed()?;
        let time = begun.elapsed();
        Ok(Self {
            packets: received()? - packets,
            time,
            busy: machine()? - busy,
            clients: children()? - clients,
            agent: process(pid)? - agent,
        })
    }

    /// Microseconds of the machine's processors for a packet, less the clients' in user mode.
    fn busy_each(&self) -> f64 {
        self.each(self.busy.saturating_sub(self.clients))
    }

    /// Microseconds for a packet.
    fn each(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.packets as f64
    }
}

fn median(turns: &[Turn], what: impl Fn(&Turn) -> f64) -> f64 {
    let mut values: Vec<_> = turns.iter().map(what).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What all processors were busy for, interrupts included (proc_stat(5)).
fn machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let busy = fields.get(..3).zip(fields.get(5..7)).context("/proc/stat has another form")?;
    time(busy.0.iter().chain(busy.1).sum())
}

/// What a process was, in user and kernel mode (proc_pid_stat(5)).
fn process(pid: i32) -> Result<Duration> {
    ticks(&pid.to_string(), &[UTIME, STIME])
}

/// What this process's children were that have ended, in user mode.
fn children() -> Result<Duration> {
    ticks("self", &[CUTIME])
}

/// The sum of some fields of a process's `stat`.
fn ticks(process: &str, which: &[usize]) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().context("no fields")?.split(' ').collect();
    let field = |&index: &usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).context("no number");
    time(which.iter().map(field).sum::<Result<u64>>()?)
}

fn time(ticks: u64) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no clock tick")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

const TURNS: usize = 7;
/// Places in proc_pid_stat(5), counted behind the process's name.
const UTIME: usize = 11;
const STIME: usize = 12;
const CUTIME: usize = 13;
