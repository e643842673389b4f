//! `quic-router cluster`: the cluster as this node sees it.

use std::time::Duration;

use super::{
    client::Client,
    doctor,
    fail::{Exit, Fail},
    nodes,
    options::{Global, Json},
    output::{self, Align::Left, Table, count},
};
use crate::{
    agent::{api, control::Request, init_cluster, survey_cluster},
    config::{Config, StartFlags},
    doctor::{Findings, Wanted, examine_joining},
};

/// Show the cluster as this node sees it
#[derive(clap::Subcommand, Debug)]
pub(super) enum Cluster {
    /// Show where the list of nodes comes from, how old it is, what the nodes count as, and what was sent on
    ///
    /// Exits with 1 where a node is not up or draining, this one was forgotten, or the engine cannot be asked.
    Status {
        #[command(flatten)]
        json: Json,
    },
    /// Say whether this host may become a node of the cluster that the configuration names, before its agent starts
    ///
    /// Looks at the secret, the address, the tunnel's port, the cluster as etcd or the list of nodes says it, and at what all
    /// nodes must have in common. Changes nothing, there or here; needs no agent. Exits with 1 if anything fails.
    JoinCheck {
        #[command(flatten)]
        json: Json,
    },
    /// Make the cluster that the configuration names, in etcd: once, before its first node starts
    ///
    /// Needs no agent. Keys are made, and sealed with what comes of cluster.secret.
    Init,
}

impl Cluster {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        match self {
            Self::Status { json } => status(&global.client()?, json),
            Self::JoinCheck { json } => join_check(global, json),
            Self::Init => init(global),
        }
    }
}

fn init(global: &Global) -> Result<Exit, Fail> {
    let config = Config::load(&global.config, &StartFlags::default(), global.control.as_deref())?;
    init_cluster(&config)?;
    let name = config.cluster.map(|cluster| cluster.name).unwrap_or_default();
    output::print(&format!("the cluster \"{name}\" is made: its nodes may start\n"))?;
    Ok(Exit::Done)
}

fn join_check(global: &Global, json: &Json) -> Result<Exit, Fail> {
    let config = Config::load(&global.config, &StartFlags::default(), global.control.as_deref())?;
    let survey = survey_cluster(&config).ok_or_else(doctor::no_cluster)?;
    let wanted = Wanted::by(&config);
    let agent = doctor::running_agent(&wanted);
    let found = examine_joining(&wanted, agent.as_ref(), &survey).ok_or_else(doctor::no_cluster)?;
    let findings = Findings::new(found);
    if json.json {
        output::print_json(&findings)?;
    } else {
        output::print(&findings.text())?;
    }
    Ok(doctor::exit(&findings))
}

fn status(client: &Client, json: &Json) -> Result<Exit, Fail> {
    let answer = client.ask(&Request::Cluster)?;
    let cluster: api::Cluster = answer.read()?;
    output::print(&if json.json { answer.json() + "\n" } else { text(&cluster) })?;
    let is_well = |node: &api::ClusterNode| {
        matches!(node.state, api::NodeState::Up | api::NodeState::Draining | api::NodeState::Gone)
    };
    let is_well = cluster.live && cluster.forgotten.is_none() && cluster.nodes.iter().all(is_well);
    Ok(if is_well { Exit::Done } else { Exit::No })
}

fn text(cluster: &api::Cluster) -> String {
    let mut table = Table::new(0, &[Left, Left]);
    table.row(["cluster", &cluster.name]);
    table.row(["this node", &format!("{}, {}", cluster.node, cluster.tunnel)]);
    let from = cluster.members.as_ref().map(|members| format!(", {members}")).unwrap_or_default();
    table.row(["engine", &format!("{}{from}: {}", cluster.engine, freshness(cluster))]);
    table.row(["revision", &cluster.revision.to_string()]);
    table.row(["new connections", &cluster.new_connections]);
    if let Some(announced) = &cluster.announced {
        table.row(["announced", &nodes::announced(announced)]);
    }
    if let Some(why) = &cluster.unconfirmed {
        table.row(["not ready", &format!("until the engine can be asked: what is known is {why}")]);
    }
    if let Some(why) = &cluster.forgotten {
        table.row(["not ready", why]);
    }
    let size =
        |size: Option<u16>| size.map_or_else(|| "any".to_owned(), |size| format!("{} octets", count(size.into())));
    let sizes = [cluster.max_udp_payload_size_ipv4, cluster.max_udp_payload_size_ipv6].map(size);
    table.row(["datagrams fit", &format!("IPv4 {}, IPv6 {}", sizes[0], sizes[1])]);
    table.row(["forged", &output::plural(cluster.forged, "packet", "packets")]);
    for node in cluster.nodes.iter().filter(|node| node.same_listeners == Some(false)) {
        table.row(["listeners", &format!("node {} has {}", node.number, nodes::listeners(node))]);
    }
    table.text() + "\n" + &nodes::table(&cluster.nodes)
}

fn freshness(cluster: &api::Cluster) -> String {
    let why = cluster.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match (cluster.live, cluster.synced_age_seconds) {
        (true, _) => "in force".to_owned(),
        (false, Some(age)) => format!("as it was {} ago{why}", output::span(Duration::from_secs(age))),
        (false, None) => format!("never read{why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        let cluster = api::Cluster {
            name: "edge".to_owned(),
            engine: "file".to_owned(),
            members: Some("/m.toml".to_owned()),
            node: 1,
            tunnel: "10.0.0.11:6080".to_owned(),
            synced_age_seconds: Some(90),
            why: Some("/m.toml:3: node.number: 0".to_owned()),
            revision: 2,
            new_connections: "local".to_owned(),
            max_udp_payload_size_ipv4: Some(1_428),
            forged: 1,
            nodes: vec![nodes::tests::node(1), nodes::tests::node(2)],
            ..api::Cluster::default()
        };
        let expected = "\
cluster          edge
this node        1, 10.0.0.11:6080
engine           file, /m.toml: as it was 1m 30s ago: /m.toml:3: node.number: 0
revision         2
new connections  local
datagrams fit    IPv4 1,428 octets, IPv6 any
forged           1 packet

";
        let shown = text(&cluster);
        assert!(shown.starts_with(expected), "{shown}");
        assert_eq!(shown.lines().count(), 11);
        let unconfirmed = api::Cluster { unconfirmed: Some("of an unknown time".to_owned()), ..cluster };
        let row = "\nnot ready        until the engine can be asked: what is known is of an unknown time\n";
        assert!(text(&unconfirmed).contains(row), "{}", text(&unconfirmed));
        let forgotten =
            api::Cluster { unconfirmed: None, forgotten: Some("forgotten: restart it".to_owned()), ..unconfirmed };
        assert!(text(&forgotten).contains("\nnot ready        forgotten: restart it\n"), "{}", text(&forgotten));
    }
}
