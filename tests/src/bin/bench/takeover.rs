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
    peers::{Clients, Latency, QuicGo, Summary},
};

use super::nginx::{Nginx, QuicBpf};

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
        for ((name, act), turns) in SITUATIONS.into_iter().zip(&mut all) {
            turns.push(turn(&mut lab, name, act)?);
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
    drop(lab);
    beside_nginx()
}

/// The same load, and the same number of reloads: how many connections and requests each lost.
fn beside_nginx() -> anyhow::Result<()> {
    println!("\n{RELOADS} reloads in {} seconds, of {SERVED}\n", BETWEEN.as_secs_f64() * f64::from(RELOADS));
    println!("{:<24} {:>8} {:>8} {:>8} {:>8} {:>8}", "lost", "new", "long", "down", "up", "moving");
    let mut lab =
        Lab::new().workers(2).set("drain_timeout", "\"60s\"").limit("max_connections_per_ip", "10_000").start()?;
    let mut round = 0;
    let ours = lost(&mut lab, |lab| {
        round += 1;
        reload(lab, round)
    })?;
    print_lost("quic-router reload", &ours);
    let upgrades = lost(&mut lab, |lab| upgrade(lab, 0))?;
    print_lost("quic-router upgrade", &upgrades);
    drop(lab);
    for (name, quic_bpf) in [("nginx -s reload", QuicBpf::Off), ("the same with quic_bpf", QuicBpf::On)] {
        let mut lab = Lab::new().build()?;
        let nginx = Nginx::start(&lab, quic_bpf)?;
        let theirs = lost(&mut lab, |_| nginx.reload())?;
        print_lost(name, &theirs);
    }
    Ok(())
}

fn print_lost(name: &str, lost: &[u64; 5]) {
    let [new, long, down, up, moving] = lost;
    println!("{name:<24} {new:>8} {long:>8} {down:>8} {up:>8} {moving:>8}");
}

/// Requests that were lost, of each kind of clients, while `act` is done again and again.
fn lost(lab: &mut Running, mut act: impl FnMut(&mut Running) -> anyhow::Result<()>) -> anyhow::Result<[u64; 5]> {
    let patience = Duration::from_secs(20);
    let new = lab.quic_go().get("/bytes/20000").connections(400).at_once(8).pausing(PAUSE * 20);
    let new = new.within(Duration::from_secs(2)).in_all(LONG).following().start()?;
    let long = lab.quic_go().get("/bytes/1000").connections(20).requests(60).pausing(PAUSE * 20);
    let long = long.within(patience).following().start()?;
    let hundred = |asking: QuicGo| asking.connections(100).at_once(4).within(patience).in_all(LONG).following().start();
    let down = hundred(lab.quic_go().get("/bytes/3000000"))?;
    let up = hundred(lab.quic_go().post("/sink", 1_000_000))?;
    let moving = lab.quic_go().get("/bytes/1000000").connections(200).at_once(4).pausing(PAUSE * 5);
    let moving = moving.within(patience).in_all(LONG).rebinding_at(300_000).start()?;
    for _ in 0..RELOADS {
        // The rhythm of the load: for so long it runs undisturbed.
        thread::sleep(BETWEEN);
        act(lab)?;
    }
    let of = |clients: Clients, all: u64| anyhow::Ok(all.saturating_sub(clients.finish()?.requests_ok));
    Ok([of(new, 400)?, of(long, 1_200)?, of(down, 100)?, of(up, 100)?, of(moving, 200)?])
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
        config.set_router("workers", if round.is_multiple_of(2) { "3" } else { "2" });
    })
    .map(drop)
}

fn upgrade(lab: &mut Running, _: u32) -> anyhow::Result<()> {
    lab.agent()?.upgrade(None).map(drop)
}

fn turn(lab: &mut Running, name: &str, act: Act) -> anyhow::Result<Turn> {
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
    let lost = |summary: &Summary| {
        if !summary.errors.is_empty() {
            eprintln!("  {name}: {:?}", summary.errors);
        }
        summary.connections_failed + summary.requests_failed
    };
    // The next turn begins alone.
    lab.await_status(|status| status.generations.len() == 1)?;
    ensure!(new.connections_ok > 900, "{name}: {new:?}");
    Ok(Turn { handshakes: new.handshakes, requests: stay.requests, lost: lost(&new) + lost(&stay) })
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1_000.0
}

const TURNS: usize = 7;
const RELOADS: u32 = 10;
const BETWEEN: Duration = Duration::from_secs(1);
const SERVED: &str =
    "400 new connections, 20 long ones of 60 requests, 100 downloads, 100 uploads, 200 downloads that rebind";
/// Those who are lost are waited for, each in turn.
const LONG: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(10);
