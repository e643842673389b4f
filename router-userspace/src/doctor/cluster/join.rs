//! Judges whether a host may become a node: what its cluster says, against what it would bring.

use std::{collections::BTreeSet, net::IpAddr};

use router_cluster::membership::{ClusterState, ListenerDifference, NodeNumber, NodeRecord, Order, RunInfo};

use crate::{
    agent::{Candidate, ClusterSurvey},
    doctor::finding::Finding,
    text,
};

/// Judges.
pub(in crate::doctor) fn judge(survey: &ClusterSurvey) -> Vec<Finding> {
    let ClusterSurvey { source, cluster, own, .. } = survey;
    let state = match cluster {
        Ok(state) => state,
        Err(unseen) => {
            let finding = Finding::fail("engine", &unseen.why);
            return vec![match &unseen.hint {
                Some(hint) => finding.hint(hint),
                None => finding,
            }];
        }
    };
    if state.master.is_none() {
        let finding = format!("{source} answers, and has no such cluster yet");
        return vec![Finding::fail("engine", finding).hint("once, on one node: quic-router cluster init")];
    }
    let nodes = text::plural(state.nodes.len() as u64, "node", "nodes");
    let answers = format!("{source} answers, and opens with this host's secret: {nodes}, revision {}", state.revision);
    let mut findings = vec![Finding::ok("engine", answers)];
    findings.extend(state.faults.iter().map(|fault| Finding::warn("engine", format!("ignored: {fault}"))));
    findings.extend(number(state, own));
    findings.extend(connection_ids(state, own));
    findings.extend(listeners(state, own));
    findings.extend(versions(state, own));
    findings.extend(mtu(survey, state));
    findings.push(clock(state, survey.now));
    findings
}

/// The records of other nodes.
fn others<'s>(state: &'s ClusterState, own: &'s Candidate) -> impl Iterator<Item = &'s NodeRecord> {
    let records = state.nodes.values().filter_map(|member| member.record.as_ref());
    records.filter(|record| !is_own(record, own))
}

/// A record of this host's, or of its copy; where nodes are listed, the one with its address.
fn is_own(record: &NodeRecord, own: &Candidate) -> bool {
    match (&record.run, &own.incarnation) {
        (Some(run), Ok(Some(incarnation))) => run.incarnation == *incarnation,
        (Some(_), _) => false,
        (None, _) => record.address == own.tunnel.ip(),
    }
}

fn number(state: &ClusterState, own: &Candidate) -> Vec<Finding> {
    if let Err(why) = &own.incarnation {
        return vec![Finding::fail("number", why).hint(format!("ls -l {}", own.state_dir))];
    }
    let records = state.nodes.values().filter_map(|member| member.record.as_ref());
    let mut findings = vec![match records.clone().find(|record| is_own(record, own)) {
        Some(record) => recorded(record, own),
        None if records.clone().any(|record| record.run.is_none()) => {
            let finding = format!("the list of nodes has none with the address {}", own.tunnel.ip());
            let hint = format!("[[node]] with address = \"{}\" there, or correct cluster.address", own.tunnel.ip());
            Finding::fail("number", finding).hint(hint)
        }
        None => unrecorded(state, own),
    }];
    let is_there = |record: &&NodeRecord| !is_own(record, own) && record.tunnel() == own.tunnel;
    findings.extend(records.filter(is_there).map(|record| {
        let finding = format!("node {} is at {}, too: packets for one would come to the other", record.number, own.tunnel);
        let hint = format!(
            "cluster.address of this host alone; if this host was node {}, and lost its state_dir, quic-router nodes forget {}",
            record.number, record.number
        );
        Finding::fail("address", finding).hint(hint)
    }));
    findings
}

fn recorded(record: &NodeRecord, own: &Candidate) -> Finding {
    let number = record.number;
    match &record.run {
        None => Finding::ok("number", format!("the list of nodes says that this host is node {number}")),
        Some(run) if run.host == own.host => {
            Finding::ok("number", format!("this host is node {number}, and its agent has told the others so"))
        }
        Some(_) if record.tunnel() == own.tunnel => {
            let finding = format!("this host is node {number}; its record of an earlier boot ends within ten seconds");
            Finding::ok("number", finding)
        }
        Some(_) => {
            let finding = format!(
                "node {number} runs at {} with the incarnation that is in {}: this is a copy",
                record.tunnel(),
                own.state_dir
            );
            let hint = "a copied machine takes its state folder along: empty router.state_dir on the copy";
            Finding::fail("number", finding).hint(hint)
        }
    }
}

/// It runs nowhere.
fn unrecorded(state: &ClusterState, own: &Candidate) -> Finding {
    let next = || format!("node {}, or a higher number", state.next_id);
    match own.number.map(|number| (number, state.nodes.get(&number))) {
        None if state.next_id > u32::from(u16::MAX) => {
            let finding = "every number has been given to a node";
            Finding::fail("number", finding).hint("make a new cluster under another name, with new keys")
        }
        None => Finding::ok("number", format!("this host is new: it becomes {}", next())),
        Some((number, Some(member))) if member.order != Some(Order::Forget) => {
            Finding::ok("number", format!("this host was node {number}, and is again"))
        }
        Some((number, _)) => {
            let finding = format!("this host was node {number}, which was forgotten: it becomes {}", next());
            Finding::ok("number", finding)
        }
    }
}

fn connection_ids(state: &ClusterState, own: &Candidate) -> Vec<Finding> {
    let theirs = state.cid.values().filter_map(|cid| Some(cid.shape?.length));
    let other: BTreeSet<_> = theirs.clone().filter(|length| *length != own.length).collect();
    let lengths = other.iter().map(|length| {
        let finding = format!(
            "connection_id.length is {} here, and connection IDs of the cluster have {length} octets: nodes cannot read each other's",
            own.length
        );
        Finding::fail("connection_id", finding).hint(format!("connection_id.length = {length}, as on the other nodes"))
    });
    let mut findings: Vec<_> = lengths.collect();
    findings.extend(others(state, own).filter_map(|record| encryption(record, own)));
    if !findings.is_empty() {
        return findings;
    }
    vec![match theirs.count() {
        0 => Finding::ok("connection_id", "cannot be compared: the list of nodes does not say their length"),
        _ => Finding::ok("connection_id", format!("{} octets, as on the other nodes", own.length)),
    }]
}

/// Whether a node encrypts connection IDs, and this one does not, or the other way round.
fn encryption(record: &NodeRecord, own: &Candidate) -> Option<Finding> {
    let theirs = run(record)?.encrypts?;
    (theirs != own.is_encrypted).then(|| {
        let word = |encrypts| if encrypts { "encrypted" } else { "in clear" };
        let finding = format!(
            "connection IDs are {} here, and {} on node {}: nodes cannot read each other's",
            word(own.is_encrypted),
            word(theirs),
            record.number
        );
        Finding::fail("connection_id", finding).hint("the same connection_id.encryption on all nodes")
    })
}

fn listeners(state: &ClusterState, own: &Candidate) -> Vec<Finding> {
    let say: Vec<_> = others(state, own).filter_map(|other| Some((other, run(other)?.addresses.as_ref()?))).collect();
    let differ =
        say.iter().filter_map(|(other, theirs)| Some((other, ListenerDifference::between(&own.listeners, theirs)?)));
    let warn = |(other, what): (&&NodeRecord, ListenerDifference)| {
        let finding = format!(
            "not those of node {}, {what}: packets for what one lacks are dropped there, and nodes do not know each other's reset tokens",
            other.number
        );
        Finding::warn("listeners", finding).hint("the same [[listener]] addresses on all nodes")
    };
    let findings: Vec<_> = differ.map(|(other, what)| warn((other, what))).collect();
    match (findings.is_empty(), say.len()) {
        (false, _) => findings,
        (true, 0) => vec![Finding::ok("listeners", "no other node says which it has")],
        (true, _) => vec![Finding::ok("listeners", "the same as on all nodes that say which they have")],
    }
}

fn versions(state: &ClusterState, own: &Candidate) -> Vec<Finding> {
    let [lowest, highest] = [own.versions.lowest, own.versions.highest];
    let strangers = others(state, own).filter_map(|other| {
        let theirs = run(other)?.versions;
        let is_apart = theirs.highest < lowest || theirs.lowest > highest;
        is_apart.then(|| {
            let finding = format!(
                "node {} reads versions {} to {} of the tunnel, and this host {lowest} to {highest}",
                other.number, theirs.lowest, theirs.highest
            );
            Finding::fail("versions", finding).hint("releases that are one apart at most: upgrade the older first")
        })
    });
    let strangers: Vec<_> = strangers.collect();
    if strangers.is_empty() && others(state, own).any(|other| other.run.is_some()) {
        return vec![Finding::ok("versions", "all nodes that say so read this host's version of the tunnel")];
    }
    strangers
}

fn mtu(survey: &ClusterSurvey, state: &ClusterState) -> Vec<Finding> {
    let of = |other: &NodeRecord| (other.number, other.address, survey.mtus.get(&other.number).copied().flatten());
    let judge = |(number, address, mtu): (NodeNumber, IpAddr, Option<u32>)| match mtu {
        Some(mtu) if mtu < LEAST => {
            let finding = format!("the interface towards node {number} carries {mtu} octets: no first flight fits");
            Finding::fail("mtu", finding).hint(format!("{LEAST} octets or more; 1,564 is room for all"))
        }
        Some(mtu) => {
            Finding::ok("mtu", format!("the interface towards node {number} ({address}) carries {mtu} octets"))
        }
        None => {
            let finding = format!("there is no way to node {number} ({address})");
            Finding::warn("mtu", finding).hint(format!("ip route get {address}"))
        }
    };
    others(state, &survey.own).map(|other| judge(of(other))).collect()
}

/// Other clocks are compared by hellos, once the host is a node. What the cluster has noted cannot be of the future.
fn clock(state: &ClusterState, now: u64) -> Finding {
    let latest = state.cid.values().map(|cid| cid.since).max().unwrap_or(0);
    match latest.checked_sub(now).filter(|ahead| *ahead > CLOCK_APART) {
        Some(ahead) => {
            let behind = text::span(std::time::Duration::from_secs(ahead));
            let finding = format!("this host's is {behind} behind the time of the last rotation, at least");
            Finding::warn("clock", finding).hint("timedatectl: NTP has to be active")
        }
        None => {
            Finding::ok("clock", "not behind what the cluster has noted; others' are compared once this host is a node")
        }
    }
}

fn run(record: &NodeRecord) -> Option<&RunInfo> {
    record.run.as_ref()
}

/// Octets: an Initial of 1,200 in IPv6 and UDP, with the tunnel's headers over IPv6.
const LEAST: u32 = 1_200 + 48 + 64;
/// Seconds.
const CLOCK_APART: u64 = 5;

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use router_cluster::membership::{
        CidConfiguration, CidSecrets, CidShape, CidState, Incarnation, Master, Member, NodeState, TunnelVersions,
    };
    use router_common::identifiers::ConfigRotation;

    use super::*;
    use crate::{agent::Unseen, doctor::finding::Findings};

    fn number(number: u16) -> NodeNumber {
        NodeNumber::new(number).unwrap()
    }

    fn listeners(ports: &[u16]) -> BTreeSet<SocketAddr> {
        ports.iter().map(|&port| SocketAddr::from(([192, 0, 2, 80], port))).collect()
    }

    /// Node `own`, on a host of the same number, with that incarnation.
    fn record(own: u16) -> NodeRecord {
        let run = RunInfo {
            incarnation: Incarnation::new(own.into()),
            host: own.into(),
            acks: 1,
            versions: TunnelVersions { lowest: 1, highest: 1 },
            engine: "xdp".to_owned(),
            listeners: String::new(),
            unheard: BTreeSet::new(),
            addresses: Some(listeners(&[443])),
            encrypts: Some(true),
        };
        let address = [10, 0, 0, 10 + own as u8].into();
        NodeRecord { number: number(own), address, port: 6080, weight: 100, state: NodeState::Up, run: Some(run) }
    }

    /// A cluster of node 2, to which a new host comes.
    fn survey() -> ClusterSurvey {
        let cid = CidConfiguration {
            rotation: ConfigRotation::new(0),
            state: CidState::Issuing,
            announced: 1,
            entered: 1,
            since: 1_000,
            shape: Some(CidShape { length: 17, describes_length: true }),
            awaited: BTreeSet::new(),
            secrets: CidSecrets::from([0; 36]),
        };
        let state = ClusterState {
            revision: 3,
            master: Some(Master::from([0; 32])),
            nodes: [(number(2), Member { record: Some(record(2)), ..Member::default() })].into(),
            cid: [(cid.rotation, cid)].into(),
            next_id: 3,
            ..ClusterState::default()
        };
        ClusterSurvey {
            source: "https://10.0.0.5:2379".to_owned(),
            cluster: Ok(Arc::new(state)),
            own: Candidate {
                tunnel: "10.0.0.11:6080".parse().unwrap(),
                incarnation: Ok(None),
                number: None,
                host: 1,
                length: 17,
                is_encrypted: true,
                listeners: listeners(&[443]),
                versions: TunnelVersions { lowest: 1, highest: 1 },
                state_dir: "/state".to_owned(),
            },
            mtus: [(number(2), Some(1_500))].into(),
            now: 2_000,
        }
    }

    /// What is judged once both sides have been changed.
    fn judged(change: impl FnOnce(&mut ClusterState, &mut Candidate)) -> Vec<Finding> {
        let mut survey = survey();
        let mut state = ClusterState::clone(survey.cluster.as_ref().unwrap());
        change(&mut state, &mut survey.own);
        judge(&ClusterSurvey { cluster: Ok(Arc::new(state)), ..survey })
    }

    fn put(state: &mut ClusterState, record: NodeRecord) {
        state.nodes.insert(record.number, Member { record: Some(record), ..Member::default() });
    }

    fn change_run(state: &mut ClusterState, change: impl FnOnce(&mut RunInfo)) {
        let mut record = record(2);
        change(record.run.as_mut().unwrap());
        put(state, record);
    }

    #[test]
    fn a_new_host_may_join() {
        let expected = [
            Finding::ok(
                "engine",
                "https://10.0.0.5:2379 answers, and opens with this host's secret: 1 node, revision 3",
            ),
            Finding::ok("number", "this host is new: it becomes node 3, or a higher number"),
            Finding::ok("connection_id", "17 octets, as on the other nodes"),
            Finding::ok("listeners", "the same as on all nodes that say which they have"),
            Finding::ok("versions", "all nodes that say so read this host's version of the tunnel"),
            Finding::ok("mtu", "the interface towards node 2 (10.0.0.12) carries 1500 octets"),
            Finding::ok(
                "clock",
                "not behind what the cluster has noted; others' are compared once this host is a node",
            ),
        ];
        assert_eq!(judge(&survey()), expected);
    }

    #[test]
    fn a_cluster_that_cannot_be_seen_is_all_that_is_said() {
        let unseen = Unseen { why: "etcd says nothing".to_owned(), hint: Some("etcdctl".to_owned()) };
        let away = ClusterSurvey { cluster: Err(unseen), ..survey() };
        assert_eq!(judge(&away), [Finding::fail("engine", "etcd says nothing").hint("etcdctl")]);
        let text = "https://10.0.0.5:2379 answers, and has no such cluster yet";
        let not_made = [Finding::fail("engine", text).hint("once, on one node: quic-router cluster init")];
        assert_eq!(judged(|state, _| *state = ClusterState::default()), not_made);
    }

    #[test]
    fn a_host_is_told_from_its_copy() {
        let as_node_1 = |host: u64, address: u8| {
            judged(|state, own| {
                let mut record = record(1);
                record.run.as_mut().unwrap().host = host;
                record.address = [10, 0, 0, address].into();
                put(state, record);
                own.incarnation = Ok(Some(Incarnation::new(1)));
                own.number = Some(number(1));
            })
        };
        let running = Finding::ok("number", "this host is node 1, and its agent has told the others so");
        assert!(as_node_1(1, 11).contains(&running));
        let rebooted =
            Finding::ok("number", "this host is node 1; its record of an earlier boot ends within ten seconds");
        assert!(as_node_1(9, 11).contains(&rebooted));
        let text = "node 1 runs at 10.0.0.19:6080 with the incarnation that is in /state: this is a copy";
        let hint = "a copied machine takes its state folder along: empty router.state_dir on the copy";
        let copied = as_node_1(9, 19);
        assert!(copied.contains(&Finding::fail("number", text).hint(hint)), "{copied:?}");
        assert!(!Findings::new(copied).healthy());
    }

    #[test]
    fn a_host_that_was_a_node_is_it_again_unless_it_was_forgotten() {
        let back = |order| {
            judged(move |state, own| {
                state.nodes.insert(number(1), Member { order, ..Member::default() });
                (own.incarnation, own.number) = (Ok(Some(Incarnation::new(1))), Some(number(1)));
            })
        };
        assert!(back(None).contains(&Finding::ok("number", "this host was node 1, and is again")));
        let text = "this host was node 1, which was forgotten: it becomes node 3, or a higher number";
        assert!(back(Some(Order::Forget)).contains(&Finding::ok("number", text)));
        let full = judged(|state, _| state.next_id = 65_536);
        let text = "every number has been given to a node";
        let hint = "make a new cluster under another name, with new keys";
        assert!(full.contains(&Finding::fail("number", text).hint(hint)));
        let unreadable = judged(|_, own| own.incarnation = Err("/state/incarnation: no number".to_owned()));
        assert!(unreadable.contains(&Finding::fail("number", "/state/incarnation: no number").hint("ls -l /state")));
    }

    #[test]
    fn an_address_of_another_node_is_refused() {
        let taken = judged(|_, own| own.tunnel = "10.0.0.12:6080".parse().unwrap());
        let text = "node 2 is at 10.0.0.12:6080, too: packets for one would come to the other";
        let hint = "cluster.address of this host alone; if this host was node 2, and lost its state_dir, quic-router nodes \
                    forget 2";
        assert!(taken.contains(&Finding::fail("address", text).hint(hint)), "{taken:?}");
    }

    #[test]
    fn connection_ids_have_to_be_alike() {
        let longer = judged(|_, own| own.length = 20);
        let text = "connection_id.length is 20 here, and connection IDs of the cluster have 17 octets: nodes cannot read each \
                    other's";
        let hint = "connection_id.length = 17, as on the other nodes";
        assert!(longer.contains(&Finding::fail("connection_id", text).hint(hint)), "{longer:?}");
        let clear = judged(|_, own| own.is_encrypted = false);
        let text = "connection IDs are in clear here, and encrypted on node 2: nodes cannot read each other's";
        let hint = "the same connection_id.encryption on all nodes";
        assert!(clear.contains(&Finding::fail("connection_id", text).hint(hint)), "{clear:?}");
        let unsaid = judged(|state, own| {
            change_run(state, |run| run.encrypts = None);
            own.is_encrypted = false;
        });
        assert!(Findings::new(unsaid).healthy());
    }

    #[test]
    fn listeners_that_differ_are_named() {
        let other = judged(|state, _| change_run(state, |run| run.addresses = Some(listeners(&[443, 8_443]))));
        let text = "not those of node 2, 192.0.2.80:8443 there alone: packets for what one lacks are dropped there, and nodes \
                    do not know each other's reset tokens";
        let hint = "the same [[listener]] addresses on all nodes";
        assert!(other.contains(&Finding::warn("listeners", text).hint(hint)), "{other:?}");
        assert!(Findings::new(other).healthy(), "a warning");
        let unsaid = judged(|state, _| change_run(state, |run| run.addresses = None));
        assert!(unsaid.contains(&Finding::ok("listeners", "no other node says which it has")));
    }

    #[test]
    fn versions_have_to_meet() {
        let newer = judged(|state, _| change_run(state, |run| run.versions = TunnelVersions { lowest: 2, highest: 3 }));
        let text = "node 2 reads versions 2 to 3 of the tunnel, and this host 1 to 1";
        let hint = "releases that are one apart at most: upgrade the older first";
        assert!(newer.contains(&Finding::fail("versions", text).hint(hint)), "{newer:?}");
    }

    #[test]
    fn the_way_to_each_node_has_to_carry_a_first_flight() {
        let with = |mtu| judge(&ClusterSurvey { mtus: [(number(2), mtu)].into(), ..survey() });
        let text = "the interface towards node 2 carries 1311 octets: no first flight fits";
        let hint = "1312 octets or more; 1,564 is room for all";
        assert!(with(Some(1_311)).contains(&Finding::fail("mtu", text).hint(hint)));
        assert!(Findings::new(with(Some(1_312))).healthy());
        let text = "there is no way to node 2 (10.0.0.12)";
        assert!(with(None).contains(&Finding::warn("mtu", text).hint("ip route get 10.0.0.12")));
    }

    #[test]
    fn a_clock_that_is_behind_is_noticed() {
        let at = |now| judge(&ClusterSurvey { now, ..survey() });
        assert!(Findings::new(at(995)).text().contains("not behind what the cluster has noted"));
        let text = format!(
            "this host's is {} behind the time of the last rotation, at least",
            text::span(std::time::Duration::from_secs(6))
        );
        assert!(at(994).contains(&Finding::warn("clock", text).hint("timedatectl: NTP has to be active")));
    }

    /// With a list nodes say nothing of themselves.
    #[test]
    fn a_list_of_nodes_says_who_this_host_is() {
        let listed = |own_address: &str| {
            judged(|state, own| {
                state.nodes.clear();
                put(state, NodeRecord { run: None, ..record(1) });
                put(state, NodeRecord { run: None, ..record(2) });
                state.cid.values_mut().for_each(|cid| cid.shape = None);
                own.tunnel = own_address.parse().unwrap();
            })
        };
        let found = listed("10.0.0.11:6080");
        assert!(found.contains(&Finding::ok("number", "the list of nodes says that this host is node 1")), "{found:?}");
        let text = "cannot be compared: the list of nodes does not say their length";
        assert!(found.contains(&Finding::ok("connection_id", text)));
        let text = "the list of nodes has none with the address 10.0.0.19";
        let hint = "[[node]] with address = \"10.0.0.19\" there, or correct cluster.address";
        assert!(listed("10.0.0.19:6080").contains(&Finding::fail("number", text).hint(hint)));
    }
}
