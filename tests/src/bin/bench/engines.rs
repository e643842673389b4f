//! `bench engines`: what a packet costs by each engine; `bench engines sending`: what downloads cost by
//! each of the two ways that AF_XDP's workers can send.
//!
//! Contenders take turns, each under the same loads from third-party clients. A load asks for the same
//! with every engine, so what the machine's processors were busy for, clients and kernel included, differs
//! by the way that packets came or went. What clients did in user mode is the same by every way, and is
//! taken off: it only pulls ratios towards 1. The figures are medians over the turns.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use nix::unistd::{SysconfVar, sysconf};
use router_tests::lab::{ENGINES, Lab, Running, peers::QuicGo};
use router_userspace::agent::api::Totals;

pub(super) fn run(what: Option<&str>) -> Result<()> {
    match what {
        None => receiving().run(),
        Some("sending") => sending().run(),
        Some(other) => bail!("engines {other}: there is `engines` alone, and `engines sending`"),
    }
}

/// Which servers are measured by what, and how they compare.
struct Comparison {
    contenders: Vec<Contender>,
    loads: Vec<Load>,
    /// Packets of a turn: those of the kind that is compared.
    packets: fn(&Totals) -> u64,
    /// Which engine the ratios are to, and what of: the less, the better.
    beside: &'static str,
    costs: (&'static str, fn(&Turn) -> f64),
}

/// Which server it is, and how it is run.
struct Contender {
    name: &'static str,
    lab: Lab,
    /// What is done to its network before it is measured.
    prepare: fn(&Running) -> Result<()>,
}

/// What clients do.
struct Load {
    name: &'static str,
    ask: fn(QuicGo<'_>) -> QuicGo<'_>,
}

fn receiving() -> Comparison {
    let loads = vec![
        Load { name: "small uploads, 20 kB", ask: |goq| goq.post("/sink", 20_000).connections(40).requests(100) },
        Load {
            name: "small uploads, half idle",
            ask: |goq| goq.post("/sink", 20_000).connections(40).requests(20).pausing(Duration::from_millis(100)),
        },
        Load { name: "requests, 100 B", ask: |goq| goq.get("/bytes/100").connections(40).requests(400) },
        Load { name: "bulk uploads, 30 MB", ask: |goq| goq.post("/sink", 30_000_000).connections(8) },
        Load { name: "bulk uploads, one connection", ask: |goq| goq.post("/sink", 120_000_000).connections(1) },
    ];
    Comparison {
        contenders: ENGINES.map(|engine| Contender { name: engine, lab: lab(engine), prepare: |_| Ok(()) }).into(),
        loads,
        packets: |totals| totals.datagrams_received,
        beside: "xdp",
        costs: ("p/s machine, xdp=1", Turn::busy_each),
    }
}

fn sending() -> Comparison {
    let loads = vec![
        Load { name: "requests, 100 B", ask: |goq| goq.get("/bytes/100").connections(40).requests(500) },
        Load { name: "downloads, 20 kB", ask: |goq| goq.get("/bytes/20000").connections(40).requests(250) },
        Load { name: "bulk downloads, 50 MB", ask: |goq| goq.get("/bytes/50000000").connections(8) },
        Load { name: "bulk downloads, one connection", ask: |goq| goq.get("/bytes/200000000").connections(1) },
    ];
    let by = |send: &str| {
        let table = format!("[af_xdp]\nsend = \"{send}\"\n\n");
        lab("af_xdp").config(|config| config.rest.insert_str(0, &table))
    };
    // A veth hands the trains of UDP sockets on to the other end as they are, which no wire does.
    let singly = |lab: &Running| lab.network().router().offload("clients0", &["tx-udp-segmentation", "off"]);
    Comparison {
        contenders: vec![
            Contender { name: "udp", lab: by("udp"), prepare: |_| Ok(()) },
            Contender { name: "udp singly", lab: by("udp"), prepare: singly },
            Contender { name: "af_xdp", lab: by("af_xdp"), prepare: |_| Ok(()) },
        ],
        loads,
        packets: |totals| totals.datagrams_sent,
        beside: "udp",
        // Not by the packet: who loses some sends more of them for the same.
        costs: ("load/s machine, udp=1", Turn::busy_in_all),
    }
}

fn lab(engine: &str) -> Lab {
    Lab::new().engine(engine).queues(2).workers(2).limit("max_connections_per_ip", "10000")
}

impl Comparison {
    fn run(self) -> Result<()> {
        let width = self.contenders.len();
        let mut all: Vec<Vec<Turn>> = vec![Vec::new(); self.loads.len() * width];
        for turn in 0..TURNS {
            for (place, Contender { lab, prepare, .. }) in self.contenders.iter().enumerate() {
                let lab = lab.clone().start()?;
                prepare(&lab)?;
                // Whatever is done for the first time.
                lab.quic_go().get("/bytes/1000").connections(20).succeed()?;
                for (row, load) in self.loads.iter().enumerate() {
                    all[row * width + place].push(Turn::of(&lab, load, self.packets)?);
                }
            }
            eprintln!("turn {} of {TURNS}", turn + 1);
        }
        self.print(&all);
        Ok(())
    }

    fn print(&self, all: &[Vec<Turn>]) {
        let (ratio, cost) = self.costs;
        println!(
            "medians of {TURNS} turns; microseconds for a packet: of the whole machine's processors less the clients' user\n\
             mode, of the clients' user mode, and of the agent alone\n"
        );
        println!(
            "{:<31} {:<10} {:>9} {:>10} {:>10} {:>10} {:>10} {ratio:>21}",
            "", "", "packets", "packets/s", "machine", "clients", "agent"
        );
        for (load, turns) in self.loads.iter().zip(all.chunks(self.contenders.len())) {
            let beside = self.contenders.iter().position(|one| one.name == self.beside);
            let beside = beside.map_or(f64::NAN, |place| median(&turns[place], cost));
            for (Contender { name, .. }, turns) in self.contenders.iter().zip(turns) {
                println!(
                    "{:<31} {name:<10} {:>9.0} {:>10.0} {:>10.2} {:>10.2} {:>10.2} {:>21.2}",
                    load.name,
                    median(turns, |turn| turn.packets as f64),
                    median(turns, |turn| turn.packets as f64 / turn.time.as_secs_f64()),
                    median(turns, Turn::busy_each),
                    median(turns, |turn| turn.each(turn.clients)),
                    median(turns, |turn| turn.each(turn.agent)),
                    beside / median(turns, cost),
                );
            }
        }
    }
}

/// One load by one contender.
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
    fn of(lab: &Running, load: &Load, packets: fn(&Totals) -> u64) -> Result<Self> {
        let count = || Ok::<_, anyhow::Error>(packets(&lab.control().status()?.totals));
        let pid = lab.agent()?.pid()?;
        let (before, busy, clients, agent) = (count()?, machine()?, children()?, process(pid)?);
        let begun = std::time::Instant::now();
        (load.ask)(lab.quic_go()).succeed()?;
        let time = begun.elapsed();
        Ok(Self {
            packets: count()? - before,
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

    /// Seconds of them for the whole load.
    fn busy_in_all(&self) -> f64 {
        self.busy.saturating_sub(self.clients).as_secs_f64()
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
