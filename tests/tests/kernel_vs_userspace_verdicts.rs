//! Do the loaded XDP program and the function of `router-common` give the same verdict on a million random and mutated
//! packets?

use anyhow::{Context, Result, ensure};
use router_common::{
    admission::Challenge,
    connection_id::{ConnectionId, Nonce},
    identifiers::{GenerationId, IfIndex, InterfaceQueue, QueueId, SlotId},
    maps::{Origin, Queue, Settings},
    reason::Reason,
    steer::Tables as _,
};
use router_tests::packets::{
    CID_LENGTH, Kernel, LISTENERS, NODE_ID, PLANTED_FLOWS, Packet, Random, SLOTS, Tally, World, cases, cid,
    cluster::{Cluster, DRAINING, TUNNEL_PORT, UP, UP_V6, address, own_address, sent_on},
    quic::{Kind, Quic, UNKNOWN_VERSION, V1, V2},
};
use router_userspace::datapath::CidEntry;

#[test]
fn a_million_random_packets() -> Result<()> {
    let never = [&[Reason::Queue][..], &LIMITED, &ANSWERED, &BETWEEN_NODES].concat();
    agree("same", World::with_all_encodings(), PACKETS, &never)
}

/// A fifth of them again, where XDP answers what it can, and asks each client for its address.
#[test]
fn random_packets_where_clients_are_asked() -> Result<()> {
    let never = [&[Reason::Queue][..], &LIMITED, &BETWEEN_NODES].concat();
    agree("asks", World::with_all_encodings().challenging(Challenge::Always), PACKETS / 5, &never)
}

/// A fifth of them again, where they come in on a queue whose worker takes new connections from it.
#[test]
fn random_packets_on_a_queue_that_a_worker_has() -> Result<()> {
    let queue = Queue::new(
        InterfaceQueue { interface: IfIndex::new(LOOPBACK), queue: QueueId::new(0) },
        ROUTER_MAC,
        SlotId::new(1),
    )
    .with_places(true);
    agree(
        "queue",
        World::with_all_encodings().on_queue(queue),
        PACKETS / 5,
        &[&LIMITED[..], &ANSWERED, &BETWEEN_NODES].concat(),
    )
}

/// A fifth of them again, in a cluster whose other nodes own some, and have sent some on.
#[test]
fn random_packets_in_a_cluster() -> Result<()> {
    let never = [&[Reason::Queue][..], &LIMITED, &ANSWERED].concat();
    agree("cluster", World::with_all_encodings().within(Cluster::by_hash()), PACKETS / 5, &never)
}

/// What hangs on how many came before, and on whether there is an active slot.
const LIMITED: [Reason; 4] =
    [Reason::NoSlot, Reason::UnknownLimited, Reason::NegotiationLimited, Reason::SourceLimited];
/// Where XDP answers nothing, and so asks no client.
const ANSWERED: [Reason; 3] = [Reason::ChallengeLimited, Reason::Negotiated, Reason::Retried];
/// Where there are no other nodes.
const BETWEEN_NODES: [Reason; 8] = [
    Reason::TunnelSocket,
    Reason::TunnelForged,
    Reason::Misrouted,
    Reason::NodeUnreachable,
    Reason::TooLongToForward,
    Reason::NodeGone,
    Reason::Forwarded,
    Reason::ForwardedNew,
];

fn agree(name: &str, world: World, packets_max: usize, never: &[Reason]) -> Result<()> {
    let random = Random::of_now();
    let seed = random.0;
    let mut packets = Packets::new(random, &world);
    let mut kernel =
        Kernel::load(name, Settings::new(NODE_ID, CID_LENGTH, GenerationId::new(1)), SLOTS.into(), world.configs())?;
    world.queue().map(|queue| kernel.on_queue(*queue)).transpose()?;
    world.cluster().map(|cluster| kernel.join(cluster)).transpose()?;
    if world.answers() {
        kernel.answering(world.challenge())?;
    }
    let mut flows = kernel.flow_writer()?;
    for (cid, slot) in PLANTED_FLOWS {
        let cid = ConnectionId::new(cid).context("at most 20 octets")?;
        ensure!(flows.insert(&cid, SlotId::new(slot), Origin::Issued), "no room for a flow");
    }
    let mut kinds = Tally::default();
    for _ in 0..packets_max / BATCH {
        let frames: Vec<_> = (0..BATCH).map(|_| packets.next()).collect();
        let agreed = kernel.agree(&frames, |frame| Tally::decided(frame, &world));
        kinds = kinds + agreed.with_context(|| format!("seed {seed}"))?;
    }
    // They were not all of one kind.
    for &reason in Reason::ALL.iter().filter(|reason| !never.contains(reason)) {
        let count = kinds.of(reason);
        assert!(count > packets_max as u64 / 10_000, "only {count} of {packets_max} packets were {}", reason.name());
    }
    Ok(())
}

/// Packets of all kinds: those of the table, spoilt; well-formed ones with random headers; noise.
struct Packets<'a> {
    random: Random,
    world: &'a World,
    cases: Vec<Vec<u8>>,
}

impl<'a> Packets<'a> {
    fn new(random: Random, world: &'a World) -> Self {
        Self { random, world, cases: cases().into_iter().map(|case| case.frame).collect() }
    }

    fn next(&mut self) -> Vec<u8> {
        let frame = self.packet();
        match (self.world.cluster(), self.random.below(5)) {
            (Some(_), 0) => self.between_nodes(&frame),
            _ => frame,
        }
    }

    /// One that another node has sent on, or that comes to the tunnel's port all the same.
    fn between_nodes(&mut self, frame: &[u8]) -> Vec<u8> {
        let sender = *self.random.one_of(&[UP, UP_V6, DRAINING]);
        if self.random.below(10) == 0 {
            let words = self.random.octets(40);
            return Packet::udp((address(sender), 6_080), (own_address(sender), TUNNEL_PORT), words).frame();
        }
        let Some(mut frame) = sent_on(sender, frame) else { return frame.to_vec() };
        if self.random.below(4) == 0 {
            let at = self.random.below(frame.len().min(160));
            frame[at] ^= 1 << self.random.below(8);
        }
        frame
    }

    fn packet(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0 => self.noise(),
            1..5 => self.mutated(),
            _ => self.made_up(),
        }
    }

    /// Octets that are only by chance a packet; at least an Ethernet header.
    fn noise(&mut self) -> Vec<u8> {
        let length = 14 + self.random.below(200);
        let mut frame = self.random.octets(length);
        let ethertype = *self.random.one_of(&[[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00], [0x88, 0xa8], [0x12, 0x34]]);
        frame[12..14].copy_from_slice(&ethertype);
        frame
    }

    /// A packet of the table with some octets of its headers changed, or another length.
    fn mutated(&mut self) -> Vec<u8> {
        let mut frame = self.random.one_of(&self.cases).clone();
        for _ in 0..self.random.below(4) {
            let at = self.random.below(frame.len().min(100));
            frame[at] = match self.random.below(3) {
                0 => frame[at] ^ 1 << self.random.below(8),
                1 => self.random.below(32) as u8,
                _ => self.random.below(256) as u8,
            };
        }
        if self.random.below(4) == 0 {
            let length = 14 + self.random.below(frame.len() + 20);
            frame.resize(length, 0);
        }
        frame
    }

    /// A sound datagram to a listener with any QUIC header.
    fn made_up(&mut self) -> Vec<u8> {
        let cid = self.connection_id();
        let kind = *self.random.one_of(&[Kind::Initial, Kind::Initial, Kind::ZeroRtt, Kind::Handshake, Kind::Retry]);
        let version = *self.random.one_of(&[V1, V1, V2, UNKNOWN_VERSION, 0]);
        let quic = if self.random.below(3) == 0 { Quic::short(&cid) } else { Quic::long(kind, version, &cid) };
        let length = *self.random.one_of(&[5, 20, 21, 60, 1199, 1200, 1300, 1450]);
        let quic = quic.padded_to(length);
        let [router, ..] = LISTENERS;
        let port = *self.random.one_of(&[router.port(), router.port(), router.port(), 4000]);
        let any = self.random.below(0x10000) as u16;
        let from = *self.random.one_of(&[4000, 4000, 4000, 53, 1900, any]);
        let mut packet = match self.random.below(2) {
            0 => Packet::udp(([10, 77, 0, 99], from), (router.ip(), port), quic),
            _ => Packet::udp(([0xfd77, 0, 0, 0, 0, 0, 0, 9], from), ([0xfd77, 0, 0, 0, 0, 0, 0, 1], port), quic),
        };
        for _ in 0..self.random.below(4).saturating_sub(1) {
            packet = packet.vlan(self.random.below(4096) as u16);
        }
        packet.frame()
    }

    /// Any, or one that means something here.
    fn connection_id(&mut self) -> Vec<u8> {
        let nodes = if self.world.cluster().is_some() { 9 } else { 3 };
        let (rotation, node, slot) = (self.random.below(8), self.random.below(nodes), self.random.below(6));
        match self.random.below(5) {
            0 => self.random.one_of(&PLANTED_FLOWS).0.to_vec(),
            4 => self.issued(slot as u8),
            1 => cid(rotation.min(6) as u8 / 3, node as u16, slot as u8).as_slice().to_vec(),
            2 => {
                let length = self.random.below(24);
                self.random.octets(length)
            }
            _ => self.random.octets(8),
        }
    }

    /// One that this node issues for `slot`, under any of its configurations.
    fn issued(&mut self, slot: u8) -> Vec<u8> {
        let mut octets = [0; 20];
        octets.copy_from_slice(&self.random.octets(20));
        let CidEntry { rotation, config, keys } = self.random.one_of(self.world.configs());
        let nonce = Nonce { octets, low_bits: 0 };
        config.encode(*rotation, SlotId::new(slot), &nonce, keys).expect("a legal rotation").as_slice().to_vec()
    }
}

const PACKETS: usize = 1_000_000;
/// The interface that frames without a network come in on, and the link address that they are sent to.
const LOOPBACK: u32 = 1;
const ROUTER_MAC: [u8; 6] = [0x02, 0x77, 0, 0, 0, 1];
/// So many go through the program before its counters are read.
const BATCH: usize = 250;
