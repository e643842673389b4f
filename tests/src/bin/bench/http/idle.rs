//! `bench idle`: memory for each connection that has asked once and says nothing since.
//!
//! Each proxy in turn gets the connections of quic-go clients, some at a time; what it has more of memory when all of
//! them are there than after a first few is theirs. The clients send a PING now and then, so that no idle timeout ends
//! them.

use std::{env, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use router_tests::{cpu, lab::Running};

use super::{
    laboratory,
    origin::Origin,
    proxies::{Proxy, Serving},
};

pub(in super::super) fn run() -> Result<()> {
    let (mut connections, mut proxies) = (10_000, Proxy::ALL.to_vec());
    let mut arguments = env::args().skip(2);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{argument} needs a value; {USAGE}"))?;
        match argument.as_str() {
            "--connections" => connections = value.parse().context("--connections is a number")?,
            "--proxies" => proxies = value.split(',').map(Proxy::parse).collect::<Result<_>>()?,
            other => bail!("{other} is no option; {USAGE}"),
        }
    }
    ensure!(connections >= AT_A_TIME, "fewer than {AT_A_TIME} connections say little; {USAGE}");
    let mut lab = laboratory("auto")?;
    let _origin = Origin::start(&lab)?;
    println!("On {}; engine `auto`, {connections} connections.\n", cpu::described());
    println!("| | KiB per idle connection | MiB before | MiB with them |\n|---|---:|---:|---:|");
    for proxy in proxies {
        let version = proxy.version(&lab)?;
        let serving = proxy.start(&mut lab)?;
        let (before, with) = measure(&lab, &serving, connections).with_context(|| proxy.name())?;
        serving.stop(&mut lab)?;
        let each = with.saturating_sub(before) as f64 / connections as f64 / 1024.0;
        let mib = |octets: u64| octets as f64 / f64::from(1 << 20);
        println!("| {} {version} | {each:.1} | {:.0} | {:.0} |", proxy.name(), mib(before), mib(with));
    }
    Ok(())
}

/// Memory with a first few connections come and gone, and with all there.
fn measure(lab: &Running, serving: &Serving, connections: u64) -> Result<(u64, u64)> {
    lab.quic_go().get("/").connections(AT_A_TIME).at_once(20).succeed()?;
    let before = serving.memory()?;
    let mut held = Vec::new();
    for first in (0..connections).step_by(AT_A_TIME as usize) {
        let clients = lab.quic_go().get("/").connections(AT_A_TIME.min(connections - first));
        let clients = clients.holding(LONG).keeping_alive(PING).start()?;
        clients.await_line("all on hold", PATIENCE)?;
        held.push(clients);
    }
    let with = serving.memory()?;
    for clients in &held {
        ensure!(!clients.ends_within(Duration::ZERO), "connections ended too early: {}", clients.said());
    }
    Ok((before, with))
}

/// Connections of one client process, which begin together.
const AT_A_TIME: u64 = 100;
/// They stay longer than the measurement takes.
const LONG: Duration = Duration::from_secs(900);
const PING: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

const USAGE: &str = "usage: bench idle [--connections N] [--proxies NAME,NAME]";
