//! The load: what h2load is told to do, and what it says.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use router_tests::lab::{Program, Running, peers};
use serde::Deserialize;

use super::{origin, usage::Used};

/// The core of the load and the origin.
pub(super) const CORE: &str = "1";

/// A way to be busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scenario {
    /// 1 KiB each, 10 connections with 10 requests in flight on each.
    Multiplexed,
    /// 1 KiB each, 100 connections with one request in flight on each.
    Single,
    /// Connections with one request each, 50 at a time.
    Connections,
    /// 64 MiB each, 4 connections with one request in flight on each.
    Bulk,
}

impl Scenario {
    pub(super) const ALL: [Self; 4] = [Self::Multiplexed, Self::Single, Self::Connections, Self::Bulk];

    pub(super) fn parse(name: &str) -> Result<Self> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|scenario| scenario.name() == name);
        found.with_context(|| format!("{name} is none of {}", names()))
    }

    /// In files' names, and on the terminal.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Multiplexed => "multiplexed",
            Self::Single => "single",
            Self::Connections => "connections",
            Self::Bulk => "bulk",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Multiplexed => "Requests of 1 KiB, 10 connections, 10 in flight on each",
            Self::Single => "Requests of 1 KiB, 100 connections, one in flight on each",
            Self::Connections => "New connections with one request each, 50 at a time",
            Self::Bulk => "Responses of 64 MiB, 4 connections, one in flight on each",
        }
    }

    /// What its rate is called.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Multiplexed | Self::Single => "requests/s",
            Self::Connections => "connections/s",
            Self::Bulk => "Gbit/s",
        }
    }

    /// What the server's processor time is told in.
    pub(super) fn cost_unit(self) -> &'static str {
        match self {
            Self::Multiplexed | Self::Single => "CPU µs per request",
            Self::Connections => "CPU µs per connection",
            Self::Bulk => "CPU s per GB",
        }
    }

    /// Whose latency is told: nothing of bulk.
    pub(super) fn latency_of(self) -> Option<&'static str> {
        match self {
            Self::Multiplexed | Self::Single => Some("request"),
            Self::Connections => Some("handshake"),
            Self::Bulk => None,
        }
    }

    /// Puts the load on the laboratory's router for about so long.
    pub(super) fn run(self, lab: &Running, time: Duration) -> Result<Load> {
        let seconds = time.as_secs().max(1).to_string();
        match self {
            Self::Multiplexed => h2load(lab, &["-c10", "-m10", "-D", &seconds], "/"),
            Self::Single => h2load(lab, &["-c100", "-m1", "-D", &seconds], "/"),
            Self::Bulk => h2load(lab, &["-c4", "-m1", "-D", &seconds], origin::BULK),
            // h2load opens all its connections at once and none later.
            Self::Connections => {
                let mut all = Load::default();
                while all.time < time / 2 {
                    all.add(h2load(lab, &["-c50", "-m1", "-n50"], "/")?);
                }
                Ok(all)
            }
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Load {
    pub(super) time: Duration,
    /// Requests that were answered with 2xx.
    pub(super) done: u64,
    pub(super) failed: u64,
    /// Of bodies.
    octets: u64,
    request: Latency,
    handshake: Latency,
}

impl Load {
    /// One after the other. Of latencies the medians stay: the batches are alike.
    fn add(&mut self, other: Self) {
        let share = other.time.as_secs_f64() / (self.time + other.time).as_secs_f64();
        for (mean, one) in [(&mut self.request, &other.request), (&mut self.handshake, &other.handshake)] {
            mean.median += (one.median - mean.median) * share;
            mean.p99 += (one.p99 - mean.p99) * share;
        }
        self.time += other.time;
        self.done += other.done;
        self.failed += other.failed;
        self.octets += other.octets;
    }
}

/// Of one proxy in one scenario in one round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// In the scenario's unit.
    pub(super) rate: f64,
    /// In the scenario's unit of cost.
    pub(super) cost: f64,
    /// Milliseconds.
    pub(super) p50: f64,
    /// Milliseconds.
    pub(super) p99: f64,
    /// How busy the server was, as a share of its core. Where it was idle, the load or the origin
    /// could not keep up, or others were in the way.
    pub(super) busy: f64,
    /// What others had of that core, and interrupts while it was idle.
    pub(super) others: f64,
}

impl Measured {
    pub(super) fn new(scenario: Scenario, load: &Load, used: Used) -> Self {
        let (seconds, cpu) = (load.time.as_secs_f64(), used.server);
        let (busy, others) = (cpu.as_secs_f64() / seconds, used.others);
        let (rate, cost) = match scenario {
            Scenario::Bulk => {
                (load.octets as f64 * 8.0 / seconds / 1e9, cpu.as_secs_f64() / (load.octets as f64 / 1e9))
            }
            _ => (load.done as f64 / seconds, cpu.as_secs_f64() * 1e6 / load.done as f64),
        };
        let latency = if scenario == Scenario::Connections { &load.handshake } else { &load.request };
        Self { rate, cost, p50: latency.median * 1e3, p99: latency.p99 * 1e3, busy, others }
    }
}

/// What h2load writes, in part.
#[derive(Deserialize)]
struct Output {
    measurements: Measurements,
}

#[derive(Deserialize)]
struct Measurements {
    /// Seconds.
    duration: f64,
    requests: Requests,
    status_codes: StatusCodes,
    traffic: Traffic,
    performance: Performance,
}

#[derive(Deserialize)]
struct Requests {
    /// Broken off, or with another status.
    failed: u64,
}

#[derive(Deserialize)]
struct StatusCodes {
    #[serde(rename = "2xx")]
    successful: u64,
}

#[derive(Deserialize)]
struct Traffic {
    data: u64,
}

#[derive(Deserialize)]
struct Performance {
    request: Latency,
    connect: Latency,
}

/// Seconds.
#[derive(Clone, Debug, Default, Deserialize)]
struct Latency {
    median: f64,
    p99: f64,
}

/// Runs h2load with HTTP/3 from the first clients.
fn h2load(lab: &Running, arguments: &[&str], path: &str) -> Result<Load> {
    let output = lab.home().path("h2load.json");
    let mut command = lab.wire().namespace().command("taskset");
    command.args(["--cpu-list", CORE]).arg(peers::find("h2load")?);
    command.args(["--h3", "--connection-inactivity-timeout=10"]).args(arguments);
    command.arg(format!("--output-file={}", output.display())).arg(lab.url(path));
    let finished = Program::start("h2load", &mut command)?.finish(DEADLINE)?.succeeded()?;
    let text = fs::read(&output).with_context(|| finished.stdout)?;
    let Output { measurements } = serde_json::from_slice(&text).context("h2load wrote something else")?;
    let Measurements { duration, requests, status_codes, traffic, performance } = measurements;
    ensure!(duration > 0.0, "h2load took no time: {}", finished.stderr);
    Ok(Load {
        time: Duration::from_secs_f64(duration),
        done: status_codes.successful,
        failed: requests.failed,
        octets: traffic.data,
        request: performance.request,
        handshake: performance.connect,
    })
}

/// Whatever it was told, it ends by then.
const DEADLINE: Duration = Duration::from_secs(120);
