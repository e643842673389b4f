//! The decision over any frame and any tables: it ends, does not panic, and keeps its word.
//!
//! `cargo +nightly fuzz run decision` (from this folder's parent).

#![no_main]

use libfuzzer_sys::fuzz_target;
use router_common::{
    admission::{Challenge, Limited, Listed, TokenKey, TokenKeys},
    connection_id::{CidKeys, ConnectionId, Identity, UNROUTABLE},
    frame::{Address, Endpoint},
    identifiers::{ConfigRotation, CpuId, GenerationId, IfIndex, InterfaceQueue, NodeId, QueueId, SlotId},
    maps::{CidConfig, Node, NodePath, NodeState, Queue, Settings, Slot, SlotState, Stage},
    reason::Fate,
    steer::{self, Tables, Verdict},
    tunnel::{Leaving, Outer, Receiver, TunnelKey, TunnelKeys},
};

/// Tables that the fuzzer chooses: which look-ups hit is in its first octets.
struct Chosen {
    length: u8,
    hits: u8,
    /// What there is no room for, whether packets are answered, and which clients are asked.
    admission: u8,
    slot: SlotId,
    config: CidConfig,
    keys: CidKeys,
    queue: Queue,
    token_keys: TokenKeys,
    node: Node,
    tunnel_keys: TunnelKeys,
}

impl Tables for Chosen {
    type Flow = ();
    type Keys = CidKeys;

    fn settings(&self) -> Option<Settings> {
        let settings = Settings::new(0x0102, self.length, GenerationId::new(1));
        Some(settings.with_blocks(u32::from(self.hits & 32)).with_nodes(u32::from(self.hits & 4)))
    }

    fn listens(&self, _: &Endpoint) -> bool {
        self.hits & 1 != 0
    }

    fn flow(&self, _: &ConnectionId) -> Option<((), SlotId)> {
        (self.hits & 2 != 0).then_some(((), self.slot))
    }

    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig> {
        (rotation < UNROUTABLE).then_some(&self.config)
    }

    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&CidKeys> {
        (rotation < UNROUTABLE).then_some(&self.keys)
    }

    fn slot(&self, slot: SlotId) -> Option<Slot> {
        let state = if self.hits & 4 != 0 || slot.get() % 2 == 0 { SlotState::Active } else { SlotState::Free };
        Some(Slot::new(state, CpuId::new(0), GenerationId::new(1)))
    }

    fn assigned(&self, hash: u64) -> Option<SlotId> {
        (self.hits & 8 != 0).then_some(SlotId::new(hash as u8))
    }

    fn hash_seed(&self) -> Option<[u64; 2]> {
        Some([1, 2])
    }

    fn queue(&self) -> Option<&Queue> {
        (self.hits & 64 != 0).then_some(&self.queue)
    }

    fn is_local(&self, address: &Address) -> bool {
        address.is_ipv4() || self.hits & 16 != 0
    }

    fn is_broadcast(&self, address: &Address) -> bool {
        address.octets().0[15] == 0xff
    }

    fn listed(&self, source: &Address) -> Listed {
        match source.octets().0[14] % 4 {
            0 => Listed::Drop,
            1 => Listed::Challenge,
            2 => Listed::Allow,
            _ => Listed::No,
        }
    }

    fn refuses_port(&self, port: u16) -> bool {
        port < 1024
    }

    fn admits(&self, kind: Limited) -> bool {
        self.admission & 1 << kind as u8 == 0
    }

    fn admits_from(&self, _: &Address) -> bool {
        self.admission & 128 == 0
    }

    fn admits_validated(&self, _: &Address) -> bool {
        self.admission & 128 == 0
    }

    fn answers(&self) -> bool {
        self.admission & 8 != 0
    }

    fn challenge(&self) -> Challenge {
        match self.admission >> 4 & 3 {
            0 => Challenge::Never,
            1 => Challenge::Always,
            _ => Challenge::Auto,
        }
    }

    fn token_keys(&self) -> Option<&TokenKeys> {
        (self.admission & 64 != 0).then_some(&self.token_keys)
    }

    fn unix_seconds(&self) -> u64 {
        NOW
    }

    fn is_tunnel(&self, destination: &Endpoint) -> bool {
        destination.port == TUNNEL_PORT
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        (node.get() != 0x0102).then_some(&self.node)
    }

    fn assigned_node(&self, hash: u64) -> Option<NodeId> {
        (hash & 1 != 0).then_some(NodeId::new((hash >> 8) as u16))
    }

    fn tunnel_keys(&self) -> Option<&TunnelKeys> {
        Some(&self.tunnel_keys)
    }
}

/// Where tunnels end.
const TUNNEL_PORT: u16 = 6_080;

/// What time it is there, in seconds from 1970 on.
const NOW: u64 = 1_800_000_000;

fuzz_target!(|input: &[u8]| {
    let [length, hits, slot, admission, frame @ ..] = input else { return };
    // An identity of one octet, so that noise hits it.
    let server_id = Identity::server_id(&[*slot]).expect("one octet");
    let identity = if hits & 16 == 0 { Identity::node(0x0102) } else { server_id };
    let config = if hits & 32 != 0 { CidConfig::encrypted } else { CidConfig::in_clear };
    let config = config(identity, (*length).into()).unwrap_or_default();
    let queue = Queue::new(
        InterfaceQueue { interface: IfIndex::new(1), queue: QueueId::new(0) },
        [*hits; 6],
        SlotId::new(*slot),
    )
    .with_places(*hits & 128 != 0);
    let keys = CidKeys::new(&[*hits; 16], [1, 2]);
    let epoch = TokenKey::epoch_at(NOW);
    let tables = Chosen {
        length: *length,
        hits: *hits,
        admission: *admission,
        slot: SlotId::new(*slot),
        config,
        keys,
        queue,
        token_keys: TokenKeys::new(TokenKey::new(epoch, [5, 6]), TokenKey::new(epoch - 1, [7, 8])),
        node: Node::new(STATES[usize::from(*slot) % STATES.len()], SENDER, SENDER.address),
        tunnel_keys: TunnelKeys::new(TunnelKey::new(1, [1, 2]), TunnelKey::NONE),
    };
    decide(frame, &tables);
    if let Some(tunnelled) = tunnelled(frame, &tables) {
        decide(&tunnelled, &tables);
    }
});

/// What is decided about a frame keeps its word.
fn decide(frame: &[u8], tables: &Chosen) {
    let (verdict, datagram) = steer::frame(frame, tables);
    let fate = match verdict {
        Verdict::Pass(_) => Fate::Passed,
        Verdict::Drop(_) => Fate::Dropped,
        Verdict::Deliver(delivery) => {
            assert!(delivery.slot.is_taken(), "delivered to a free slot");
            assert!(datagram.is_some(), "delivered without a datagram");
            let queue = tables.queue().filter(|queue| queue.owner() == delivery.number);
            let of_queue = queue.map(|queue| queue.index());
            assert!(delivery.socket.index().is_none_or(|index| Some(index) == of_queue), "to another's");
            Fate::Delivered
        }
        Verdict::Forward(_) => {
            assert_eq!(steer::stage(frame, tables), Stage::Xdp, "sent on twice");
            Fate::Forwarded
        }
        Verdict::Answer(_) => {
            assert!(tables.answers(), "answered where nothing is");
            assert!(datagram.is_some(), "answered without a datagram");
            Fate::Answered
        }
    };
    assert_eq!(verdict.reason().fate(), fate, "a reason of another fate");
}

/// The frame's packet as another node would send it on, with its own tag, in IPv4.
fn tunnelled(frame: &[u8], tables: &Chosen) -> Option<Vec<u8>> {
    let Leaving::Packet(packet) = Leaving::of(frame, &tables.node.with_path(&PATH)) else { return None };
    let mut outer = Outer::EMPTY;
    let node = Node::new(NodeState::Up, SENDER, SENDER.address).with_path(&PATH);
    let key = tables.tunnel_keys.sending()?;
    let length = outer.write(&packet, NodeId::new(7), Receiver { key, node: &node });
    Some([&outer.octets()[..length], frame.get(14..14 + packet.length)?].concat())
}

const STATES: [NodeState; 5] = NodeState::ALL;
const SENDER: Endpoint = Endpoint { address: Address::ipv4([10, 0, 0, 7]), port: TUNNEL_PORT };
const PATH: NodePath =
    NodePath { interface: IfIndex::new(1), own_mac: [1; 6], neighbour_mac: [2; 6], longest: u16::MAX };
