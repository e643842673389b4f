//! `bench takeover`: how long handshakes and requests take across a reload and across an upgrade,
//! beside the steady state.
//!
//! The three take turns, each under the same load from third-party clients: connections that are
//! made one after the other, and connections that stay and ask all the time. In the middle of a
//! turn the configuration is reloaded, or the binary replaced. The figures are medians over the
//! turns; the worst is the worst of all.

use std::{thread, time::Duration};

use anyhow::ensure;
use router_tests::lab::{
    Lab, Running,
    peers::{Latency, Summary},
};

pub(super) fn run() -> anyhow::Result<()> {
    let mut lab = Lab::new().workers(2).set("drain_timeout", "\"20s\"").limit("max_connections_per_ip", "10_000");
    lab = lab.config(|config| config.certificates.push("other".into()));
    let mut lab = lab.build()?;
    lab.home().write_certificate("other", &["other.test"])?;
    lab.start_agent()?;
    println!("milliseconds, medians of {TURNS} turns; worst: of all\n");
    println!(
        "{:<10} {:>9} {:>9} {:>9}   {:>9} {:>9} {:>9}   {:>6}",
        "", "handshake", "p99", "worst", "request", "p99", "worst", "lost"
    );
    let mut all: [Vec<Turn>; 3] = Default::default();
    for _ in 0..TURNS {
        for (situation, turns) in SITUATIONS.into_iter().zip(&mut all) {
            turns.push(turn(&mut lab, situation)?);
        }
    }
    let mut p99 = Vec::new();
    for ((name, _), turns) in SITUATIONS.iter().zip(&all) {
        let median = |what: fn(&Turn) -> u64| {
            let mut values: Vec<_> = turns.iter().map(what).collect();
            values.sort_unstable();
            milliseconds(values[values.len() / 2])
        };
        let worst = |what: fn(&Turn) -> u64| milliseconds(turns.iter().map(what).max().unwrap_or(0));
        let lost: u64 = turns.iter().map(|turn| turn.lost).sum();
        println!(
            "{name:<10} {:>9.2} {:>9.2} {:>9.2}   {:>9.2} {:>9.2} {:>9.2}   {lost:>6}",
            median(|turn| turn.handshakes.p50),
            median(|turn| turn.handshakes.p99),
            worst(|turn| turn.handshakes.worst),
            median(|turn| turn.requests.p50),
            median(|turn| turn.requests.p99),
            worst(|turn| turn.requests.worst),
        );
        p99.push(median(|turn| turn.handshakes.p99));
    }
    println!("\np99 of handshakes across a reload: {:.2} times the steady state's", p99[1] / p99[0]);
    println!("across an upgrade: {:.2} times (aim: 2 at most)", p99[2] / p99[0]);
    Ok(())
}

/// What clients saw in one turn, in microseconds.
struct Turn {
    handshakes: Latency,
    requests: Latency,
    lost: u64,
}

type Act = fn(&mut Running, u32) -> anyhow::Result<()>;

const SITUATIONS: [(&str, Act); 3] = [("steady", |_, _| Ok(())), ("reload", reload), ("upgrade", upgrade)];

fn reload(lab: &mut Running, round: u32) -> anyhow::Result<()> {
    lab.reload(|config| {
        config.certificates.reverse();
        config.set_router("workers", if round % 2 == 0 { "3" } else { "2" });
    })
    .map(drop)
}

fn upgrade(lab: &mut Running, _: u32) -> anyhow::Result<()> {
    lab.agent()?.upgrade(None).map(drop)
}

fn turn(lab: &mut Running, (name, act): (&str, Act)) -> anyhow::Result<Turn> {
    let begin = |lab: &Running| {
        let new = lab.quic_go().get("/bytes/1000").connections(1_000).at_once(4).following().start()?;
        let stay = lab.quic_go().get("/bytes/1000").connections(20).requests(150).pausing(PAUSE).following().start()?;
        anyhow::Ok((new, stay))
    };
    let (new, stay) = begin(lab)?;
    for round in 0..2 {
        // The rhythm of the turn: its acts fall into the load, wherever that is.
        thread::sleep(Duration::from_millis(500));
        act(lab, round)?;
    }
    let (new, stay) = (new.finish()?, stay.finish()?);
    let lost = |summary: &Summary| summary.connections_failed + summary.requests_failed;
    // The next turn begins alone.
    while lab.control().status()?.generations.len() > 1 {
        thread::sleep(Duration::from_millis(50));
    }
    ensure!(new.connections_ok > 900, "{name}: {new:?}");
    Ok(Turn { handshakes: new.handshakes, requests: stay.requests, lost: lost(&new) + lost(&stay) })
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}

const TURNS: usize = 7;
const PAUSE: Duration = Duration::from_millis(10);
