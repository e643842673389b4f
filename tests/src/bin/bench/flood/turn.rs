//! What is measured in a turn: what clients saw, and what became of all that came by the wire.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};
use router_tests::lab::Running;
use router_userspace::agent::api::Totals;

/// One turn.
pub(super) struct Turn {
    time: Duration,
    begun: u64,
    /// In microseconds, the shortest first.
    handshakes: Vec<u64>,
    /// Processor time of the workers' threads.
    workers: Duration,
    /// By XDP: received, and of those answered with a Retry, and dropped.
    received: u64,
    retried: u64,
    limited: u64,
    /// Datagrams that workers read, and how many they answered with a Retry.
    read: u64,
    retried_by_workers: u64,
    /// Handshakes that were open in the end.
    open: u64,
    /// What clients complained of.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Turn {
    /// Has clients begin for so long, and waits for the last of them.
    pub(super) fn of(lab: &Running, time: Duration) -> Result<Self> {
        let begun = u64::try_from(time.as_micros() / BETWEEN.as_micros())?;
        let totals = || Ok::<_, anyhow::Error>(lab.control().status()?.totals);
        let agent = lab.agent()?.pid()?;
        let (counters, totals_before, workers, since) = (lab.counters()?, totals()?, workers(agent)?, Instant::now());
        let clients = lab.quic_go().get("/bytes/100").connections(begun).every(BETWEEN).timing_each();
        let clients = clients.within(PATIENCE).in_all(time + 10 * PATIENCE).run()?;
        let time = since.elapsed();
        let workers = self::workers(agent)? - workers;
        let moved = counters.moved()?;
        let now = totals()?;
        let by_xdp = |what: &str| moved.get(&format!("xdp.{what}")).copied().unwrap_or(0);
        let of_workers = |which: fn(&Totals) -> u64| which(&now) - which(&totals_before);
        Ok(Self {
            time,
            begun,
            handshakes: clients.handshake_times,
            workers,
            received: by_xdp("received"),
            retried: by_xdp("retried"),
            limited: by_xdp("challenge_limited"),
            read: of_workers(|totals| totals.datagrams_received),
            retried_by_workers: of_workers(|totals| totals.retried),
            open: now.handshakes_now,
            errors: clients.errors,
        })
    }

    /// Packets a second that came by the wire: all but a few hundred are the flood's, if there is one.
    pub(super) fn carried(&self) -> f64 {
        self.received as f64 / self.time.as_secs_f64()
    }

    /// The part of the handshakes that were done in the end.
    pub(super) fn done(&self) -> f64 {
        self.handshakes.len() as f64 / self.begun as f64
    }

    /// The part that was done before a client sends its first flight again.
    pub(super) fn at_once(&self) -> f64 {
        self.handshakes.iter().filter(|&&took| took < FIRST_TIMEOUT).count() as f64 / self.begun as f64
    }

    /// Milliseconds that so large a part of the handshakes that were done took at most.
    pub(super) fn took(&self, part: f64) -> f64 {
        let last = self.handshakes.len().saturating_sub(1);
        let took = self.handshakes.get((part * last as f64) as usize);
        took.map_or(f64::NAN, |&took| took as f64 / 1_000.0)
    }

    /// Milliseconds of the workers' threads in a second.
    pub(super) fn workers(&self) -> f64 {
        1_000.0 * self.workers.as_secs_f64() / self.time.as_secs_f64()
    }

    /// The part of what came that XDP answered with a Retry.
    pub(super) fn retried(&self) -> f64 {
        self.retried as f64 / self.received as f64
    }

    /// What XDP dropped in a second.
    pub(super) fn limited(&self) -> f64 {
        self.limited as f64 / self.time.as_secs_f64()
    }

    /// The part that XDP left to the workers' sockets.
    pub(super) fn left(&self) -> f64 {
        self.to_workers() / self.received as f64
    }

    /// The part of that which workers have read; the rest had no room in a socket.
    pub(super) fn read(&self) -> f64 {
        self.read as f64 / self.to_workers()
    }

    /// Retries a second that workers sent.
    pub(super) fn retried_by_workers(&self) -> f64 {
        self.retried_by_workers as f64 / self.time.as_secs_f64()
    }

    /// Handshakes that were open in the end.
    pub(super) fn open(&self) -> f64 {
        self.open as f64
    }

    fn to_workers(&self) -> f64 {
        (self.received - self.retried - self.limited) as f64
    }
}

/// What the threads of an agent's workers were busy for (proc_pid_task(5), proc_pid_stat(5)).
fn workers(agent: i32) -> Result<Duration> {
    let mut ticks = 0;
    for thread in fs::read_dir(format!("/proc/{agent}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("stat"))?;
        let (name, fields) = stat.rsplit_once(") ").context("a name in brackets")?;
        if name.contains("(worker-") {
            let mut times = fields.split(' ').skip(UTIME).map(str::parse::<u64>);
            ticks += times.next().context("utime")?? + times.next().context("stime")??;
        }
    }
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no clock tick")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Between one client and the next.
pub(super) const BETWEEN: Duration = Duration::from_millis(20);
/// A client that has got nowhere by then gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// Microseconds after which quic-go sends its first flight again: twice the round trip that it supposes.
const FIRST_TIMEOUT: u64 = 200_000;
/// Place in proc_pid_stat(5), counted behind the thread's name.
const UTIME: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_all_that_began() {
        let turn = Turn {
            time: Duration::from_secs(2),
            begun: 10,
            handshakes: vec![1_000, 2_000, 3_000, 250_000, 999_000],
            workers: Duration::from_millis(500),
            received: 100_000,
            retried: 60_000,
            limited: 20_000,
            read: 5_000,
            retried_by_workers: 4_000,
            open: 7,
            errors: BTreeMap::new(),
        };
        assert_eq!((turn.done(), turn.at_once()), (0.5, 0.3));
        assert_eq!((turn.took(0.5), turn.took(0.99)), (3.0, 250.0));
        assert_eq!((turn.retried(), turn.limited(), turn.left(), turn.read()), (0.6, 10_000.0, 0.2, 0.25));
        assert_eq!((turn.carried(), turn.workers(), turn.retried_by_workers()), (50_000.0, 250.0, 2_000.0));
    }
}
