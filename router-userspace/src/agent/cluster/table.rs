//! What is known of the other nodes, made into what the kernel and the workers go by. Nothing here asks or changes anything.

use std::collections::{BTreeMap, BTreeSet};

use router_cluster::{
    distribution::distribution,
    health::{Judgement, NodeHealth},
    membership::{CidState, ClusterState, EngineInfo, NodeNumber, NodeRecord, NodeState, Presence},
};
use router_common::{
    frame::{Address, Endpoint},
    identifiers::{IfIndex, NodeId},
    maps::{self, AssignedNode, Node, NodePath},
    tunnel::{TunnelKey, TunnelKeys, outer_length},
};

use super::{
    others::{Others, id},
    routes::{Way, Ways},
};
use crate::{
    agent::secrets::Secrets,
    config::{self, NewConnections},
};

/// What a table is made of.
pub(super) struct Known<'a> {
    pub(super) config: &'a config::Cluster,
    pub(super) own: NodeNumber,
    pub(super) state: &'a ClusterState,
    pub(super) others: &'a Others,
    pub(super) judgements: &'a BTreeMap<NodeNumber, Judgement>,
    pub(super) ways: &'a Ways,
    /// The interfaces that XDP programs are on, by which they can send.
    pub(super) steered: &'a BTreeSet<IfIndex>,
    /// Whether new connections are for the other nodes: this one stops or may issue no connection IDs, or the others may not
    /// know of it yet.
    pub(super) sends_away: bool,
}

impl Known<'_> {
    /// The other nodes.
    pub(super) fn nodes(&self) -> BTreeMap<NodeId, Node> {
        let node = |(&number, judgement): (&NodeNumber, &Judgement)| {
            let other = self.others.get(number)?;
            let node = Node::new(node_state(judgement), Endpoint::from(other.tunnel), address(self.config.address));
            let path = self.ways.get(&id(number)).and_then(|way| self.path(way));
            Some((id(number), path.map_or(node, |path| node.with_path(&path))))
        };
        let is_present = |node: NodeId| NodeNumber::new(node.get()).is_some_and(|number| self.is_present(number));
        fitting(self.judgements.iter().filter_map(node).collect(), is_present, maps::NODES_MAX as usize)
    }

    fn is_present(&self, number: NodeNumber) -> bool {
        self.state.node(number).is_some_and(|member| member.presence() == Presence::Present)
    }

    fn path(&self, way: &Way) -> Option<NodePath> {
        let hop = way.hop.filter(|hop| self.steered.contains(&hop.interface))?;
        let longest = self.fits(hop.mtu);
        Some(NodePath { interface: hop.interface, own_mac: hop.own, neighbour_mac: hop.neighbour, longest })
    }

    /// The longest inner packet that fits into one of `mtu` octets.
    fn fits(&self, mtu: u32) -> u16 {
        let outer = outer_length(self.config.address.is_ipv4());
        (mtu as usize).saturating_sub(outer).min(PACKET_MAX) as u16
    }

    /// The longest inner packet that fits on the way to every other node. Where no way is known it is what an Ethernet
    /// carries: clients are told once, and nodes may join while they are connected.
    pub(super) fn longest(&self) -> u16 {
        let mtus = self.ways.values().filter_map(|way| way.mtu);
        self.fits(mtus.min().unwrap_or(ETHERNET_MTU))
    }

    /// Which node new connections go to; none: to the one that gets them.
    pub(super) fn assignment(&self, seed: [u64; 2]) -> Option<Box<[AssignedNode]>> {
        let takes_new = !self.sends_away && !self.is_draining();
        if self.config.new_connections == NewConnections::Local && takes_new {
            return None;
        }
        let takers = self
            .judgements
            .iter()
            .filter(|(_, judgement)| judgement.state == NodeHealth::Up && judgement.takes_new_connections);
        let mut weights: BTreeMap<_, _> = takers
            .filter_map(|(&number, _)| Some((number, self.others.get(number)?.record.as_ref()?.weight)))
            .collect();
        if takes_new {
            weights.insert(self.own, self.own_record().map_or(1, |record| record.weight));
        }
        let assigned = |node: Option<NodeNumber>| match node {
            Some(node) if node != self.own => AssignedNode::to(id(node)),
            _ => AssignedNode::HERE,
        };
        Some(distribution(&weights, seed).into_iter().map(assigned).collect())
    }

    fn own_record(&self) -> Option<&NodeRecord> {
        self.state.node(self.own)?.record.as_ref()
    }

    /// Whether this node is to take no new connections.
    pub(super) fn is_draining(&self) -> bool {
        let state = self.state.node(self.own).and_then(|member| member.state());
        state == Some(NodeState::Draining)
    }
}

/// As many nodes as there is `room` for: those that are present, and of the others the newest, whose numbers are the highest.
fn fitting(
    mut nodes: BTreeMap<NodeId, Node>,
    is_present: impl Fn(NodeId) -> bool,
    room: usize,
) -> BTreeMap<NodeId, Node> {
    let absent: Vec<_> = match nodes.len().checked_sub(room) {
        None | Some(0) => return nodes,
        Some(too_many) => nodes.keys().copied().filter(|&number| !is_present(number)).take(too_many).collect(),
    };
    for number in absent {
        nodes.remove(&number);
    }
    nodes
}

/// The keys of the tunnel. With a list of nodes, each configuration of connection IDs has one with it: packets are sent
/// under that of the issued one, and those under the next one's are taken, or under the last one's where no next one is
/// announced. An engine with leases has a master secret of its own, and one key that comes of it.
pub(super) fn tunnel_keys(state: &ClusterState, secrets: &Secrets, engine: EngineInfo) -> TunnelKeys {
    let key = |number: u64| {
        // Numbers go to 2^32.
        let epoch = u32::try_from(number).unwrap_or(u32::MAX);
        TunnelKey::new(epoch, secrets.tunnel_key(epoch))
    };
    let Some(issuing) = state.issuing() else { return TunnelKeys::NONE };
    if engine.has_leases {
        return TunnelKeys::new(key(1), TunnelKey::NONE);
    }
    let numbers = |wanted| state.cid.values().filter(move |cid| cid.state == wanted).map(|cid| cid.announced);
    let other = numbers(CidState::Announced).min().or_else(|| numbers(CidState::Retiring).max());
    TunnelKeys::new(key(issuing.announced), other.map_or(TunnelKey::NONE, key))
}

/// What a node counts as, as maps have it.
pub(super) fn node_state(judgement: &Judgement) -> maps::NodeState {
    judgement.state.into()
}

fn address(ip: std::net::IpAddr) -> Address {
    Endpoint::from(std::net::SocketAddr::new(ip, 0)).address
}

/// Octets of an IP packet that every Ethernet carries.
const ETHERNET_MTU: u32 = 1_500;
/// Octets of an IP packet, at most.
const PACKET_MAX: usize = u16::MAX as usize;

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc, time::Duration};

    use router_cluster::{
        health::Reason,
        membership::{CidConfiguration, CidSecrets, Member},
    };
    use router_common::identifiers::ConfigRotation;

    use super::{super::others::Other, *};
    use crate::{
        config::{ForwardBy, MembershipEngine},
        datapath::Hop,
    };

    fn number(number: u16) -> NodeNumber {
        NodeNumber::new(number).unwrap()
    }

    fn record(own: u16) -> NodeRecord {
        NodeRecord {
            number: number(own),
            address: [10, 0, 0, own as u8].into(),
            port: 6080,
            weight: 100,
            state: NodeState::Up,
            run: None,
        }
    }

    fn other(own: u16, last: Option<NodeRecord>) -> Other {
        Other { tunnel: record(own).tunnel(), record: last }
    }

    fn judgement(state: NodeHealth) -> Judgement {
        let takes_new_connections = state == NodeHealth::Up;
        Judgement { state, takes_new_connections, reason: Reason::HeardByOthers }
    }

    fn way(interface: u32, mtu: u32) -> Way {
        let hop = Hop { interface: IfIndex::new(interface), own: [1; 6], neighbour: [2; 6], mtu, is_stale: false };
        Way { hop: Some(hop), mtu: Some(mtu) }
    }

    /// Node 1 among five; XDP programs are on interface 3.
    struct World {
        config: config::Cluster,
        state: ClusterState,
        others: Others,
        judgements: BTreeMap<NodeNumber, Judgement>,
        ways: Ways,
        steered: BTreeSet<IfIndex>,
        sends_away: bool,
    }

    impl World {
        fn new() -> Self {
            let own = Member { record: Some(record(1)), ..Member::default() };
            let state = ClusterState { nodes: [(number(1), own)].into(), ..ClusterState::default() };
            let config = config::Cluster {
                name: "edge".to_owned(),
                engine: MembershipEngine::File { members: PathBuf::new(), listed: Arc::default() },
                secret: PathBuf::new(),
                address: [10, 0, 0, 1].into(),
                port: 6080,
                weight: 100,
                forward: ForwardBy::Udp,
                new_connections: NewConnections::Local,
                dead_after: Duration::from_secs(10),
                announce_table: None,
            };
            let judgements = [
                (2, judgement(NodeHealth::Up)),
                (3, judgement(NodeHealth::Draining)),
                (4, judgement(NodeHealth::Silent)),
                (5, judgement(NodeHealth::Unreachable)),
                (6, judgement(NodeHealth::Gone)),
                // Heard of, but nobody knows where.
                (7, judgement(NodeHealth::Up)),
            ];
            Self {
                config,
                state,
                others: (2..=6).map(|node| (number(node), other(node, Some(record(node))))).collect(),
                judgements: judgements.map(|(node, judgement)| (number(node), judgement)).into(),
                ways: [(2, way(3, 1_500)), (3, way(4, 9_000))].map(|(node, way)| (NodeId::new(node), way)).into(),
                steered: [IfIndex::new(3)].into(),
                sends_away: false,
            }
        }

        fn known(&self) -> Known<'_> {
            let Self { config, state, others, judgements, ways, steered, sends_away } = self;
            Known { config, own: number(1), state, others, judgements, ways, steered, sends_away: *sends_away }
        }
    }

    #[test]
    fn present_nodes_have_a_place_before_those_that_are_not() {
        let one = Node::new(maps::NodeState::Up, address_of(1), address_of(2).address);
        let nodes: BTreeMap<_, _> = (1..=6).map(|number| (NodeId::new(number), one)).collect();
        let kept = |room| {
            let kept = fitting(nodes.clone(), |number| [1, 4].contains(&number.get()), room);
            kept.keys().map(|number| number.get()).collect::<Vec<_>>()
        };
        assert_eq!(kept(6), [1, 2, 3, 4, 5, 6]);
        assert_eq!(kept(4), [1, 4, 5, 6]);
        assert_eq!(kept(2), [1, 4]);
    }

    fn address_of(host: u8) -> Endpoint {
        Endpoint { address: Address::ipv4([10, 0, 0, host]), port: 6080 }
    }

    #[test]
    fn each_node_is_what_it_counts_as_and_is_reached_where_a_program_can_send() {
        let world = World::new();
        let nodes = world.known().nodes();
        let states: Vec<_> = nodes.iter().map(|(number, node)| (number.get(), node.state().name())).collect();
        assert_eq!(states, [(2, "up"), (3, "draining"), (4, "silent"), (5, "unreachable"), (6, "gone")]);
        let ways: Vec<_> = nodes.values().map(|node| (node.interface(), node.longest())).collect();
        // That of node 3 leads by an interface without a program.
        assert_eq!(ways[..2], [(Some(IfIndex::new(3)), 1_456), (None, 0)]);
        let two = nodes[&NodeId::new(2)];
        let [own, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Address::ipv4);
        assert_eq!((two.source(), two.address(), two.port()), (own, other, 6080));
        assert_eq!(world.known().longest(), 1_456, "by the smallest");
    }

    #[test]
    fn new_connections_stay_here_or_go_by_weight_or_away_from_one_that_drains() {
        let mut world = World::new();
        assert_eq!(world.known().assignment([1, 2]), None);
        world.config.new_connections = NewConnections::Hash;
        let of = |world: &World, node| {
            let assignment = world.known().assignment([1, 2]).unwrap();
            assignment.iter().filter(|assigned| assigned.node() == node).count()
        };
        let (here, there) = (of(&world, None), of(&world, Some(NodeId::new(2))));
        assert_eq!(here + there, maps::NODE_ASSIGNMENT_SIZE as usize, "nobody else takes new connections");
        assert!(here.abs_diff(there) < 3, "{here} and {there}");
        for new_connections in [NewConnections::Hash, NewConnections::Local] {
            world.config.new_connections = new_connections;
            let own = NodeRecord { state: NodeState::Draining, ..record(1) };
            world.state.nodes.insert(number(1), Member { record: Some(own), ..Member::default() });
            assert_eq!(of(&world, Some(NodeId::new(2))), maps::NODE_ASSIGNMENT_SIZE as usize);
        }
        // One that may issue no connection IDs, and its operator knows nothing of that.
        world.state.nodes.insert(number(1), Member { record: Some(record(1)), ..Member::default() });
        world.sends_away = true;
        assert_eq!(of(&world, Some(NodeId::new(2))), maps::NODE_ASSIGNMENT_SIZE as usize);
        // There is nobody else: better here than nowhere.
        world.judgements.clear();
        assert_eq!(of(&world, None), maps::NODE_ASSIGNMENT_SIZE as usize);
    }

    /// Its record had ended before this agent began: packets of its connections get there, and nothing new does.
    #[test]
    fn a_node_that_is_known_by_its_last_place_alone_is_forwarded_to() {
        let mut world = World::new();
        world.others = [(number(2), other(2, None))].into_iter().collect();
        world.config.new_connections = NewConnections::Hash;
        let two = world.known().nodes()[&NodeId::new(2)];
        assert_eq!((two.state().name(), two.address(), two.port()), ("up", Address::ipv4([10, 0, 0, 2]), 6080));
        assert_eq!(two.interface(), Some(IfIndex::new(3)));
        let assignment = world.known().assignment([1, 2]).unwrap();
        assert!(assignment.iter().all(|assigned| assigned.node().is_none()));
    }

    /// Whichever of two lists, one step apart, each of two nodes has read.
    #[test]
    fn nodes_one_step_apart_take_each_others_packets() {
        use CidState::{Announced, Issuing, Retiring};
        let secrets = Secrets::new(&[7; 32]);
        let keys = |list: &[(u64, CidState)]| {
            let cid = list.iter().map(|&(announced, state)| {
                let rotation = ConfigRotation::new((announced % 7) as u8);
                let secrets = CidSecrets::from([0; 36]);
                let (entered, awaited) = (announced, BTreeSet::new());
                let shared =
                    CidConfiguration { rotation, state, announced, entered, since: 0, shape: None, awaited, secrets };
                (rotation, shared)
            });
            tunnel_keys(
                &ClusterState { cid: cid.collect(), ..ClusterState::default() },
                &secrets,
                EngineInfo { name: "file", has_leases: false },
            )
        };
        let steps = [
            keys(&[(1, Issuing)]),
            keys(&[(1, Issuing), (2, Announced)]),
            keys(&[(1, Retiring), (2, Issuing)]),
            keys(&[(2, Issuing)]),
            keys(&[(2, Issuing), (3, Announced)]),
        ];
        for pair in steps.windows(2) {
            for (sender, taker) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
                let key = sender.sending().unwrap();
                assert!(taker.of(key.octet()) == Some(key));
            }
        }
        assert!(steps[0].sending() != steps[2].sending());
        assert!(keys(&[]).sending().is_none());
    }
}
