//! `demo`: the whole path once, for a person to watch. Clients, the router and a server in
//! network namespaces; many HTTP/3 connections; a client whose address changes in the
//! middle of a download; and then what the router's maps say of all that.
//!
//! With `--cluster`: several nodes with one address, in [`cluster`].
//!
//! It takes everything down at the end, also after Ctrl-C. With `--keep` the end is Ctrl-C.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use router_tests::{
    bpftool,
    lab::{
        Lab, Running, binary, open_sums,
        peers::{self, Clients},
    },
};
use router_userspace::agent::api::{Counters, Totals, Workers, XdpMode};

use self::interrupts::Interrupts;

mod cluster;
mod interrupts;

fn main() -> Result<()> {
    let (mut keep, mut several) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--keep" => keep = true,
            "--cluster" => several = true,
            other => bail!("unknown argument {other:?}; try: demo [--cluster] [--keep]"),
        }
    }
    if several {
        return cluster::show(keep);
    }
    let interrupts = Interrupts::watch()?;
    say("A router with 4 workers, between clients (on a veth with 4 queues) and a server");
    let lab = Lab::new().queues(4).workers(4).engine("xdp").start()?;
    show_engine(&lab)?;
    let demo = Demo { lab, interrupts };
    demo.fetch(5)?;
    demo.fetch(200)?;
    demo.rebind()?;
    say("Every packet's fate");
    show_counters(&demo.lab.control().counters()?)?;
    if keep {
        show_around(&demo.lab)?;
        demo.interrupts.wait();
    }
    say("Taking it down");
    Ok(())
}

struct Demo {
    lab: Running,
    interrupts: Interrupts,
}

impl Demo {
    /// `count` connections at once, one request each; then who served them.
    fn fetch(&self, count: u64) -> Result<()> {
        say(&format!("{count} clients at once fetch 100 kB each over HTTP/3"));
        let before = self.lab.control().workers()?;
        self.follow(self.lab.quic_go().get("/bytes/100000").connections(count).start()?)?;
        show_workers(&before, &self.lab.control().workers()?);
        Ok(())
    }

    /// Downloads during which each client's port changes, and the flow table that saw it.
    fn rebind(&self) -> Result<()> {
        say("20 downloads of 4 MB; in the middle of each, the client's port changes under it");
        let clients = self.lab.quic_go().get("/bytes/4000000").connections(20).rebinding_at(2_000_000);
        let clients = clients.holding(Duration::from_secs(3)).start()?;
        let (mut moved, mut entries) = (0, 0);
        while moved < 20 && !clients.ends_within(GLANCE) {
            self.interrupts.check()?;
            let flows = self.lab.control().flows()?;
            moved = flows.flows.iter().filter(|flow| flow.peer_changes > 0).count();
            entries = flows.entries;
        }
        let path = self.lab.home().pins().join("flows");
        let dump = bpftool::print(&path)?;
        self.follow(clients)?;
        let wrong = self.lab.control().status()?.totals.handed_over;
        println!("  {moved} connection IDs saw their peer change; {wrong} packets took a wrong worker");
        println!("\n  # bpftool map dump pinned {}", path.display());
        println!("[{{\n{}\n    }},{{\n        ... and so on: {entries} entries", busiest(&dump, 2).join("\n    },{\n"));
        Ok(())
    }

    /// Shows how far `clients` are until they have ended.
    fn follow(&self, clients: Clients) -> Result<()> {
        let live = std::io::stdout().is_terminal();
        while !clients.ends_within(GLANCE) {
            self.interrupts.check()?;
            if let (true, Ok(status)) = (live, self.lab.control().status()) {
                print!("\r  {} connections open, {} so far ", status.totals.connections_now, status.totals.accepted);
                std::io::stdout().flush()?;
            }
        }
        let summary = clients.succeed()?;
        let (connections, requests, bytes) = (summary.connections_ok, summary.requests_ok, summary.bytes);
        println!("\r  {connections} connections, {requests} requests answered, {bytes} octets received, none failed");
        Ok(())
    }
}

fn show_engine(lab: &Running) -> Result<()> {
    let status = lab.control().status()?;
    for interface in &status.interfaces {
        let mode = interface.mode.map_or("-", XdpMode::as_str);
        println!("  {}: engine {}, {mode}, program {:?}", interface.name, interface.engine, interface.program_id);
    }
    for problem in &status.problems {
        println!("  note: {problem}");
    }
    Ok(())
}

fn show_workers(before: &Workers, after: &Workers) {
    println!("  {:>4}  {:>3}  {:>11}  {:>9}  {:>11}", "slot", "cpu", "connections", "datagrams", "handed over");
    for worker in &after.workers {
        let before = before.workers.iter().find(|other| other.slot == worker.slot);
        let (then, now) = (before.map_or_else(Totals::default, |other| other.totals), worker.totals);
        println!(
            "  {:>4}  {:>3}  {:>11}  {:>9}  {:>11}",
            worker.slot,
            worker.cpu,
            now.accepted - then.accepted,
            now.datagrams_received - then.datagrams_received,
            now.handed_over - then.handed_over
        );
    }
}

fn show_counters(counters: &Counters) -> Result<()> {
    for stage in &counters.stages {
        println!("  {:<8} {:>9} received", stage.name, stage.received);
        for (fate, reasons) in [("passed", &stage.passed), ("dropped", &stage.dropped), ("delivered", &stage.delivered)]
        {
            for (reason, count) in reasons.iter().filter(|&(_, &count)| count > 0) {
                println!("  {:<8} {count:>9} {fate}: {reason}", "");
            }
        }
        println!("  {:<8} {:>9} {}", "", "=", if stage.closes { "the sum closes" } else { "THE SUM IS OPEN" });
    }
    let open = open_sums(counters);
    ensure!(open.is_empty(), "sums that do not close: {open:?}");
    Ok(())
}

fn show_around(lab: &Running) -> Result<()> {
    let (router, clients) = (lab.network().router().name(), lab.wire().namespace().name());
    let (control, pins) = (lab.home().control(), lab.home().pins());
    let (binary, goq) = (binary()?, peers::find("goq")?);
    say("It keeps running. To look around, in another terminal:");
    for verb in ["status --watch", "workers list", "flows list", "counters --watch"] {
        println!("  {} --control {} {verb}", binary.display(), control.display());
    }
    println!("  bpftool map dump pinned {}", pins.join("flows").display());
    println!("  nsenter --net=/run/netns/{router} ip -s link");
    println!("  nsenter --net=/run/netns/{clients} {} get -url {} -bodies", goq.display(), lab.url("/whoami"));
    println!("  tail -f {}", lab.home().log_path().display());
    println!("\nCtrl-C takes it down.");
    Ok(())
}

/// The `count` entries of a dump with the most packets, as bpftool printed them.
fn busiest(dump: &str, count: usize) -> Vec<&str> {
    let mut entries: Vec<&str> = dump.split("},{\n").map(str::trim_end).collect();
    let packets = |entry: &&str| -> u64 {
        let after = entry.split("\"packets\": ").nth(1).unwrap_or_default();
        after.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
    };
    entries.sort_by_key(|entry| std::cmp::Reverse(packets(entry)));
    entries.truncate(count);
    entries
}

fn say(what: &str) {
    println!("\n== {what}");
}

/// How often what is shown is renewed.
const GLANCE: Duration = Duration::from_millis(200);
