//! Two nodes on the loopback: what one sends on, the other takes, and nothing else.

use std::{
    future::poll_fn,
    io::IoSliceMut,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use quinn_udp::{EcnCodepoint, RecvMeta};
use router_common::{
    connection_id::ConnectionId,
    frame::Endpoint,
    identifiers::{ListenerId, NodeId, SlotId},
    maps::{Listener, ListenerKey, Node, NodeState, SlotState},
    reason::Reason,
    tunnel::{TunnelKey, TunnelKeys},
};
use tokio::{sync::mpsc, time::timeout};

use super::{ControlDatagram, Train, Tunnel, TunnelIntake, TunnelReceiver};
use crate::worker::{
    NodeList, NodeTables,
    socket::{ForwardQueues, Recipient, forward::ForwardQueue},
};

const SENDER: NodeId = NodeId::new(1);
/// As `NodeTables::for_tests` has it.
const OWNER: NodeId = NodeId::new(7);
const LISTENER: ListenerId = ListenerId::new(2);
const SLOT: SlotId = SlotId::new(3);
const CLIENT: &str = "192.0.2.9:4000";
const ADDRESS: &str = "198.51.100.1:443";
/// A control message of GUE, as far as its form goes.
const WORD: [u8; 64] = [0x25; 64];
const PATIENCE: Duration = Duration::from_secs(10);

/// The owner, whose tunnel ends on the loopback.
struct Owner {
    tables: Arc<NodeTables>,
    tunnel: Arc<Tunnel>,
    at: SocketAddr,
    queue: ForwardQueue,
    control: mpsc::Receiver<ControlDatagram>,
    _receiver: TunnelReceiver,
}

impl Owner {
    fn new(address: [u8; 4]) -> Self {
        let tables = Arc::new(NodeTables::for_tests());
        tables.set_slot_state(SLOT, SlotState::Active);
        let endpoint = Endpoint::from(ADDRESS.parse::<SocketAddr>().unwrap());
        tables.set_listeners(vec![(ListenerKey::exact(&endpoint), Listener::new(LISTENER))]);
        let forward_queues = Arc::new(ForwardQueues::default());
        let queue = forward_queues.open(Recipient { listener: LISTENER, slot: SLOT });
        let tunnel = Arc::new(tunnel_of(OWNER, address));
        // A port that is free: others may be in a group of sockets with one that is not.
        let free = std::net::UdpSocket::bind((IpAddr::from(address), 0)).unwrap().local_addr().unwrap();
        let (said, control) = mpsc::channel(4);
        let intake = TunnelIntake { tables: Arc::clone(&tables), forward_queues };
        let receiver = TunnelReceiver::start(Tunnel::bind(free).unwrap(), Arc::clone(&tunnel), &intake, said).unwrap();
        Self { tables, tunnel, at: free, queue, control, _receiver: receiver }
    }

    /// Has it know the sender at an address, and take what it sends under `key`.
    fn knows(&self, sender: [u8; 4], key: [u64; 2]) {
        self.tables.set_nodes(list(SENDER, (IpAddr::from(sender), 6080).into(), key));
    }

    /// Waits until so many packets have come, without what nodes say. What came before a word that is heard has been dealt
    /// with; should the kernel have let that pass by a packet, there is another word.
    async fn has_received(&mut self, packets: u64) {
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let all = async {
            while self.tunnel.counts().received.received() < packets + self.count(Reason::TunnelSocket) {
                nobody.send_to(&WORD, self.at).unwrap();
                self.control.recv().await.unwrap();
            }
        };
        timeout(PATIENCE, all).await.expect("a packet was lost on the loopback");
    }

    fn count(&self, reason: Reason) -> u64 {
        self.tunnel.counts().received.get(reason)
    }

    /// The next datagram that its worker gets.
    async fn next(&mut self) -> (RecvMeta, Vec<u8>) {
        let mut octets = [0; 2_000];
        let mut meta = [RecvMeta::default()];
        let queue = &mut self.queue;
        let taken = poll_fn(|cx| match queue.take(cx, &mut [IoSliceMut::new(&mut octets)], &mut meta) {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        });
        timeout(PATIENCE, taken).await.expect("no datagram came");
        (meta[0], octets[..meta[0].len].to_vec())
    }
}

/// The near end of a node at an address.
fn tunnel_of(node: NodeId, address: [u8; 4]) -> Tunnel {
    Tunnel::new(node, Tunnel::bind((IpAddr::from(address), 0).into()).unwrap()).unwrap()
}

/// One other node, under a key.
fn list(number: NodeId, at: SocketAddr, key: [u64; 2]) -> NodeList {
    let node = Node::new(NodeState::Up, Endpoint::from(at), Endpoint::from(at).address);
    let keys = TunnelKeys::new(TunnelKey::new(1, key), TunnelKey::NONE);
    NodeList { nodes: [(number, node)].into(), keys, ..NodeList::EMPTY }
}

/// What the sender knows: the owner.
fn sender(owner: &Owner, key: [u64; 2]) -> NodeTables {
    let tables = NodeTables::for_tests();
    tables.set_nodes(list(OWNER, owner.at, key));
    tables
}

fn train(octets: &[u8], stride: usize) -> Train<'_> {
    let (source, destination) = (CLIENT.parse().unwrap(), ADDRESS.parse().unwrap());
    Train { source, destination, ecn: Some(EcnCodepoint::Ect0), octets, stride }
}

/// A short header with a connection ID that the owner has issued.
fn datagram(tables: &NodeTables, filler: u8) -> Vec<u8> {
    let cid: ConnectionId = tables.connection_ids().issue(SLOT);
    let mut datagram = vec![0x40];
    datagram.extend(cid.as_slice());
    datagram.resize(40, filler);
    datagram
}

#[tokio::test]
async fn each_datagram_of_a_train_comes_to_its_worker_as_it_was() {
    let mut owner = Owner::new([127, 0, 3, 1]);
    owner.knows([127, 0, 3, 2], [1, 2]);
    let tunnel = tunnel_of(SENDER, [127, 0, 3, 2]);
    let datagrams = [1, 2, 3].map(|filler| datagram(&owner.tables, filler));
    let octets = datagrams.concat();
    assert_eq!(tunnel.send(&sender(&owner, [1, 2]), OWNER, &train(&octets, 40)), 3);
    for expected in datagrams {
        let (meta, octets) = owner.next().await;
        assert_eq!(octets, expected);
        assert_eq!((meta.addr, meta.stride, meta.ecn), (CLIENT.parse().unwrap(), 40, Some(EcnCodepoint::Ect0)));
        assert_eq!(meta.dst_ip, Some("198.51.100.1".parse().unwrap()));
    }
    owner.has_received(3).await;
    let [sent, taken] = [tunnel.counts().nodes[&OWNER], owner.tunnel.counts().nodes[&SENDER]];
    assert_eq!((sent.forwarded_packets, sent.forwarded_octets), (3, 3 * (40 + 28)));
    assert_eq!((taken.unwrapped_packets, taken.unwrapped_octets), (3, 3 * (40 + 28)));
    assert_eq!((owner.count(Reason::Cid), owner.tunnel.counts().received.closes()), (3, true));
}

/// CVE-2024-7596: whoever unwraps what anybody sends lets anybody send from any address.
#[tokio::test]
async fn what_no_node_vouches_for_is_dropped_and_counted() {
    let mut owner = Owner::new([127, 0, 3, 3]);
    owner.knows([127, 0, 3, 4], [1, 2]);
    let payload = datagram(&owner.tables, 1);
    let tunnel = tunnel_of(SENDER, [127, 0, 3, 4]);
    // Another key, another address, another number; and no form at all.
    assert_eq!(tunnel.send(&sender(&owner, [1, 3]), OWNER, &train(&payload, 40)), 1);
    let elsewhere = tunnel_of(SENDER, [127, 0, 3, 5]);
    assert_eq!(elsewhere.send(&sender(&owner, [1, 2]), OWNER, &train(&payload, 40)), 1);
    let unknown = tunnel_of(NodeId::new(2), [127, 0, 3, 4]);
    assert_eq!(unknown.send(&sender(&owner, [1, 2]), OWNER, &train(&payload, 40)), 1);
    tunnel.send_control(owner.at, b"\x03\x04 is no more than that");
    owner.has_received(4).await;
    assert_eq!((owner.count(Reason::TunnelForged), owner.tunnel.counts().nodes[&SENDER].forged), (4, 2));
    assert_eq!(owner.tunnel.counts().nodes[&SENDER].unwrapped_packets, 0);
}

#[tokio::test]
async fn what_is_not_this_nodes_goes_no_further() {
    let mut owner = Owner::new([127, 0, 3, 6]);
    owner.knows([127, 0, 3, 7], [1, 2]);
    let tunnel = tunnel_of(SENDER, [127, 0, 3, 7]);
    let tables = sender(&owner, [1, 2]);
    let payload = datagram(&owner.tables, 1);
    let to_nobody = Train { destination: "198.51.100.1:444".parse().unwrap(), ..train(&payload, 40) };
    assert_eq!(tunnel.send(&tables, OWNER, &to_nobody), 1);
    owner.has_received(1).await;
    assert_eq!(owner.count(Reason::Misrouted), 1);
    let before = owner.count(Reason::TunnelSocket);
    tunnel.send_control(owner.at, &WORD);
    let said = timeout(PATIENCE, owner.control.recv()).await.unwrap().unwrap();
    assert_eq!((said.octets, said.source.ip()), (WORD.to_vec(), IpAddr::from([127, 0, 3, 7])));
    assert_eq!((owner.count(Reason::TunnelSocket), owner.count(Reason::Misrouted)), (before + 1, 1));
}

#[test]
fn what_does_not_fit_is_not_sent() {
    let tunnel = tunnel_of(SENDER, [127, 0, 3, 8]);
    let tables = NodeTables::for_tests();
    let mut nodes = list(OWNER, "127.0.3.9:6080".parse().unwrap(), [1, 2]);
    let path = router_common::maps::NodePath {
        interface: router_common::identifiers::IfIndex::new(1),
        own_mac: [0; 6],
        neighbour_mac: [0; 6],
        longest: 67,
    };
    nodes.nodes.values_mut().for_each(|node| *node = node.with_path(&path));
    tables.set_nodes(nodes);
    assert_eq!(tunnel.send(&tables, OWNER, &train(&[0x40; 80], 40)), 0);
    assert_eq!(tunnel.counts().nodes[&OWNER].too_long, 2);
    assert_eq!(tunnel.send(&tables, NodeId::new(9), &train(&[0x40; 80], 40)), 0, "there is no such node");
}
