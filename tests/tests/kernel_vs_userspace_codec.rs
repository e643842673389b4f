//! Do the loaded XDP program and the function of `router-common` decode the same slot from a connection ID, whatever the
//! encoding?

use anyhow::{Context, Result};
use router_common::{
    admission::{Challenge, Limited, Listed, TokenKeys},
    connection_id::{CidConfig, CidKeys, ConnectionId, Identity, Nonce},
    frame::{Address, Endpoint},
    identifiers::{ConfigRotation, GenerationId, NodeId, SlotId},
    maps::{self, Queue, Settings, Slot},
    reason::Reason,
    steer::Tables,
    tunnel::TunnelKeys,
};
use router_tests::packets::{Kernel, LISTENERS, NODE_ID, Packet, Random, Tally, World, quic::Quic};
use router_userspace::datapath::CidEntry;

#[test]
fn connection_ids_in_clear() -> Result<()> {
    let node = Identity::node(NODE_ID);
    agree(IDS, 17, &[(node, false), (server_id(8), false)])?;
    agree(FEWER, 16, &[(node, false), (server_id(8), false)])?;
    agree(FEWER, 20, &[(node, false), (server_id(15), false)])?;
    agree(FEWER, 6, &[(server_id(1), false)])
}

#[test]
fn connection_ids_of_a_single_pass() -> Result<()> {
    let node = Identity::node(NODE_ID);
    agree(IDS, 17, &[(node, true)])?;
    agree(FEWER, 17, &[(server_id(1), true), (server_id(7), true), (server_id(8), true), (server_id(12), true)])
}

#[test]
fn connection_ids_of_four_passes_decoded_in_three() -> Result<()> {
    for length in (8..=20).filter(|&length| length != 17) {
        agree(FEWER, length, &[(Identity::node(NODE_ID), true)])?;
    }
    Ok(())
}

#[test]
fn connection_ids_of_four_passes_decoded_in_four() -> Result<()> {
    for (length, server_id_length) in [(8, 3), (10, 4), (13, 8), (14, 7), (16, 11), (18, 8), (19, 10), (20, 15)] {
        agree(FEWER, length, &[(server_id(server_id_length), true)])?;
    }
    Ok(())
}

/// All configurations of `length`, each under a rotation of its own, and `ids` connection IDs
/// of each: half of them were issued, half are noise.
fn agree(ids: usize, length: u8, shapes: &[(Identity, bool)]) -> Result<()> {
    let mut random = Random::of_now();
    let seed = random.0;
    let configs = shapes.iter().zip(ConfigRotation::new(0).onwards()).map(|(&(identity, encrypted), rotation)| {
        let config = if encrypted { CidConfig::encrypted } else { CidConfig::in_clear };
        let config = config(identity, length.into()).context("not a legal length")?;
        let mut key = [0; 16];
        key.copy_from_slice(&random.octets(16));
        let keys = CidKeys::new(&key, [random.word(), random.word()]);
        Ok(CidEntry { rotation, config, keys })
    });
    let configs = configs.collect::<Result<Vec<_>>>()?;
    let settings = Settings::new(NODE_ID, length, GenerationId::new(1));
    let node = Node { settings, configs: &configs, world: World::new() };
    let mut kernel = Kernel::load("codec", node.settings, 256, &configs)?;
    for CidEntry { rotation, config, keys } in &configs {
        let mut decoded = 0;
        for _ in 0..ids / BATCH {
            let frames: Vec<_> = (0..BATCH)
                .map(|number| {
                    let mut octets = [0; 20];
                    octets.copy_from_slice(&random.octets(20));
                    let mut cid = octets[..length.into()].to_vec();
                    cid[0] = rotation.get() << 5 | cid[0] & 0x1f;
                    if number % 2 == 0 {
                        let nonce = Nonce { octets, low_bits: 0 };
                        let issued =
                            config.encode(*rotation, SlotId::new(octets[19]), &nonce, keys).expect("a legal rotation");
                        cid = issued.as_slice().to_vec();
                    }
                    short(&cid)
                })
                .collect();
            let agreed = kernel.agree(&frames, |frame| Tally::decided(frame, &node));
            let agreed = agreed.with_context(|| format!("{config:?}, seed {seed}"))?;
            decoded += agreed.of(Reason::Cid);
        }
        // Noise may decode to a slot too: in one of 256 with the shortest identity.
        assert!((ids / 2..ids * 3 / 5).contains(&(decoded as usize)), "{decoded} of {ids} decoded: {config:?}");
    }
    Ok(())
}

fn short(cid: &[u8]) -> Vec<u8> {
    let [router, ..] = LISTENERS;
    Packet::udp(([10, 77, 0, 99], 4000), router, Quic::short(cid)).frame()
}

fn server_id(length: usize) -> Identity {
    Identity::server_id(&b"fifteen octets."[..length]).expect("1 to 15 octets")
}

/// A node without flows, whose 256 slots are all active.
struct Node<'a> {
    settings: Settings,
    configs: &'a [CidEntry],
    world: World,
}

impl Tables for Node<'_> {
    type Flow = ();
    type Keys = CidKeys;

    fn settings(&self) -> Option<Settings> {
        Some(self.settings)
    }

    fn listens(&self, destination: &Endpoint) -> bool {
        self.world.listens(destination)
    }

    fn flow(&self, _: &ConnectionId) -> Option<((), SlotId)> {
        None
    }

    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig> {
        self.configs.get(usize::from(rotation)).map(|entry| &entry.config)
    }

    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&CidKeys> {
        self.configs.get(usize::from(rotation)).map(|entry| &entry.keys)
    }

    fn slot(&self, _: SlotId) -> Option<Slot> {
        self.world.slot(SlotId::new(0))
    }

    fn assigned(&self, hash: u64) -> Option<SlotId> {
        self.world.assigned(hash)
    }

    fn hash_seed(&self) -> Option<[u64; 2]> {
        Some(World::SEED)
    }

    fn queue(&self) -> Option<&Queue> {
        None
    }

    fn is_local(&self, address: &Address) -> bool {
        self.world.is_local(address)
    }

    fn listed(&self, source: &Address) -> Listed {
        self.world.listed(source)
    }

    fn is_broadcast(&self, address: &Address) -> bool {
        self.world.is_broadcast(address)
    }

    fn refuses_port(&self, port: u16) -> bool {
        self.world.refuses_port(port)
    }

    fn admits(&self, _: Limited) -> bool {
        true
    }

    fn admits_from(&self, _: &Address) -> bool {
        true
    }

    fn admits_validated(&self, _: &Address) -> bool {
        true
    }

    fn answers(&self) -> bool {
        false
    }

    fn challenge(&self) -> Challenge {
        Challenge::Never
    }

    fn token_keys(&self) -> Option<&TokenKeys> {
        None
    }

    fn unix_seconds(&self) -> u64 {
        World::NOW
    }

    fn is_tunnel(&self, _: &Endpoint) -> bool {
        false
    }

    fn node(&self, _: NodeId) -> Option<&maps::Node> {
        None
    }

    fn assigned_node(&self, _: u64) -> Option<NodeId> {
        None
    }

    fn tunnel_keys(&self) -> Option<&TunnelKeys> {
        None
    }
}

const IDS: usize = 100_000;
/// Where there are ten configurations of one kind, or about so many.
const FEWER: usize = 13_000;
/// So many go through the program before its counters are read.
const BATCH: usize = 1_000;
