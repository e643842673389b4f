//! Three nodes with one address behind an ECMP router, and what clients notice while the route flaps, a node dies and
//! another one joins.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use router_tests::lab::{
    binary,
    cluster::{Cluster, Counts, Family, Pair, Running},
    peers::{self, Clients, Summary},
    until,
};

use super::{interrupts::Interrupts, say};

/// Shows it; with `keep`, until Ctrl-C.
pub(crate) fn show(keep: bool) -> Result<()> {
    let interrupts = Interrupts::watch()?;
    say("Three nodes with one address, behind a router that spreads clients over them (ECMP)");
    println!("  which nodes there are says a real etcd, which gives them their numbers and keys, too");
    let cluster = Cluster::new().nodes(3).etcd().start()?;
    let mut demo = Demo { cluster, interrupts };
    demo.nodes()?;
    demo.share()?;
    demo.flap()?;
    demo.join()?;
    demo.sums()?;
    demo.kill()?;
    if keep {
        demo.show_around()?;
        demo.interrupts.wait();
    }
    say("Taking it down");
    Ok(())
}

struct Demo {
    cluster: Running,
    interrupts: Interrupts,
}

impl Demo {
    /// Who is there.
    fn nodes(&self) -> Result<()> {
        println!("  {:>4}  {:<12} {:<10} engine", "node", "address", "all have");
        for node in self.cluster.nodes() {
            let interfaces = node.control().status()?.interfaces;
            let engines: Vec<_> = interfaces.iter().map(|interface| interface.engine.to_string()).collect();
            let (own, vip) = (node.wiring().address(Family::V4), Family::V4.vip());
            println!("  {:>4}  {own:<12} {vip:<10} {}", node.number(), engines.join(", "));
        }
        Ok(())
    }

    /// New connections, where the router sends them.
    fn share(&self) -> Result<()> {
        say("200 clients at once fetch 100 kB each over HTTP/3, and change their port half-way");
        let (before, accepted) = (self.cluster.counts()?, self.accepted()?);
        let clients = self.cluster.quic_go().get("/bytes/100000").connections(200).rebinding_at(50_000).start()?;
        self.follow(&clients)?;
        tell(&clients.succeed()?);
        self.forwarded(&before, &accepted)
    }

    /// The route changes under connections that are in use.
    fn flap(&mut self) -> Result<()> {
        say("90 clients talk on; 30 times one of the nodes leaves the route or comes back, and all nodes live");
        let (before, accepted) = (self.cluster.counts()?, self.accepted()?);
        let clients = self.cluster.talk(90)?;
        for route in [[0, 1], [1, 2], [2, 0]].iter().cycle().take(30) {
            self.interrupts.check()?;
            self.cluster.route(*route)?;
            clients.ends_within(BETWEEN_CHANGES);
        }
        self.cluster.route(0..3)?;
        tell(&clients.succeed()?);
        self.forwarded(&before, &accepted)
    }

    /// A fourth node joins, and gets new connections.
    fn join(&mut self) -> Result<()> {
        say("90 clients talk on, while node 4 joins; then 90 more come");
        let (before, accepted) = (self.cluster.counts()?, self.accepted()?);
        let clients = self.cluster.talk(90)?;
        let index = self.cluster.add_node()?;
        self.cluster.node_mut(index).start()?;
        self.cluster.await_together()?;
        self.cluster.route(0..=index)?;
        let more = self.cluster.talk(90)?;
        tell(&more.succeed()?);
        tell(&clients.succeed()?);
        self.forwarded(&before, &accepted)
    }

    /// A node dies under its connections.
    fn kill(&mut self) -> Result<()> {
        say("90 clients talk on, and node 2 loses its power");
        let (before, accepted) = (self.cluster.counts()?, self.accepted()?);
        let clients = self.cluster.talk(90)?;
        let lost = self.accepted()?[&2] - accepted[&2];
        println!("  {lost} of the connections are on node 2");
        let died = Instant::now();
        self.cluster.kill(1)?;
        println!("  nobody says so: its lease ends, and it is not heard");
        until(|| self.cluster.reset_for_others(), |count| *count > 0)?;
        println!("  after {:.1} s another node answers in its place", died.elapsed().as_secs_f64());
        // Those of the others are told to end; node 2's end by themselves.
        tell(&clients.finish()?);
        self.forwarded(&before, &accepted)
    }

    /// Connections that each living node has accepted in its life.
    fn accepted(&self) -> Result<BTreeMap<u16, u64>> {
        let living = self.cluster.nodes().iter().filter(|node| node.has_agent());
        living.map(|node| Ok((node.number(), node.control().status()?.totals.accepted))).collect()
    }

    /// Shows until `clients` have ended that something goes on, and ends at Ctrl-C.
    fn follow(&self, clients: &Clients) -> Result<()> {
        while !clients.ends_within(GLANCE) {
            self.interrupts.check()?;
        }
        Ok(())
    }

    /// Which node got and forwarded what since then.
    fn forwarded(&self, before: &Counts, accepted: &BTreeMap<u16, u64>) -> Result<()> {
        let (counts, now) = (self.cluster.counts()?.since(before), self.accepted()?);
        println!("  {:>4}  {:>15}  {:>9}  {:>9}", "node", "new connections", "forwarded", "unwrapped");
        for (&number, &total) in &now {
            let new = total - accepted.get(&number).copied().unwrap_or_default();
            println!("  {number:>4}  {new:>15}  {:>9}  {:>9}", counts.forwarded(number), counts.unwrapped(number));
        }
        Ok(())
    }

    /// What all have counted: each packet that one forwarded, another one unwrapped.
    fn sums(&self) -> Result<()> {
        say("The sums over all nodes");
        self.cluster.expect_nothing_lost()?;
        println!("  {:>4}  {:>4}  {:>9}  {:>9}", "from", "to", "forwarded", "unwrapped");
        for Pair { from, to, forwarded, unwrapped } in self.cluster.pairs()? {
            println!("  {from:>4}  {to:>4}  {forwarded:>9}  {unwrapped:>9}");
        }
        let [forwarded, unwrapped] = self.cluster.counts()?.sums();
        println!("  {:>4}  {:>4}  {forwarded:>9}  {unwrapped:>9}   and no packet was dropped", "all", "");
        Ok(())
    }

    fn show_around(&self) -> Result<()> {
        let (binary, goq) = (binary()?, peers::find("goq")?);
        let (fabric, clients) = (self.cluster.fabric().router(), self.cluster.wire().namespace());
        say("It keeps running. To look around, in another terminal:");
        for node in self.cluster.nodes().iter().filter(|node| node.has_agent()) {
            println!("  {} --control {} nodes", binary.display(), node.home().control().display());
        }
        println!("  ip -n {} nexthop", fabric.name());
        let url = format!("https://{}/whoami", self.cluster.vip(Family::V4));
        println!("  nsenter --net=/run/netns/{} {} get -url {url} -bodies", clients.name(), goq.display());
        println!("\nCtrl-C takes it down.");
        Ok(())
    }
}

/// What clients noticed.
fn tell(summary: &Summary) {
    let Summary { connections_ok, connections_failed, requests_ok, requests_failed, .. } = summary;
    println!(
        "  {connections_ok} connections ({connections_failed} failed), {requests_ok} answers ({requests_failed} failed)"
    );
    for (error, count) in &summary.errors {
        println!("  {count:>4} noticed: {error}");
    }
}

/// How often Ctrl-C is looked for.
const GLANCE: Duration = Duration::from_millis(200);
/// Between two changes of the route.
const BETWEEN_CHANGES: Duration = Duration::from_millis(200);
