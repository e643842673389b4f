//! `quic-router nodes`: the nodes of the cluster, as this one sees them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    client::Client,
    fail::{Exit, Fail},
    options::Json,
    output::{
        self,
        Align::{Left, Right},
        Table, bytes, count,
    },
    watch::Watch,
};
use crate::agent::{api, control::Request};

/// Show the nodes of the cluster, as this one sees them
#[derive(clap::Subcommand, Debug)]
pub(super) enum Nodes {
    /// List all nodes: what each counts as and why, and what was sent on to it and by it
    ///
    /// With --watch, the packets a second since the look before, too.
    List {
        #[command(flatten)]
        watch: Watch,
        #[command(flatten)]
        json: Json,
    },
    /// Show all that is known of one
    Show {
        /// Its number
        #[arg(value_name = "NUMBER")]
        number: u16,
        #[command(flatten)]
        json: Json,
    },
    /// Give a node no new connections; those it has stay, wherever their packets come in
    Drain {
        /// Its number
        #[arg(value_name = "NUMBER")]
        number: u16,
    },
    /// Give it new connections again
    Undrain {
        /// Its number
        #[arg(value_name = "NUMBER")]
        number: u16,
    },
    /// Say that a node does not come back: the others answer its clients, and nothing waits for it
    Forget {
        /// Its number
        #[arg(value_name = "NUMBER")]
        number: u16,
    },
}

impl Nodes {
    pub(super) fn execute(&self, client: &Client) -> Result<Exit, Fail> {
        let order = |number: &u16, order| {
            let cluster = ask(client, &Request::NodeOrder { number: *number, order })?;
            output::print(&table(&cluster.nodes))?;
            Ok(Exit::Done)
        };
        match self {
            Self::List { watch, json } => list(client, watch, json),
            Self::Show { number, json } => show(&ask(client, &Request::Cluster)?, *number, json),
            Self::Drain { number } => order(number, api::NodeOrder::Drain),
            Self::Undrain { number } => order(number, api::NodeOrder::Undrain),
            Self::Forget { number } => order(number, api::NodeOrder::Forget),
        }
    }
}

fn ask(client: &Client, request: &Request) -> Result<api::Cluster, Fail> {
    client.ask(request)?.read()
}

fn list(client: &Client, watch: &Watch, json: &Json) -> Result<Exit, Fail> {
    let mut before = None;
    watch.print(|| {
        let nodes = ask(client, &Request::Cluster)?.nodes;
        let text = match (json.json, watch.is_on()) {
            (true, _) => output::json(&nodes)?,
            (false, false) => table(&nodes),
            (false, true) => {
                let now = Look::at(&nodes, Instant::now());
                let text = watched(&nodes, &now, before.as_ref());
                before = Some(now);
                text
            }
        };
        Ok((text, Exit::Done))
    })
}

fn show(cluster: &api::Cluster, number: u16, json: &Json) -> Result<Exit, Fail> {
    let Some(node) = cluster.nodes.iter().find(|node| node.number == number) else {
        let known: Vec<_> = cluster.nodes.iter().map(|node| node.number.to_string()).collect();
        let why = format!("node {number} is not in the cluster \"{}\"", cluster.name);
        return Err(Fail::new(Exit::No, why).hint(format!("the nodes are {}", known.join(", "))));
    };
    output::print(&if json.json { output::json(node)? } else { one(node) })?;
    Ok(Exit::Done)
}

/// What was counted of each node at one time.
struct Look {
    at: Instant,
    /// Packets sent on to it, and taken from it, by its number.
    packets: BTreeMap<u16, [u64; 2]>,
}

impl Look {
    fn at(nodes: &[api::ClusterNode], at: Instant) -> Self {
        let packets = nodes.iter().map(|node| (node.number, [node.forwarded_packets, node.unwrapped_packets]));
        Self { at, packets: packets.collect() }
    }

    /// Packets a second since the look `before`, to a node and from it; none where they were counted from zero since.
    fn rates(&self, before: &Self, number: u16) -> [Option<u64>; 2] {
        let seconds = self.at.saturating_duration_since(before.at).as_secs_f64();
        let counts = self.packets.get(&number).zip(before.packets.get(&number)).filter(|_| seconds > 0.0);
        let rate = |now: u64, then: u64| Some((now.checked_sub(then)? as f64 / seconds).round() as u64);
        counts.map_or([None; 2], |(now, then)| [rate(now[0], then[0]), rate(now[1], then[1])])
    }
}

/// All nodes, one a line, with what goes between them and this one in a second.
fn watched(nodes: &[api::ClusterNode], now: &Look, before: Option<&Look>) -> String {
    let mut table = Table::new(0, &[Right, Left, Left, Left, Right, Right, Right, Right, Left]);
    table.row(["NODE", "ADDRESS", "STATE", "BY", "SENT ON", "A SECOND", "TAKEN", "A SECOND", "WHY"]);
    for node in nodes {
        let rates = before.map_or([None; 2], |before| now.rates(before, node.number));
        let [sent_on, taken] = rates.map(|rate| rate.map_or_else(|| "-".to_owned(), count));
        let packets = [count(node.forwarded_packets), sent_on, count(node.unwrapped_packets), taken, node.why.clone()];
        table.row(which(node).into_iter().chain(packets));
    }
    table.text()
}

/// All nodes, one a line; also for `cluster status`.
pub(super) fn table(nodes: &[api::ClusterNode]) -> String {
    let mut table = Table::new(0, &[Right, Left, Left, Left, Right, Right, Left]);
    table.row(["NODE", "ADDRESS", "STATE", "BY", "SENT ON", "TAKEN", "WHY"]);
    for node in nodes {
        let packets = [count(node.forwarded_packets), count(node.unwrapped_packets), node.why.clone()];
        table.row(which(node).into_iter().chain(packets));
    }
    table.text()
}

/// What each row begins with: which node, what it counts as, and how packets go there.
fn which(node: &api::ClusterNode) -> [String; 4] {
    let by = node.by.clone().unwrap_or_else(|| "-".to_owned());
    [node.number.to_string(), node.address.clone(), node.state.to_string(), by]
}

fn one(node: &api::ClusterNode) -> String {
    let mut table = Table::new(0, &[Left, Left]);
    let this = if node.this { ", this node" } else { "" };
    table.row(["node", &format!("{}{this}", node.number)]);
    table.row(["address", &node.address]);
    table.row(["state", &format!("{}: {}", node.state, node.why)]);
    let takes = if node.takes_new_connections { "takes them" } else { "takes none" };
    table.row(["new connections", &format!("{takes}, weight {}", node.weight)]);
    if !node.this {
        let mtu = node.mtu.map(|mtu| format!(", packets of {} octets", count(mtu.into()))).unwrap_or_default();
        table.row(["sent to by", &format!("{}{mtu}", node.by.as_deref().unwrap_or("-"))]);
        let heard = node
            .heard_ms_ago
            .map_or_else(|| "not yet".to_owned(), |ago| format!("{} ago", output::span(Duration::from_millis(ago))));
        let hears = if node.hears_us { "hears this node" } else { "does not say that it hears this node" };
        table.row(["heard", &format!("{heard}; it {hears}")]);
        let [here, there] = node.longest_heard.map(|octets| count(octets.into()));
        table.row(["longest hello", &format!("{here} octets from there, {there} there")]);
        if let Some(round_trip) = node.round_trip_us {
            table.row(["round trip", &format!("{:.3} ms", round_trip as f64 / 1_000.0)]);
        }
        if let Some(ahead) = node.clock_ahead_ms {
            table.row(["clock", &format!("{ahead} ms ahead of ours")]);
        }
        if node.same_listeners.is_some() {
            table.row(["listeners", &listeners(node)]);
        }
        let packets =
            |packets: u64, octets: u64| format!("{}, {}", output::plural(packets, "packet", "packets"), bytes(octets));
        table.row(["sent on to it", &packets(node.forwarded_packets, node.forwarded_octets)]);
        table.row(["taken from it", &packets(node.unwrapped_packets, node.unwrapped_octets)]);
        table.row(["too long for it", &output::plural(node.too_long, "packet", "packets")]);
        table.row(["forged in its name", &output::plural(node.forged, "packet", "packets")]);
    }
    table.text()
}

/// Whether the shared addresses are to be announced; also for `status`.
pub(super) fn announced(announced: &api::Announced) -> String {
    let api::Announced { table, addresses, why, .. } = announced;
    let word = if announced.announced { "yes" } else { "no" };
    let addresses = match addresses.is_empty() {
        true => String::new(),
        false => format!(": {}", addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    let why = why.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    format!("{word}, routing table {table}{addresses}{why}")
}

/// How a node's listeners are beside those of the node that was asked.
pub(super) fn listeners(node: &api::ClusterNode) -> String {
    let lists = [("lacks", &node.lacks_listeners), ("has in addition", &node.has_other_listeners)];
    let differ: Vec<_> = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(word, list)| format!("it {word} {}", list.join(", ")))
        .collect();
    match (node.same_listeners, differ.as_slice()) {
        (None, _) => "not said".to_owned(),
        (Some(true), _) => "the same as here".to_owned(),
        (Some(false), []) => "others than here".to_owned(),
        (Some(false), differ) => format!("others than here: {}", differ.join("; ")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::cli) fn node(number: u16) -> api::ClusterNode {
        api::ClusterNode {
            number,
            this: number == 1,
            address: format!("10.0.0.1{number}:6080"),
            state: api::NodeState::Up,
            why: if number == 1 { "this node" } else { "heard 0.3 s ago" }.to_owned(),
            takes_new_connections: true,
            weight: 100,
            by: (number != 1).then(|| "xdp".to_owned()),
            mtu: Some(1_500),
            longest_heard: [1_472, 1_472],
            heard_ms_ago: Some(300),
            hears_us: true,
            does_not_hear: Vec::new(),
            same_listeners: None,
            lacks_listeners: Vec::new(),
            has_other_listeners: Vec::new(),
            round_trip_us: Some(412),
            clock_ahead_ms: Some(-3),
            forwarded_packets: 1_200,
            forwarded_octets: 1_440_000,
            unwrapped_packets: 0,
            unwrapped_octets: 0,
            forged: 0,
            too_long: 1,
        }
    }

    #[test]
    fn whether_addresses_are_announced() {
        let of = |announced, addresses: &[&str], why: Option<&str>| api::Announced {
            table: 100,
            announced,
            addresses: addresses.iter().map(|one| one.parse().unwrap()).collect(),
            why: why.map(str::to_owned),
        };
        let yes = of(true, &["192.0.2.80", "2001:db8::80"], None);
        assert_eq!(announced(&yes), "yes, routing table 100: 192.0.2.80, 2001:db8::80");
        let no = of(false, &[], Some("this node takes no new connections"));
        assert_eq!(announced(&no), "no, routing table 100; this node takes no new connections");
    }

    #[test]
    fn one_a_line() {
        let expected = "\
NODE  ADDRESS         STATE  BY   SENT ON  TAKEN  WHY
   1  10.0.0.11:6080  up     -      1,200      0  this node
   2  10.0.0.12:6080  up     xdp    1,200      0  heard 0.3 s ago
";
        assert_eq!(table(&[node(1), node(2)]), expected);
    }

    #[test]
    fn watched_with_what_goes_by_in_a_second() {
        let counted = |packets: [u64; 2]| {
            let [forwarded_packets, unwrapped_packets] = packets;
            [node(1), api::ClusterNode { forwarded_packets, unwrapped_packets, ..node(2) }]
        };
        let (first, next, anew) = (counted([1_200, 0]), counted([6_201, 3]), counted([9, 3]));
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let look = Look::at(&first, begun);
        let expected = "\
NODE  ADDRESS         STATE  BY   SENT ON  A SECOND  TAKEN  A SECOND  WHY
   1  10.0.0.11:6080  up     -      1,200         -      0         -  this node
   2  10.0.0.12:6080  up     xdp    1,200         -      0         -  heard 0.3 s ago
";
        assert_eq!(watched(&first, &look, None), expected);
        let expected = "\
NODE  ADDRESS         STATE  BY   SENT ON  A SECOND  TAKEN  A SECOND  WHY
   1  10.0.0.11:6080  up     -      1,200         0      0         0  this node
   2  10.0.0.12:6080  up     xdp    6,201     2,501      3         2  heard 0.3 s ago
";
        assert_eq!(watched(&next, &Look::at(&next, after(2)), Some(&look)), expected);
        // The agent has begun anew, or the node is new here.
        let before = Look::at(&next, begun);
        assert_eq!(Look::at(&anew, after(1)).rates(&before, 2), [None, Some(0)]);
        assert_eq!(Look::at(&anew, after(1)).rates(&before, 3), [None, None]);
        assert_eq!(Look::at(&anew, begun).rates(&before, 2), [None, None], "no time has passed");
    }

    #[test]
    fn all_of_one() {
        let expected = "\
node                2
address             10.0.0.12:6080
state               up: heard 0.3 s ago
new connections     takes them, weight 100
sent to by          xdp, packets of 1,500 octets
heard               300 ms ago; it hears this node
longest hello       1,472 octets from there, 1,472 there
round trip          0.412 ms
clock               -3 ms ahead of ours
sent on to it       1,200 packets, 1.4 MiB
taken from it       0 packets, 0 B
too long for it     1 packet
forged in its name  0 packets
";
        assert_eq!(one(&node(2)), expected);
        assert!(one(&node(1)).starts_with("node             1, this node\n"));
        let same = api::ClusterNode { same_listeners: Some(true), ..node(2) };
        assert!(one(&same).contains("\nlisteners           the same as here\n"), "{}", one(&same));
        let other = api::ClusterNode {
            same_listeners: Some(false),
            lacks_listeners: vec!["192.0.2.80:443".to_owned()],
            has_other_listeners: vec!["192.0.2.80:8443".to_owned()],
            ..node(2)
        };
        let row =
            "\nlisteners           others than here: it lacks 192.0.2.80:443; it has in addition 192.0.2.80:8443\n";
        assert!(one(&other).contains(row), "{}", one(&other));
    }
}
