//! Packets between the nodes of a cluster: the decision as a function, and the loaded XDP programs, octet for octet.

use anyhow::{Context as _, Result};
use router_common::{
    connection_id::ConnectionId,
    frame::{self, Datagram},
    identifiers::{GenerationId, NodeId},
    maps::{NodeState, Settings},
    reason::Reason,
    steer,
    tunnel::{Leaving, Outer, Receiver, outer_length},
};
use router_tests::packets::{
    CID_LENGTH, Kernel, LISTENERS, NODE_ID, Packet, Random, SLOTS, Tally, World, cid,
    cluster::{
        Cluster, DRAINING, GONE, LONGEST, NODES, SILENT, TUNNEL_PORT, UNREACHABLE, UP, UP_V6, address, own_address,
        tunnelled,
    },
    quic::{Kind, Quic, V1},
};

const CLIENT_V4: ([u8; 4], u16) = ([10, 77, 0, 99], 4000);
const CLIENT_V6: ([u16; 8], u16) = ([0xfd77, 0, 0, 0, 0, 0, 0, 0x99], 4000);

/// The program and the function, in one cluster.
struct Both {
    kernel: Kernel,
    world: World,
}

impl Both {
    fn in_cluster(name: &str, cluster: Cluster) -> Result<Self> {
        let world = World::new().within(cluster.clone());
        let settings = Settings::new(NODE_ID, CID_LENGTH, GenerationId::new(1));
        let mut kernel = Kernel::load(name, settings, SLOTS.into(), world.configs())?;
        kernel.join(&cluster)?;
        Ok(Self { kernel, world })
    }

    /// What both say of a frame.
    fn say(&mut self, frame: &[u8]) -> Result<Reason> {
        let tally = Tally::decided(frame, &self.world);
        self.kernel.agree(&[frame.to_vec()], |frame| Tally::decided(frame, &self.world))?;
        Ok(*Reason::ALL.iter().find(|&&reason| tally.of(reason) == 1).context("no reason")?)
    }
}

fn v4(quic: Quic) -> Packet {
    Packet::udp(CLIENT_V4, LISTENERS[0], quic)
}

fn v6(quic: Quic) -> Packet {
    Packet::udp(CLIENT_V6, ([0xfd77, 0, 0, 0, 0, 0, 0, 1], 443), quic)
}

fn short(node: u16) -> Quic {
    Quic::short(cid(0, node, 1).as_slice())
}

fn initial(node: u16) -> Quic {
    Quic::initial(V1, cid(0, node, 1).as_slice())
}

/// A number that no node has.
const NOBODY: u16 = 999;

#[test]
fn each_state_of_a_node() -> Result<()> {
    let mut both = Both::in_cluster("states", Cluster::new())?;
    let expected = |state: NodeState| match state {
        NodeState::Up | NodeState::Draining | NodeState::Silent => (Reason::Forwarded, Reason::Forwarded),
        NodeState::Unreachable => (Reason::NodeUnreachable, Reason::Assigned),
        NodeState::Gone => (Reason::NodeGone, Reason::Assigned),
    };
    let all = NODES.into_iter().map(|(node, state)| (node, expected(state)));
    let all = all.chain([(NOBODY, (Reason::NodeUnreachable, Reason::Assigned)), (NODE_ID, (Reason::Cid, Reason::Cid))]);
    for (node, (of_a_connection, of_a_first_flight)) in all {
        for (family, packet) in [("IPv4", v4 as fn(Quic) -> Packet), ("IPv6", v6)] {
            assert_eq!(both.say(&packet(short(node)).frame())?, of_a_connection, "node {node}, {family}");
            assert_eq!(both.say(&packet(initial(node)).frame())?, of_a_first_flight, "node {node}, {family}");
        }
    }
    let handshake = Quic::long(Kind::Handshake, V1, cid(0, GONE, 1).as_slice());
    assert_eq!(both.say(&v4(handshake).frame())?, Reason::NodeGone);
    Ok(())
}

#[test]
fn without_other_nodes_a_number_says_nothing() -> Result<()> {
    let world = World::new();
    let settings = Settings::new(NODE_ID, CID_LENGTH, GenerationId::new(1));
    let mut kernel = Kernel::load("alone", settings, SLOTS.into(), world.configs())?;
    let frames: Vec<_> = [UP, GONE, NOBODY].map(|node| v4(short(node)).frame()).into();
    let tally = kernel.agree(&frames, |frame| Tally::decided(frame, &world))?;
    assert_eq!(tally.of(Reason::Unknown), 3);
    Ok(())
}

/// What leaves is the packet as it came behind the headers of a tunnel, whose other end takes it as what it was.
#[test]
fn a_packet_goes_through_the_tunnel_octet_for_octet() -> Result<()> {
    let mut near = Both::in_cluster("near", Cluster::new())?;
    for node in [UP, UP_V6, DRAINING, SILENT] {
        for packet in [v4(short(node)), v6(short(node)), v4(initial(node))] {
            let frame = packet.frame();
            let trial = near.kernel.answer(&frame)?;
            let to = NodeId::new(node);
            let there = &near.world.cluster().context("a cluster")?.nodes[&to];
            let Leaving::Packet(packet) = Leaving::of(&frame[..], there) else { panic!("it does not leave") };
            let keys = Cluster::keys();
            let mut outer = Outer::EMPTY;
            let key = keys.sending().context("a key")?;
            let length = outer.write(&packet, NodeId::new(NODE_ID), Receiver { key, node: there });
            assert_eq!((trial.action, trial.frame.len()), (XDP_TX, length + packet.length), "node {node}");
            assert_eq!(trial.frame, [&outer.octets()[..length], &frame[14..]].concat(), "node {node}");
            let datagram = parsed(&trial.frame)?;
            assert_eq!((datagram.source.address, datagram.destination.address), (there.source(), there.address()));
            assert_eq!((datagram.destination.port, datagram.is_plain()), (TUNNEL_PORT, true));
            assert_eq!(length, 14 + outer_length(there.address().is_ipv4()));
        }
    }
    let counters = near.kernel.counters_of_node(NodeId::new(UP))?.context("it is known")?;
    assert_eq!((counters.forwarded_packets, counters.too_long, counters.unwrapped_packets), (3, 0, 0));
    assert_eq!(near.kernel.counters_of_node(NodeId::new(NOBODY))?, None);
    Ok(())
}

#[test]
fn what_fits_and_what_does_not() -> Result<()> {
    let mut both = Both::in_cluster("sizes", Cluster::new())?;
    // An IPv4 and a UDP header are 28 octets, and an IPv6 and a UDP header 48.
    let longest = usize::from(LONGEST);
    for (packet, headers) in [(v4 as fn(Quic) -> Packet, 28), (v6, 48)] {
        let of = |payload: usize| packet(short(UP).padded_to(payload)).frame();
        assert_eq!(both.say(&of(longest - headers))?, Reason::Forwarded);
        assert_eq!(both.say(&of(longest - headers + 1))?, Reason::TooLongToForward);
    }
    let counters = both.kernel.counters_of_node(NodeId::new(UP))?.context("it is known")?;
    assert_eq!((counters.forwarded_packets, counters.too_long), (2, 2));
    assert_eq!(counters.forwarded_octets, 2 * u64::from(LONGEST));
    Ok(())
}

/// A worker sends on what is not plain.
#[test]
fn what_is_not_plain_goes_up_the_stack() -> Result<()> {
    let mut both = Both::in_cluster("plain", Cluster::new())?;
    for packet in [v4(short(UP)).vlan(7), v4(short(UP)).options(&[1; 4]), v6(short(UP)).extension(0)] {
        assert_eq!(both.say(&packet.frame())?, Reason::Forwarded);
    }
    let counters = both.kernel.counters_of_node(NodeId::new(UP))?.context("it is known")?;
    assert_eq!(counters.forwarded_packets, 0, "no program has sent it");
    Ok(())
}

#[test]
fn new_connections_by_hash() -> Result<()> {
    let mut both = Both::in_cluster("hash", Cluster::by_hash())?;
    let mut random = Random(7);
    let (mut here, mut there) = (0, 0);
    for _ in 0..300 {
        let chosen = random.octets(8);
        match both.say(&v4(Quic::initial(V1, &chosen)).frame())? {
            Reason::Assigned => here += 1,
            Reason::ForwardedNew => there += 1,
            other => panic!("{other:?}"),
        }
    }
    // Two of six others are up, so 2 of 7 go there.
    assert!((50..=125).contains(&there) && here + there == 300, "{here} here, {there} there");
    Ok(())
}

/// The frame of a tunnel from `sender`, around `inner`.
fn from_node(sender: u16, inner: &[u8]) -> Result<Vec<u8>> {
    Ok(outer(sender, inner)?.frame())
}

fn outer(sender: u16, inner: &[u8]) -> Result<Packet> {
    let datagram = parsed(inner)?;
    let about = router_common::tunnel::Inner::of(
        datagram.source,
        datagram.destination,
        &inner[datagram.payload.at..][..datagram.payload.length],
    );
    let payload = tunnelled(sender, &about.context("16 octets")?, &inner[14..]);
    Ok(Packet::udp((address(sender), 50_000), (own_address(sender), TUNNEL_PORT), payload))
}

#[test]
fn what_another_node_sends_on_is_taken_and_never_sent_on_again() -> Result<()> {
    for cluster in [Cluster::new(), Cluster::by_hash()] {
        let mut both = Both::in_cluster("taken", cluster)?;
        for sender in [UP, UP_V6, DRAINING, SILENT, UNREACHABLE, GONE] {
            for packet in [v4 as fn(Quic) -> Packet, v6] {
                let mut is = |reason, quic: Quic| -> Result<()> {
                    assert_eq!(both.say(&from_node(sender, &packet(quic).frame())?)?, reason, "from node {sender}");
                    Ok(())
                };
                is(Reason::Cid, short(NODE_ID))?;
                is(Reason::Cid, initial(NODE_ID))?;
                is(Reason::Misrouted, short(UP))?;
                is(Reason::Misrouted, short(GONE))?;
                is(Reason::Misrouted, short(NOBODY))?;
                is(Reason::Assigned, initial(UP))?;
                is(Reason::Assigned, Quic::initial(V1, b"whatever"))?;
            }
        }
        let elsewhere = Packet::udp(CLIENT_V4, ([10, 77, 0, 1], 80), short(NODE_ID)).frame();
        assert_eq!(both.say(&from_node(UP, &elsewhere)?)?, Reason::Misrouted, "no listener");
        let counters = both.kernel.counters_of_node(NodeId::new(UP))?.context("it is known")?;
        assert_eq!((counters.unwrapped_packets, counters.forwarded_packets, counters.forged), (15, 0, 0));
    }
    Ok(())
}

/// What comes out is what went in, on the frame's own way.
#[test]
fn the_packet_that_comes_out() -> Result<()> {
    let mut both = Both::in_cluster("out", Cluster::new())?;
    for sender in [UP, UP_V6] {
        for packet in [v4(short(NODE_ID)), v6(short(NODE_ID)), v4(Quic::initial(V1, b"whatever"))] {
            let inner = packet.frame();
            let frame = from_node(sender, &inner)?;
            let trial = both.kernel.answer(&frame)?;
            assert!([XDP_PASS, XDP_REDIRECT].contains(&trial.action), "action {}", trial.action);
            assert_eq!(trial.frame, [&frame[..12], &inner[12..]].concat());
        }
    }
    Ok(())
}

/// RFC 6040: what a router between the nodes has marked, the client is told.
#[test]
fn congestion_marks_come_out() -> Result<()> {
    let mut both = Both::in_cluster("marks", Cluster::new())?;
    let ce = |outer_is_ipv4: bool| if outer_is_ipv4 { (15, vec![3]) } else { (15, vec![0x30]) };
    for (sender, is_ipv4) in [(UP, true), (UP_V6, false)] {
        let (at, octets) = ce(is_ipv4);
        // ECT(0), in IPv4, whose header has a sum, and in IPv6.
        let (mut inner4, mut inner6) = (v4(short(NODE_ID)).frame(), v6(short(NODE_ID)).overwrite(15, &[0x20]).frame());
        inner4[15] = 2;
        let sum = ipv4_checksum(&inner4[14..34]);
        inner4[24..26].copy_from_slice(&sum);
        for inner in [&mut inner4, &mut inner6] {
            let trial = both.kernel.answer(&outer(sender, inner)?.overwrite(at, &octets).frame())?;
            let is_inner_ipv4 = inner[12] == 8;
            inner[15] = if is_inner_ipv4 { 3 } else { 0x30 };
            if is_inner_ipv4 {
                let sum = ipv4_checksum(&inner[14..34]);
                inner[24..26].copy_from_slice(&sum);
            }
            assert_eq!(&trial.frame[14..], &inner[14..], "over IPv4: {is_ipv4}, within IPv4: {is_inner_ipv4}");
        }
        // What is not able to carry a mark would have been dropped.
        let frame = outer(sender, &v4(short(NODE_ID)).frame())?.overwrite(at, &octets).frame();
        assert_eq!(both.say(&frame)?, Reason::TunnelForged);
    }
    Ok(())
}

/// A tunnel's packet in which anything is not as a node would have sent it.
#[test]
fn forged_packets() -> Result<()> {
    let mut both = Both::in_cluster("forged", Cluster::new())?;
    for sender in [UP, UP_V6] {
        let outer_headers = 14 + outer_length(sender.is_multiple_of(2)) - 16;
        for inner in [v4(short(NODE_ID)).frame(), v6(short(NODE_ID)).frame()] {
            let good = from_node(sender, &inner)?;
            assert_eq!(both.say(&good)?, Reason::Cid);
            // The tag covers the addresses, ports, length, and 16 octets of payload.
            let headers = if inner[12] == 8 { 28 } else { 48 };
            let covered = outer_headers + 16 + headers + 16;
            for at in outer_headers..covered {
                for bit in [1, 0x80] {
                    let mut frame = good.clone();
                    frame[at] ^= bit;
                    let reason = both.say(&frame)?;
                    let is_control = at == outer_headers && frame[at] & 0xe0 == 0x20;
                    let is_free = is_uncovered(at - outer_headers, headers);
                    assert!(is_control || is_free || reason == Reason::TunnelForged, "octet {at}, {reason:?}");
                }
            }
            // Cut at every octet: what the outer headers say is then more than there is, or they say less.
            for length in 14..good.len() {
                let reason = both.say(&good[..length])?;
                assert!(matches!(reason, Reason::Malformed | Reason::NotIp), "{length} octets: {reason:?}");
            }
            let datagram = parsed(&good)?;
            let payload = &good[datagram.payload.at..];
            for length in 0..payload.len() {
                let frame =
                    Packet::udp((address(sender), 50_000), (own_address(sender), TUNNEL_PORT), &payload[..length]);
                // What has no room for a tag is for the agent's socket, which takes it for forged.
                let expected = if length < 16 { Reason::TunnelSocket } else { Reason::TunnelForged };
                assert_eq!(both.say(&frame.frame())?, expected, "{length} octets");
            }
            // The right packet from another address, or in another's name.
            let from = |source: std::net::IpAddr, payload: &[u8]| {
                Packet::udp((source, 50_000), (own_address(sender), TUNNEL_PORT), payload).frame()
            };
            let other = if sender.is_multiple_of(2) { DRAINING } else { SILENT };
            assert_eq!(both.say(&from(address(other), payload))?, Reason::TunnelForged);
            let mut anothers = payload.to_vec();
            anothers[6..8].copy_from_slice(&other.to_be_bytes());
            assert_eq!(both.say(&from(address(other), &anothers))?, Reason::TunnelForged);
            // A tunnel within a tunnel.
            let nested = outer(sender, &good)?.frame();
            assert_eq!(both.say(&nested)?, Reason::Misrouted);
        }
    }
    let counters = both.kernel.counters_of_node(NodeId::new(UP))?.context("it is known")?;
    assert!(counters.forged > 100, "{counters:?}");
    Ok(())
}

/// Whether the tag says nothing of an octet of an IP packet behind the tunnel's headers: the traffic class and flow label,
/// the identification, the hops left and the sums.
fn is_uncovered(at: usize, headers: usize) -> bool {
    let Some(at) = at.checked_sub(16) else { return false };
    match headers {
        28 => matches!(at, 1 | 4 | 5 | 6 | 8 | 10 | 11 | 26 | 27),
        _ => matches!(at, 0..=3 | 7 | 46 | 47),
    }
}

/// What nodes tell each other is the agent's, and what comes to the port on another host's address is not ours.
#[test]
fn what_else_comes_to_the_tunnels_port() -> Result<()> {
    let mut both = Both::in_cluster("others", Cluster::new())?;
    let control = Packet::udp((address(UP), 50_000), (own_address(UP), TUNNEL_PORT), vec![0x20 | 1; 40]);
    assert_eq!(both.say(&control.frame())?, Reason::TunnelSocket);
    let tagged = outer(UP, &v4(short(NODE_ID)).frame())?.vlan(7);
    assert_eq!(both.say(&tagged.frame())?, Reason::TunnelSocket, "not plain");
    let passing = Packet::udp((address(UP), 50_000), ([10, 99, 0, 77], TUNNEL_PORT), vec![0; 40]);
    assert_eq!(both.say(&passing.frame())?, Reason::NotListener);
    Ok(())
}

/// Noise in the headers of tunnels, a hundred thousand times: the program and the function agree.
#[test]
fn noise_in_a_tunnel() -> Result<()> {
    let mut both = Both::in_cluster("noise", Cluster::by_hash())?;
    let mut random = Random(42);
    let goods: Vec<_> = [UP, UP_V6]
        .into_iter()
        .flat_map(|sender| [v4(short(NODE_ID)), v6(short(UP)), v4(initial(UP))].map(|packet| (sender, packet.frame())))
        .map(|(sender, inner)| from_node(sender, &inner))
        .collect::<Result<_>>()?;
    for _ in 0..100 {
        let frames: Vec<_> = (0..1_000)
            .map(|n| {
                let mut frame = goods[n % goods.len()].clone();
                for _ in 0..random.below(3) {
                    let at = 14 + random.below(frame.len().min(200) - 14);
                    frame[at] = random.word() as u8;
                }
                frame
            })
            .collect();
        both.kernel.agree(&frames, |frame| Tally::decided(frame, &both.world))?;
    }
    Ok(())
}

#[test]
fn no_connection_id_of_the_nodes_is_the_same() {
    let ids: std::collections::BTreeSet<_> =
        NODES.iter().map(|&(node, _)| cid(0, node, 1)).map(|id: ConnectionId| id.as_slice().to_vec()).collect();
    assert_eq!(ids.len(), NODES.len());
    assert_eq!(steer::stage(&v4(short(UP)).frame()[..], &World::new()) as u32, 0);
}

fn parsed(frame: &[u8]) -> Result<Datagram> {
    frame::parse(frame).map_err(|reason| anyhow::anyhow!("{reason:?}"))
}

/// RFC 1071, over an IPv4 header with any sum in it.
fn ipv4_checksum(header: &[u8]) -> [u8; 2] {
    let words = header.chunks_exact(2).enumerate().filter(|(index, _)| *index != 5);
    let sum: u32 = words.map(|(_, word)| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}

/// `linux/bpf.h`, `enum xdp_action`
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
