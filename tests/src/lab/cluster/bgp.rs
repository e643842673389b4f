//! Routing daemons: each node's bird announces by BGP what its agent has in a routing table, and the router's bird makes
//! routes of that.

use std::{collections::BTreeSet, net::IpAddr, process::Command};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{
    super::{
        awaiting::until,
        netns::{Namespace, run},
        peers::find,
        program::Program,
    },
    Family, Node, Running, Wiring,
};

impl Running {
    /// Has the router learn by BGP which nodes have the cluster's addresses, in place of [`route`](Self::route): those of
    /// which a routing table `table` says so.
    ///
    /// # Errors
    /// If a bird does not start.
    pub fn announce_by_bgp(&mut self, table: u32) -> Result<()> {
        self.fabric.forget_route()?;
        let nodes: Vec<_> = self.nodes.iter().map(Node::wiring).collect();
        let mut birds = vec![self.bird(self.fabric.router(), &of_router(&nodes))?];
        for node in nodes {
            birds.push(self.bird(node.namespace(), &of_node(node, table))?);
        }
        self.birds = birds;
        Ok(())
    }

    fn bird(&self, namespace: &Namespace, config: &str) -> Result<Program> {
        let name = format!("{}.bird", namespace.name());
        let file = self.home.write(&name, config)?;
        let mut command = namespace.command(find("bird")?);
        command.arg("-f").arg("-c").arg(file).arg("-s").arg(self.home.path(&format!("{name}.ctl")));
        Program::start("bird", &mut command)
    }

    /// Waits until the router sends what is for the cluster's addresses to these nodes, by their index, and to no others.
    ///
    /// # Errors
    /// If it does not come to that.
    pub fn await_learned(&self, nodes: &[u8]) -> Result<()> {
        let learned = || Family::BOTH.into_iter().map(|family| self.learned(family)).collect::<Result<Vec<_>>>();
        let expected: BTreeSet<_> = nodes.iter().copied().collect();
        let said = || self.birds.iter().map(Program::said).collect::<String>();
        until(learned, |learned| learned.iter().all(|nodes| *nodes == expected)).with_context(said).map(drop)
    }

    /// The nodes to which the router sends what is for the cluster's address of this family.
    fn learned(&self, family: Family) -> Result<BTreeSet<u8>> {
        let routes = routes(self.fabric.router(), family, &[&family.vip().to_string()])?;
        let gateways = routes.iter().flat_map(|route| {
            let hops = route.nexthops.iter().filter_map(|hop| hop.gateway);
            route.gateway.into_iter().chain(hops)
        });
        let index = |gateway| {
            let of = |node: &&Node| node.wiring().address(family) == gateway;
            let node = self.nodes.iter().find(of).with_context(|| format!("{gateway} is no node"))?;
            Ok(node.wiring().index())
        };
        gateways.map(index).collect()
    }
}

impl Node {
    /// What its agent has routes to for a routing daemon, in which table: `10.80.0.1 100`.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn announced(&self) -> Result<BTreeSet<String>> {
        let of = |family| routes(self.wiring().namespace(), family, &["table", "all", "proto", ROUTE_PROTOCOL]);
        let all = Family::BOTH.into_iter().map(of).collect::<Result<Vec<_>>>()?;
        let of_ours = |route: &Route| {
            anyhow::ensure!(route.kind.as_deref() == Some("blackhole"), "packets could go by {route:?}");
            Ok(format!("{} {}", route.dst, route.table.as_deref().unwrap_or("main")))
        };
        all.iter().flatten().map(of_ours).collect()
    }

    /// Waits until they are these.
    ///
    /// # Errors
    /// If they do not become so.
    pub fn await_announced(&self, expected: &[&str]) -> Result<()> {
        let expected: BTreeSet<_> = expected.iter().map(|&one| one.to_owned()).collect();
        until(|| self.announced(), |announced| *announced == expected).map(drop)
    }
}

/// The routing protocol's number of an agent's routes.
const ROUTE_PROTOCOL: &str = "114";

/// A route as `ip` shows it.
#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    table: Option<String>,
    gateway: Option<IpAddr>,
    #[serde(default)]
    nexthops: Vec<Hop>,
}

#[derive(Debug, Deserialize)]
struct Hop {
    gateway: Option<IpAddr>,
}

fn routes(namespace: &Namespace, family: Family, selected: &[&str]) -> Result<Vec<Route>> {
    let family = match family {
        Family::V4 => "-4",
        Family::V6 => "-6",
    };
    let mut command = Command::new("ip");
    command.args(["-n", namespace.name(), "-json", family, "route", "show"]).args(selected);
    let shown = run(&mut command)?.stdout;
    // Some versions print nothing where there is nothing.
    if shown.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&shown).with_context(|| String::from_utf8_lossy(&shown).into_owned())
}

/// As in docs/cluster.md.
fn of_node(node: &Wiring, table: u32) -> String {
    let [own4, own6] = Family::BOTH.map(|family| node.address(family));
    let router = node.gateway(Family::V4);
    format!(
        "log stderr all;
router id {own4};

ipv4 table shared4;
ipv6 table shared6;

protocol device {{
}}

protocol kernel announced4 {{
  kernel table {table};
  learn;
  ipv4 {{ table shared4; import all; export none; }};
}}

protocol kernel announced6 {{
  kernel table {table};
  learn;
  ipv6 {{ table shared6; import all; export none; }};
}}

protocol bgp router {{
  local {own4} as 65001;
  neighbor {router} as 65000;
  connect delay time 1;
  ipv4 {{ table shared4; import none; export all; }};
  ipv6 {{ table shared6; import none; export all; next hop address {own6}; }};
}}
"
    )
}

/// As in docs/cluster.md.
fn of_router(nodes: &[&Wiring]) -> String {
    let mut text = "log stderr all;
router id 10.79.255.1;

protocol device {
}

protocol kernel routes4 {
  merge paths yes;
  ipv4 { import none; export all; };
}

protocol kernel routes6 {
  merge paths yes;
  ipv6 { import none; export all; };
}
"
    .to_owned();
    for node in nodes {
        let (own, router) = (node.address(Family::V4), node.gateway(Family::V4));
        text += &format!(
            "
protocol bgp node{} {{
  local {router} as 65000;
  neighbor {own} as 65001;
  passive;
  ipv4 {{ import where net = {}/32; export none; }};
  ipv6 {{ import where net = {}/128; export none; }};
}}
",
            node.index(),
            Family::V4.vip(),
            Family::V6.vip(),
        );
    }
    text
}
