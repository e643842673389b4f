//! Judges what the agent knows of the other nodes: who hears whom, how long a packet between them may be, their clocks and
//! listeners.

use std::{net::SocketAddr, time::Duration};

use router_cluster::hello::EVERYONE_UP_TO;

use crate::{
    agent::api::{Cluster, ClusterNode, NodeState},
    doctor::finding::Finding,
    text::{self, count},
};

/// Judges.
pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    let mut findings: Vec<_> = others(cluster).map(|other| hello(cluster, other)).collect();
    findings.extend(others(cluster).flat_map(|other| unheard_there(cluster, other)));
    let heard = || others(cluster).filter(|other| is_heard(other));
    findings.extend(heard().filter_map(|other| way(cluster, other)));
    findings.extend(fabric(cluster));
    findings.extend(too_long(cluster));
    findings.extend(clocks(heard()));
    findings.extend(listeners(cluster));
    findings
}

fn others(cluster: &Cluster) -> impl Iterator<Item = &ClusterNode> {
    cluster.nodes.iter().filter(|node| !node.this)
}

fn theme(node: &ClusterNode) -> String {
    format!("node {}", node.number)
}

fn is_heard(node: &ClusterNode) -> bool {
    node.heard_ms_ago.is_some_and(|ago| ago < DEAF_AFTER_MS)
}

/// The two directions between this node and another one.
fn hello(cluster: &Cluster, other: &ClusterNode) -> Finding {
    let (own, number, address) = (cluster.node, other.number, &other.address);
    if other.state == NodeState::Gone {
        return Finding::ok(&theme(other), format!("counts as gone: {}", other.why));
    }
    if !is_heard(other) {
        return unheard_here(cluster, other);
    }
    if other.hears_us {
        let time = other.round_trip_us.map(|time| format!(", {:.3} ms there and back", time as f64 / 1_000.0));
        let time = time.unwrap_or_default();
        return Finding::ok(&theme(other), format!("node {own} and node {number} ({address}) hear each other{time}"));
    }
    let finding = format!(
        "node {number} ({address}) does not hear node {own}; node {own} hears it: what node {own} sends gets lost"
    );
    let path = Path { from: &cluster.tunnel, sender: own, to: address, receiver: number };
    Finding::warn(&theme(other), finding).hint(path.firewall())
}

fn unheard_here(cluster: &Cluster, other: &ClusterNode) -> Finding {
    let (own, number, address) = (cluster.node, other.number, &other.address);
    let seems_well = matches!(other.state, NodeState::Up | NodeState::Draining);
    if seems_well && cluster.nodes.len() > EVERYONE_UP_TO {
        let finding = format!("is {}: {}; of so many nodes not each says hello to each", other.state, other.why);
        return Finding::ok(&theme(other), finding);
    }
    let last = match other.heard_ms_ago {
        Some(ago) => format!("last {} ago", text::span(Duration::from_millis(ago))),
        None => "never yet".to_owned(),
    };
    let back = match other.does_not_hear.contains(&own) {
        true => format!("and is not heard there: node {number} lives, and nothing passes between the two"),
        false => format!("and cannot know whether node {number} hears it"),
    };
    let finding = format!("node {own} does not hear node {number} ({address}), {last}, {back}");
    let path = Path { from: address, sender: number, to: &cluster.tunnel, receiver: own };
    let hint = format!("see whether its agent runs (quic-router status there); if so, {}", path.firewall());
    Finding::warn(&theme(other), finding).hint(hint)
}

/// Whom the other one does not hear, by its record, apart from this node, and from those that are silent here as well.
fn unheard_there(cluster: &Cluster, other: &ClusterNode) -> Vec<Finding> {
    let warn = |speaker: &ClusterNode| {
        let finding =
            format!("node {} ({}) says that it does not hear node {}", other.number, other.address, speaker.number);
        let path = Path { from: &speaker.address, sender: speaker.number, to: &other.address, receiver: other.number };
        Finding::warn(&theme(other), finding).hint(path.firewall())
    };
    let is_unheard = |speaker: &&ClusterNode| other.does_not_hear.contains(&speaker.number) && is_heard(speaker);
    others(cluster).filter(is_unheard).map(warn).collect()
}

/// One direction between two nodes.
struct Path<'a> {
    from: &'a str,
    sender: u16,
    to: &'a str,
    receiver: u16,
}

impl Path<'_> {
    /// The likely culprit of what does not arrive.
    fn firewall(&self) -> String {
        let Self { sender, receiver, .. } = self;
        let from = end(self.from).map_or_else(|| self.from.to_owned(), |end| end.ip().to_string());
        let port = end(self.to).map_or_else(|| self.to.to_owned(), |end| end.port().to_string());
        format!(
            "let UDP port {port} from {from} in through the firewall of node {receiver}, and out through that of node {sender}"
        )
    }
}

fn end(address: &str) -> Option<SocketAddr> {
    address.parse().ok()
}

/// Octets of IP and UDP headers of a hello.
fn headers(node: &ClusterNode) -> u32 {
    if end(&node.address).is_some_and(|end| end.is_ipv6()) { 48 } else { 28 }
}

/// The longest hello that the interface sends to a node, in octets of UDP payload.
fn longest(node: &ClusterNode) -> Option<u32> {
    node.mtu.map(|mtu| mtu.saturating_sub(headers(node)).min(UDP_PAYLOAD_MAX))
}

/// The longest packets that have arrived, each way, in octets from the IP header on; none while no hello of that length
/// can have come.
fn way(cluster: &Cluster, other: &ClusterNode) -> Option<Finding> {
    let (own, number, headers, longest) = (cluster.node, other.number, headers(other), longest(other)?);
    let [from_there, there] = other.longest_heard.map(u32::from);
    if there == 0 || from_there == 0 {
        return None;
    }
    let [sent, arrived, back] = [longest, there, from_there].map(|octets| count(u64::from(octets + headers)));
    if there < longest {
        let finding = format!(
            "of packets of {sent} octets from node {own} to node {number}, which the interface sends, none arrives: the longest there had {arrived}"
        );
        let to = end(&other.address).map_or_else(|| other.address.clone(), |end| end.ip().to_string());
        let hint = format!(
            "ping -M do -s {longest} {to}; the same MTU on the whole way, or on node {own} that of the way: ip link set dev IF mtu {}",
            there + headers
        );
        return Some(Finding::warn("mtu", finding).hint(hint));
    }
    let finding = format!("packets of {sent} octets arrive from node {own} at node {number}, of {back} from there");
    Some(Finding::ok("mtu", finding))
}

/// What the network between the nodes carries at least, and what follows for clients.
fn fabric(cluster: &Cluster) -> Option<Finding> {
    let carried = others(cluster).filter(|other| other.state != NodeState::Gone).filter_map(|other| {
        let there = u32::from(other.longest_heard[1]);
        let is_proven = there > 0 && longest(other).is_some_and(|longest| there < longest);
        if is_proven { Some(there + headers(other)) } else { other.mtu }
    });
    let carried = carried.min()?;
    let octets = count(carried.into());
    if carried >= NOTHING_TOO_LONG {
        let finding =
            format!("the nodes' network carries {octets} octets: no client's packet is too long to be forwarded");
        return Some(Finding::ok("mtu", finding));
    }
    let size = |size: Option<u16>| size.map_or_else(|| "any size".to_owned(), |size| count(size.into()));
    let [v4, v6] = [cluster.max_udp_payload_size_ipv4, cluster.max_udp_payload_size_ipv6].map(size);
    let finding = format!(
        "the nodes' network carries {octets} octets: clients are told to send at most {v4} of UDP payload by IPv4, {v6} by IPv6; with {} no packet would be too long",
        count(NOTHING_TOO_LONG.into())
    );
    Some(Finding::ok("mtu", finding))
}

/// Clients that send more than they were told.
fn too_long(cluster: &Cluster) -> Option<Finding> {
    let packets: u64 = others(cluster).map(|other| other.too_long).sum();
    (packets > 0).then(|| {
        let were = text::plural(packets, "packet was", "packets were");
        let finding = format!("{were} too long to be forwarded, and dropped: clients sent more than they were told to");
        let hint = format!("an MTU of {} or more between the nodes, where their network carries it", NOTHING_TOO_LONG);
        Finding::warn("mtu", finding).hint(hint)
    })
}

fn clocks<'a>(heard: impl Iterator<Item = &'a ClusterNode>) -> Vec<Finding> {
    let known: Vec<_> = heard.filter_map(|node| Some((node, node.clock_ahead_ms?))).collect();
    let warn = |(node, ahead): &(&ClusterNode, i64)| {
        let (number, apart) = (node.number, text::span(Duration::from_millis(ahead.unsigned_abs())));
        let direction = if *ahead > 0 { "ahead of" } else { "behind" };
        let finding = format!(
            "that of node {number} is {apart} {direction} this node's: tokens and leases are valid by the clock"
        );
        Finding::warn("clock", finding).hint("timedatectl on both: NTP has to be active")
    };
    let apart: Vec<_> = known.iter().filter(|(_, ahead)| ahead.unsigned_abs() > CLOCK_APART_MS).map(warn).collect();
    match known.iter().map(|(_, ahead)| ahead.unsigned_abs()).max() {
        Some(most) if apart.is_empty() => {
            vec![Finding::ok(
                "clock",
                format!("those of the nodes that are heard differ from ours by {most} ms at most"),
            )]
        }
        _ => apart,
    }
}

/// Reset tokens are made of listeners' addresses, and a node without a listener drops what is forwarded for it.
fn listeners(cluster: &Cluster) -> Vec<Finding> {
    if cluster.engine == "file" {
        let finding =
            "cannot be compared: with the engine \"file\" nodes do not say which they have; they have to be equal";
        return vec![Finding::ok("listeners", finding)];
    }
    let warn = |other: &ClusterNode| {
        let named = [("it lacks", &other.lacks_listeners), ("it alone has", &other.has_other_listeners)];
        let named = named.into_iter().filter(|(_, list)| !list.is_empty());
        let named: String = named.map(|(word, list)| format!(", {word} {}", list.join(", "))).collect();
        let finding = format!(
            "node {} has others than node {}{named}: packets forwarded for those that it lacks are dropped, and nodes do not know each other's reset tokens",
            other.number, cluster.node
        );
        Finding::warn("listeners", finding)
            .hint("the same [[listener]] addresses on all nodes, then quic-router reload")
    };
    let compared: Vec<_> = others(cluster).filter(|other| other.same_listeners.is_some()).collect();
    let unequal: Vec<_> =
        compared.iter().filter(|other| other.same_listeners == Some(false)).map(|other| warn(other)).collect();
    if unequal.is_empty() && !compared.is_empty() {
        return vec![Finding::ok("listeners", "all nodes that say so have the same addresses")];
    }
    unequal
}

/// Hellos come once a second; three may be late.
const DEAF_AFTER_MS: u64 = 3_000;
/// More than a lease's third, and than what a token's lifetime may be off.
const CLOCK_APART_MS: u64 = 5_000;
/// Octets from the IP header on: the longest packet of an Ethernet, with the tunnel's headers over IPv6.
const NOTHING_TOO_LONG: u32 = 1_500 + 64;
/// The most that UDP carries over IPv4.
const UDP_PAYLOAD_MAX: u32 = 65_507;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Findings;

    fn node(number: u16) -> ClusterNode {
        ClusterNode {
            number,
            this: number == 1,
            address: format!("10.0.0.1{number}:6080"),
            state: NodeState::Up,
            why: "heard".to_owned(),
            takes_new_connections: true,
            weight: 100,
            by: None,
            mtu: (number != 1).then_some(1_500),
            longest_heard: [1_472; 2],
            heard_ms_ago: Some(300),
            hears_us: true,
            does_not_hear: Vec::new(),
            same_listeners: None,
            lacks_listeners: Vec::new(),
            has_other_listeners: Vec::new(),
            round_trip_us: Some(412),
            clock_ahead_ms: Some(-3),
            forwarded_packets: 0,
            forwarded_octets: 0,
            unwrapped_packets: 0,
            unwrapped_octets: 0,
            forged: 0,
            too_long: 0,
        }
    }

    fn cluster(others: Vec<ClusterNode>) -> Cluster {
        Cluster {
            engine: "file".to_owned(),
            node: 1,
            tunnel: "10.0.0.11:6080".to_owned(),
            max_udp_payload_size_ipv4: Some(1_428),
            max_udp_payload_size_ipv6: Some(1_408),
            nodes: std::iter::once(node(1)).chain(others).collect(),
            ..Cluster::default()
        }
    }

    fn judged(other: ClusterNode) -> Vec<Finding> {
        judge(&cluster(vec![other]))
    }

    #[test]
    fn two_nodes_as_they_should_be() {
        let text = "the nodes' network carries 1,500 octets: clients are told to send at most 1,428 of UDP payload by IPv4, \
                    1,408 by IPv6; with 1,564 no packet would be too long";
        let listeners =
            "cannot be compared: with the engine \"file\" nodes do not say which they have; they have to be equal";
        let expected = [
            Finding::ok("node 2", "node 1 and node 2 (10.0.0.12:6080) hear each other, 0.412 ms there and back"),
            Finding::ok("mtu", "packets of 1,500 octets arrive from node 1 at node 2, of 1,500 from there"),
            Finding::ok("mtu", text),
            Finding::ok("clock", "those of the nodes that are heard differ from ours by 3 ms at most"),
            Finding::ok("listeners", listeners),
        ];
        assert_eq!(judged(node(2)), expected);
    }

    #[test]
    fn a_deaf_pair_is_named_with_the_firewall_in_question() {
        let deaf_there = judged(ClusterNode { hears_us: false, ..node(2) });
        let text = "node 2 (10.0.0.12:6080) does not hear node 1; node 1 hears it: what node 1 sends gets lost";
        let hint = "let UDP port 6080 from 10.0.0.11 in through the firewall of node 2, and out through that of node 1";
        assert_eq!(deaf_there[0], Finding::warn("node 2", text).hint(hint));
        let deaf_here = ClusterNode { heard_ms_ago: Some(12_000), state: NodeState::Unreachable, ..node(2) };
        let text =
            "node 1 does not hear node 2 (10.0.0.12:6080), last 12.0 s ago, and cannot know whether node 2 hears it";
        let hint = "see whether its agent runs (quic-router status there); if so, let UDP port 6080 from 10.0.0.12 in \
                    through the firewall of node 1, and out through that of node 2";
        let span = text::span(Duration::from_secs(12));
        let text = text.replace("12.0 s", &span);
        assert_eq!(judged(deaf_here.clone())[0], Finding::warn("node 2", text).hint(hint));
        let both = ClusterNode { does_not_hear: vec![1], ..deaf_here };
        let text = format!(
            "node 1 does not hear node 2 (10.0.0.12:6080), last {span} ago, and is not heard there: node 2 lives, and nothing passes between the two"
        );
        assert_eq!(judged(both)[0], Finding::warn("node 2", text).hint(hint));
        let never = ClusterNode { heard_ms_ago: None, ..node(2) };
        assert!(Findings::new(judged(never)).text().contains("(10.0.0.12:6080), never yet, and"));
    }

    #[test]
    fn a_deaf_pair_elsewhere_is_named_unless_the_one_is_silent_here_too() {
        let listener = ClusterNode { does_not_hear: vec![3], ..node(2) };
        let text = "node 2 (10.0.0.12:6080) says that it does not hear node 3";
        let hint = "let UDP port 6080 from 10.0.0.13 in through the firewall of node 2, and out through that of node 3";
        let warned = Finding::warn("node 2", text).hint(hint);
        assert!(judge(&cluster(vec![listener.clone(), node(3)])).contains(&warned));
        let silent = ClusterNode { heard_ms_ago: Some(4_000), ..node(3) };
        assert!(!judge(&cluster(vec![listener, silent])).contains(&warned));
    }

    #[test]
    fn who_is_gone_or_need_not_be_heard_is_no_trouble() {
        let gone = ClusterNode { state: NodeState::Gone, heard_ms_ago: None, why: "forgotten".to_owned(), ..node(2) };
        assert_eq!(judged(gone)[0], Finding::ok("node 2", "counts as gone: forgotten"));
        let mut many: Vec<_> = (2..=65).map(node).collect();
        many[0].heard_ms_ago = None;
        let text = "is up: heard; of so many nodes not each says hello to each";
        assert_eq!(judge(&cluster(many.clone()))[0], Finding::ok("node 2", text));
        many[0].state = NodeState::Silent;
        assert_ne!(judge(&cluster(many))[0], Finding::ok("node 2", text));
    }

    #[test]
    fn a_way_that_carries_less_than_the_interface_sends() {
        let narrow = judged(ClusterNode { longest_heard: [1_472, 1_372], ..node(2) });
        let text = "of packets of 1,500 octets from node 1 to node 2, which the interface sends, none arrives: the longest \
                    there had 1,400";
        let hint = "ping -M do -s 1472 10.0.0.12; the same MTU on the whole way, or on node 1 that of the way: \
                    ip link set dev IF mtu 1400";
        assert!(narrow.contains(&Finding::warn("mtu", text).hint(hint)), "{narrow:?}");
        let text = Findings::new(narrow).text();
        assert!(text.contains("the nodes' network carries 1,400 octets"), "{text}");
        let ipv6 = ClusterNode { address: "[fd00::2]:6080".to_owned(), longest_heard: [1_452; 2], ..node(2) };
        let text = "packets of 1,500 octets arrive from node 1 at node 2, of 1,500 from there";
        assert!(judged(ipv6).contains(&Finding::ok("mtu", text)));
        let unproven = judged(ClusterNode { longest_heard: [0; 2], ..node(2) });
        assert!(!unproven.contains(&Finding::ok("mtu", text)));
    }

    #[test]
    fn a_wide_network_has_nothing_too_long_and_a_narrow_one_says_what_was() {
        let wide = |mtu: u16| judged(ClusterNode { mtu: Some(mtu.into()), longest_heard: [mtu - 28; 2], ..node(2) });
        let text = "the nodes' network carries 1,564 octets: no client's packet is too long to be forwarded";
        assert!(wide(1_564).contains(&Finding::ok("mtu", text)));
        assert!(!Findings::new(wide(1_563)).text().contains("no client's packet"));
        let text = "2 packets were too long to be forwarded, and dropped: clients sent more than they were told to";
        let hint = "an MTU of 1564 or more between the nodes, where their network carries it";
        let dropped = judged(ClusterNode { too_long: 2, ..node(2) });
        assert!(dropped.contains(&Finding::warn("mtu", text).hint(hint)));
    }

    #[test]
    fn clocks_that_are_more_than_five_seconds_apart() {
        let ahead = |milliseconds| judged(ClusterNode { clock_ahead_ms: Some(milliseconds), ..node(2) });
        let text = |direction: &str, by| {
            let by = text::span(Duration::from_millis(by));
            format!("that of node 2 is {by} {direction} this node's: tokens and leases are valid by the clock")
        };
        let warned = |text| Finding::warn("clock", text).hint("timedatectl on both: NTP has to be active");
        assert!(ahead(5_001).contains(&warned(text("ahead of", 5_001))));
        assert!(ahead(-60_000).contains(&warned(text("behind", 60_000))));
        let ok = "those of the nodes that are heard differ from ours by 5000 ms at most";
        assert!(ahead(5_000).contains(&Finding::ok("clock", ok)));
    }

    #[test]
    fn listeners_are_compared_where_nodes_say_which_they_have() {
        let with = |same_listeners| {
            let nodes = vec![ClusterNode { same_listeners, ..node(2) }];
            listeners(&Cluster { engine: "etcd".to_owned(), ..cluster(nodes) })
        };
        assert_eq!(with(Some(true)), [Finding::ok("listeners", "all nodes that say so have the same addresses")]);
        assert_eq!(with(None), []);
        let text = "node 2 has others than node 1: packets forwarded for those that it lacks are dropped, and nodes do not \
                    know each other's reset tokens";
        let hint = "the same [[listener]] addresses on all nodes, then quic-router reload";
        assert_eq!(with(Some(false)), [Finding::warn("listeners", text).hint(hint)]);
        let other = ClusterNode {
            same_listeners: Some(false),
            lacks_listeners: vec!["192.0.2.80:443".to_owned()],
            has_other_listeners: vec!["192.0.2.80:444".to_owned(), "192.0.2.80:445".to_owned()],
            ..node(2)
        };
        let found = listeners(&Cluster { engine: "etcd".to_owned(), ..cluster(vec![other]) });
        let text = "node 2 has others than node 1, it lacks 192.0.2.80:443, it alone has 192.0.2.80:444, 192.0.2.80:445: \
                    packets forwarded for those that it lacks are dropped, and nodes do not know each other's reset tokens";
        assert_eq!(found, [Finding::warn("listeners", text).hint(hint)]);
    }
}
