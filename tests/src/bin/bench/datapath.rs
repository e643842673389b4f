//! `bench datapath`: nanoseconds per packet of the real XDP program, for each kind of
//! packet, beside the floor: a program that only parses Ethernet, IP and UDP.
//!
//! Floor and program run in turn, many times; the figures are medians, and the column
//! `above` is the median of the differences within each turn, so that a machine that
//! drifts drifts under both. Of packets that are run one by one it is the mean of the middle
//! half: the kernel's clock counts in steps of up to ten nanoseconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use router_common::{
    admission::{Challenge, Prefix, Rate, TokenKey, TokenKeys},
    connection_id::{CidKeys, ConnectionId, Identity, Nonce},
    frame::{Address, Endpoint},
    identifiers::{ConfigRotation, CpuId, GenerationId, IfIndex, ListenerId, NodeId, SlotId},
    maps::{
        Admission, AnsweredBy, Block, BlockAction, CidConfig, Listener, ListenerKey, LocalKind, Node, NodePath,
        NodeState, Origin, PerSource, Secrets, Settings, Slot, SlotState, SourcePorts, Stage,
    },
    reason::Reason,
    tunnel::{Leaving, Outer, Receiver, TunnelKey, TunnelKeys},
};
use router_tests::{
    cpu,
    packets::{Packet, quic::Quic},
};
use router_userspace::{
    agent::{WeightedSlot, maglev},
    datapath::{CidEntry, Datapath, FlowWriter, Initial, Pins, Size, flow_table_bytes, possible_cpus},
};

pub(super) fn run() -> anyhow::Result<()> {
    let cpu = cpu::stay_on_this_one()?;
    println!("nanoseconds per packet, medians of {TURNS} turns of {REPEAT} runs each (BPF_PROG_TEST_RUN)\n");
    println!("{:<44} {:>9} {:>7} {:>7} {:>7}", "packet", "flows", "steer", "floor", "above");
    let (mut hit_above_floor, mut decoded_alone) = (BTreeMap::new(), None);
    for flows in TABLES {
        let mut bench = Bench::new(flows, cpu)?;
        for row in bench.rows() {
            let Timing { steer, floor, above } = bench.time(&row)?;
            println!("{:<44} {flows:>9} {steer:>7.1} {floor:>7.1} {above:>7.1}", row.name);
            if row.name == HIT {
                hit_above_floor.insert(flows, above);
            }
        }
        for (name, Timing { steer, floor, above }) in bench.limited()?.into_iter().chain(bench.answered()?) {
            println!("{name:<44} {flows:>9} {steer:>7.1} {floor:>7.1} {above:>7.1}");
        }
        if flows == 1_000 {
            for (name, Timing { steer, floor, above }) in bench.between_nodes()? {
                println!("{name:<44} {flows:>9} {steer:>7.1} {floor:>7.1} {above:>7.1}");
                if name != ALONE {
                    let decoded = *decoded_alone.get_or_insert(above);
                    println!("  above a decoded connection ID: {:.1} ns (aim: 100 at most)", above - decoded);
                }
                decoded_alone.get_or_insert(above);
            }
            for (name, Timing { steer, floor, above }) in bench.listed()? {
                println!("{name:<44} {flows:>9} {steer:>7.1} {floor:>7.1} {above:>7.1}");
            }
        }
        if flows == 1_000_000 {
            bench.print_costs()?;
        }
    }
    let decoded = encodings(cpu)?;
    let (thousand, million) = (hit_above_floor[&1_000], hit_above_floor[&1_000_000]);
    println!("\na flow hit above the floor: {thousand:.1} ns with 1,000 flows (aim: 50 at most)");
    println!("with 1,000,000 flows: {:.2} times that (aim: 1.5 at most)", million / thousand);
    for (name, above) in decoded {
        println!(
            "decoding, {name}: {above:.1} ns above in clear{}",
            if name == SINGLE_PASS { " (aim: 150 at most)" } else { "" }
        );
    }
    Ok(())
}

/// Each encoding of connection IDs, with and without a flow hit; what decoding costs above
/// decoding in clear, of the same length and in the same turns.
fn encodings(cpu: CpuId) -> anyhow::Result<Vec<(&'static str, f64)>> {
    println!();
    let node = Identity::node(NODE);
    let server_id = Identity::server_id(b"a server ID").context("11 octets")?;
    let mut above_clear = Vec::new();
    for (length, shapes) in [
        (17, vec![("in clear, 17 octets", node, false), (SINGLE_PASS, node, true)]),
        (
            18,
            vec![
                ("in clear, 18 octets", node, false),
                ("slot masked, 18 octets", server_id, false),
                ("four pass, 3 rounds", node, true),
                ("four pass, 4 rounds", server_id, true),
            ],
        ),
    ] {
        let mut bench = Bench::with(1_000, cpu, &shapes_of(length, &shapes)?)?;
        let mut clear = None;
        for (n, (name, ..)) in shapes.into_iter().enumerate() {
            let [hit, decoded] = bench.encoding_rows(n);
            let mut time = |row: &Row, what: &str| {
                let timing = bench.time(row)?;
                let Timing { steer, floor, above } = timing;
                println!("{:<44} {:>9} {steer:>7.1} {floor:>7.1} {above:>7.1}", format!("{name}: {what}"), 1_000);
                anyhow::Ok(above)
            };
            time(&hit, "flow hit")?;
            let above = time(&decoded, "decoded")?;
            match clear {
                None => clear = Some(above),
                Some(clear) => above_clear.push((name, above - clear)),
            }
        }
    }
    Ok(above_clear)
}

fn shapes_of(length: usize, shapes: &[(&str, Identity, bool)]) -> anyhow::Result<Vec<CidConfig>> {
    let shape = |&(_, identity, encrypted): &(&str, Identity, bool)| match encrypted {
        true => CidConfig::encrypted(identity, length),
        false => CidConfig::in_clear(identity, length),
    };
    shapes.iter().map(shape).collect::<Option<_>>().context("a length that is not legal")
}

/// A kind of packet: several frames, each with another connection ID where there is one,
/// so that a large table is felt.
struct Row {
    name: &'static str,
    frames: Vec<Vec<u8>>,
    reason: Reason,
    stage: Stage,
}

impl Row {
    fn new(name: &'static str, reason: Reason, frames: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { name, frames: frames.into_iter().collect(), reason, stage: Stage::Xdp }
    }
}

struct Timing {
    steer: f64,
    floor: f64,
    above: f64,
}

struct Bench {
    datapath: Datapath,
    configs: Vec<CidConfig>,
    known: Vec<ConnectionId>,
}

impl Bench {
    fn new(flows: u32, cpu: CpuId) -> anyhow::Result<Self> {
        Self::with(flows, cpu, &[in_clear()])
    }

    /// With these configurations of connection IDs, of one length, by rotation.
    fn with(flows: u32, cpu: CpuId, configs: &[CidConfig]) -> anyhow::Result<Self> {
        let other_cpu = (0..possible_cpus()).map(CpuId::new).find(|&other| other != cpu).unwrap_or(cpu);
        let directory = PathBuf::from(format!("/sys/fs/bpf/quic-router-bench-{}", std::process::id()));
        let (pins, _) = Pins::take(&directory).context("pin directory")?;
        let length = configs.first().map_or(0, CidConfig::length) as u8;
        let any = Endpoint { address: Address::ipv4([0; 4]), port: PORT };
        let one = Endpoint { address: Address::ipv4([10, 0, 0, 1]), port: PORT + 1 };
        let initial = Initial {
            settings: Settings::new(NODE, length, GenerationId::new(1)),
            secrets: Secrets::new([1, 2]),
            cid_configs: ConfigRotation::new(0)
                .onwards()
                .zip(configs)
                .map(|(rotation, &config)| CidEntry { rotation, config, keys: keys() })
                .collect(),
            listeners: vec![
                (ListenerKey::exact(&any), Listener::new(ListenerId::new(0))),
                (ListenerKey::exact(&one), Listener::new(ListenerId::new(1))),
            ],
        };
        let size = Size { flows: flows.max(1024) + 8 * FRAMES, cpus: possible_cpus() };
        let mut datapath = Datapath::load(pins, &size, &initial, None)?;
        let subnet = Address::ipv4(BROADCAST).octets().0;
        let addresses = [(one.address.octets().0, LocalKind::Own), (subnet, LocalKind::Broadcast)];
        datapath.set_local_addresses(&addresses.into())?;
        datapath.set_source_ports(&SourcePorts::refusing(&[0..=1_023]))?;
        for (slot, cpu) in [(LOCAL, cpu), (REMOTE, other_cpu)] {
            datapath.open_cpu(cpu)?;
            datapath.set_slot(slot, Slot::new(SlotState::Active, cpu, GenerationId::new(1)))?;
        }
        datapath.assign(&maglev(&[WeightedSlot { slot: LOCAL, weight: 1 }]))?;
        let known = fill(&mut datapath.flow_writer()?, flows)?;
        Ok(Self { datapath, configs: configs.to_vec(), known })
    }

    /// Packets of configuration `n`: whose connection ID is in the flow table, and is not.
    fn encoding_rows(&mut self, n: usize) -> [Row; 2] {
        let (config, rotation) = (self.configs[n], ConfigRotation::new(n as u8));
        let ids = |from: u32| (from..from + FRAMES).map(move |nonce| issued(&config, rotation, LOCAL, nonce));
        let frames = |from| ids(from).map(|cid| to(PORT, Quic::short(cid.as_slice())));
        let mut writer = self.datapath.flow_writer().expect("it was opened before");
        for cid in ids(UNWRITTEN) {
            writer.insert(&cid, LOCAL, Origin::Issued);
        }
        [Row::new("hit", Reason::Flow, frames(UNWRITTEN)), Row::new("decoded", Reason::Cid, frames(UNWRITTEN + FRAMES))]
    }

    fn rows(&self) -> Vec<Row> {
        let short = |cid: &ConnectionId| to(PORT, Quic::short(cid.as_slice()));
        let short_to_one = |cid: &ConnectionId| to(PORT + 1, Quic::short(cid.as_slice()));
        let unwritten = |slot| (0..FRAMES).map(move |n| short(&cid(slot, UNWRITTEN + n)));
        let initials = (0..FRAMES).map(|n| to(PORT, Quic::initial(1, &u64::from(n).to_be_bytes())));
        let to_many = |address| from_to(40_000, address, PORT, Quic::initial(1, b"whatever"));
        let from_dns = from_to(53, [10, 0, 0, 1], PORT, Quic::initial(1, b"whatever"));
        vec![
            Row::new("not ours: UDP to another port", Reason::NotListener, [to(PORT + 2, vec![0; 64])]),
            Row::new(HIT, Reason::Flow, self.known.iter().map(short)),
            Row::new("flow hit, listener on one address", Reason::Flow, self.known.iter().map(short_to_one)),
            Row::new("connection ID decoded in clear", Reason::Cid, unwritten(LOCAL)),
            Row::new("connection ID decoded, sent to another CPU", Reason::Cid, unwritten(REMOTE)),
            Row::new("new connection: assigned", Reason::Assigned, initials),
            Row::new("dropped: Initial under 1200 octets", Reason::SmallInitial, [to(PORT, small_initial())]),
            Row::new("dropped: to the subnet's broadcast address", Reason::Broadcast, [to_many(BROADCAST)]),
            Row::new("dropped: to a multicast address", Reason::Broadcast, [to_many([224, 0, 0, 1])]),
            Row::new("dropped: Initial from port 53", Reason::SourcePort, [from_dns]),
        ]
    }

    /// Packets whose connection ID nothing knows, where they are limited: with room for each, and with room for none; and
    /// first flights that are counted by their prefix.
    fn limited(&mut self) -> anyhow::Result<[(&'static str, Timing); 3]> {
        let unknown = || to(PORT, Quic::short(&[0xff; 17]));
        let within = Row::new("unknown, within its limit", Reason::Unknown, [unknown()]);
        let beyond = Row::new("unknown, beyond its limit", Reason::UnknownLimited, [unknown()]);
        let limit = |rate| Admission::default().limiting(|_| Rate::per_second(rate));
        self.datapath.set_admission(limit(u32::MAX))?;
        let timed = self.time(&within)?;
        // One a second: it has gone before the row begins.
        self.datapath.set_admission(limit(1).limiting(|_| Rate::per_second(1)))?;
        self.datapath.try_steer(&unknown(), 1)?;
        let beyond = (beyond.name, self.time(&beyond)?);
        let first_flight = to(PORT, Quic::initial(1, b"whatever"));
        let counted = Row::new("new connection, of a prefix with a rate", Reason::Assigned, [first_flight]);
        let per_source = Rate::per_second(u32::MAX).map(|rate| PerSource { rate, prefix4: 24, prefix6: 56 });
        let settings = Admission::default().answering(AnsweredBy::Xdp).limiting_sources(per_source);
        self.datapath.set_admission(settings)?;
        let limited = [(within.name, timed), beyond, (counted.name, self.time(&counted)?)];
        self.datapath.set_admission(Admission::default())?;
        Ok(limited)
    }

    /// Packets that are answered in place: each run needs the frame as it came, so each is one of its own, with caches
    /// as they are then, beside one of `floor`.
    fn answered(&mut self) -> anyhow::Result<[(&'static str, Timing); 2]> {
        self.datapath.set_token_keys(&token_keys())?;
        let settings = Admission::default().answering(AnsweredBy::Xdp).challenging(Challenge::Always);
        self.datapath.set_admission(settings)?;
        let unknown = to(PORT, Quic::unknown_version(b"whatever", 1_200));
        let initial = to(PORT, Quic::initial(1, b"whatever"));
        let timed = [
            self.time_answer(&Row::new("unknown version, answered by XDP", Reason::Negotiated, [unknown]))?,
            self.time_answer(&Row::new("Initial, answered with a Retry by XDP", Reason::Retried, [initial]))?,
        ];
        self.datapath.set_admission(Admission::default())?;
        Ok(timed)
    }

    /// Packets that another node owns, and that another node has sent on: each run is one of its own, as of what is
    /// answered. Beside them one whose connection ID decodes to a slot here, run in the same way.
    fn between_nodes(&mut self) -> anyhow::Result<Vec<(&'static str, Timing)>> {
        let [near, far] = [Address::ipv4([10, 0, 0, 1]), Address::ipv4([10, 0, 0, 9])];
        let path = NodePath { interface: IfIndex::new(1), own_mac: [2; 6], neighbour_mac: [4; 6], longest: 1_456 };
        let other = Node::new(NodeState::Up, Endpoint { address: far, port: TUNNEL_PORT }, near).with_path(&path);
        let keys = TunnelKeys::new(TunnelKey::new(1, [5, 6]), TunnelKey::NONE).ending_at([near, Address::UNSPECIFIED]);
        self.datapath.set_node(OTHER, other)?;
        self.datapath.set_tunnel_keys(&keys)?;
        self.datapath.set_tunnel_port(Some(TUNNEL_PORT))?;
        self.datapath.set_node_count(1)?;
        let payload = || Quic::short(cid(LOCAL, UNWRITTEN).as_slice()).padded_to(1_200);
        let own = to(PORT, payload());
        // As the other node would send it: to this one, in its own name.
        let Leaving::Packet(packet) = Leaving::of(&own[..], &other) else { bail!("it is plain") };
        let from_other = Node::new(NodeState::Up, Endpoint { address: near, port: TUNNEL_PORT }, far).with_path(&path);
        let mut outer = Outer::EMPTY;
        let key = keys.sending().context("a key")?;
        let length = outer.write(&packet, OTHER, Receiver { key, node: &from_other });
        let tunnelled = [&outer.octets()[..length], &own[14..]].concat();
        let others = CidConfig::in_clear(Identity::node(OTHER.get()), 17).context("a legal length")?;
        let others = issued(&others, ConfigRotation::new(0), LOCAL, UNWRITTEN);
        let others = to(PORT, Quic::short(others.as_slice()).padded_to(1_200));
        let unwrap = Row { stage: Stage::Unwrap, ..Row::new("out of the tunnel, decoded", Reason::Cid, [tunnelled]) };
        [Row::new(ALONE, Reason::Cid, [own]), Row::new("sent on to another node", Reason::Forwarded, [others]), unwrap]
            .iter()
            .map(|row| self.time_answer(row))
            .collect()
    }

    fn time_answer(&mut self, row: &Row) -> anyhow::Result<(&'static str, Timing)> {
        let before = self.datapath.counters(row.stage)?;
        let (mut steer, mut floor, mut above) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ANSWERS {
            let with = self.datapath.try_steer(&row.frames[0], 1)?.1.as_nanos() as f64;
            let without = self.datapath.try_floor(&row.frames[0], 1)?.1.as_nanos() as f64;
            steer.push(with);
            floor.push(without);
            above.push(with - without);
        }
        let counted = self.datapath.counters(row.stage)?.get(row.reason) - before.get(row.reason);
        ensure!(counted == ANSWERS, "{}: {counted} of {ANSWERS} were", row.name);
        Ok((row.name, Timing { steer: middle(&mut steer), floor: middle(&mut floor), above: middle(&mut above) }))
    }

    /// A new connection's first flight, where the block list has prefixes of others, and where it has its own.
    fn listed(&mut self) -> anyhow::Result<[(&'static str, Timing); 4]> {
        let first_flight = || to(PORT, Quic::initial(1, b"whatever"));
        let mut ids = 1..;
        let mut add = |bench: &mut Self, prefix: &Prefix| -> anyhow::Result<()> {
            let id = ids.next().context("an id")?;
            bench.datapath.set_block(prefix, Block::new(BlockAction::Drop, id, 0))?;
            // How many more there are, no packet asks.
            if id == 1 { Ok(bench.datapath.set_block_count(1)?) } else { Ok(()) }
        };
        let row = |name, reason| Row::new(name, reason, [first_flight()]);
        let none = row("new connection, no prefix in the block list", Reason::Assigned);
        let none = (none.name, self.time(&none)?);
        let mut others = others();
        add(self, &others.next().context("a prefix")?)?;
        let one = row("new connection, 1 prefix in the block list", Reason::Assigned);
        let one = (one.name, self.time(&one)?);
        let begun = Instant::now();
        others.take(MANY_BLOCKS - 1).try_for_each(|prefix| add(self, &prefix))?;
        let took = begun.elapsed();
        let many = row("new connection, 50,000 prefixes in the list", Reason::Assigned);
        let many = (many.name, self.time(&many)?);
        add(self, &Prefix::host(Address::ipv4([10, 0, 0, 2])))?;
        let own = row("dropped: one of 50,000 prefixes", Reason::Blocked);
        let own = (own.name, self.time(&own)?);
        println!("({MANY_BLOCKS} prefixes were written in {took:.0?})");
        Ok([none, one, many, own])
    }

    /// Runs the row, after making sure that it takes the path it claims to take.
    fn time(&mut self, row: &Row) -> anyhow::Result<Timing> {
        let before = self.datapath.counters(Stage::Xdp)?;
        for frame in &row.frames {
            self.datapath.try_steer(frame, 1)?;
        }
        let after = self.datapath.counters(Stage::Xdp)?;
        let counted = after.get(row.reason) - before.get(row.reason);
        ensure!(counted == row.frames.len() as u64, "{}: {counted} packets counted as {:?}", row.name, row.reason);

        let (mut steer, mut floor, mut above) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..TURNS {
            let frame = &row.frames[turn % row.frames.len()];
            let with = self.datapath.try_steer(frame, REPEAT)?.1.as_nanos() as f64;
            let without = self.datapath.try_floor(frame, REPEAT)?.1.as_nanos() as f64;
            steer.push(with);
            floor.push(without);
            above.push(with - without);
        }
        Ok(Timing { steer: median(&mut steer), floor: median(&mut floor), above: median(&mut above) })
    }

    fn print_costs(&mut self) -> anyhow::Result<()> {
        println!("\nverifier: instructions processed");
        for (name, instructions) in self.datapath.verified_instructions()? {
            println!("  {name:<14} {instructions:>12}");
        }
        println!("kernel memory of the maps, with 1,000,000 flows, in bytes");
        for (name, bytes) in self.datapath.map_memory() {
            println!("  {name:<14} {bytes:>12}");
        }
        println!("  what `doctor` says of such a flow table: {}", flow_table_bytes(1_000_000));
        Ok(())
    }
}

/// Writes flows; some of their connection IDs, spread over the table.
fn fill(writer: &mut FlowWriter, flows: u32) -> anyhow::Result<Vec<ConnectionId>> {
    let mut known = Vec::new();
    let step = (flows / FRAMES).max(1);
    for n in 0..flows {
        let cid = cid(LOCAL, n);
        if !writer.insert(&cid, LOCAL, Origin::Issued) {
            bail!("the flow table is full at {n}");
        }
        if n % step == 0 {
            known.push(cid);
        }
    }
    Ok(known)
}

/// Prefixes as lists have them, 16 to 32 bits long, each once, in no order; none holds what the rows come from.
fn others() -> impl Iterator<Item = Prefix> {
    let mut seen = BTreeSet::new();
    let each = (0_u64..).map(|n| {
        // SplitMix64.
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [a, b, c, d, of_length, ..] = mixed.to_be_bytes();
        Prefix::around(&Address::ipv4([a, b, c, d]), 112 + of_length % 17)
    });
    let of_rows = Address::ipv4([10, 0, 0, 2]);
    each.filter(move |prefix| !prefix.holds(&of_rows) && seen.insert(*prefix))
}

fn in_clear() -> CidConfig {
    CidConfig::in_clear(Identity::node(NODE), 17).expect("17 octets are a legal length")
}

/// The `n`th connection ID of a slot, in clear.
fn cid(slot: SlotId, n: u32) -> ConnectionId {
    issued(&in_clear(), ConfigRotation::new(0), slot, n)
}

/// The `n`th connection ID of a slot under a configuration.
fn issued(config: &CidConfig, rotation: ConfigRotation, slot: SlotId, n: u32) -> ConnectionId {
    let mut octets = [0x5a; 20];
    octets[..4].copy_from_slice(&n.to_be_bytes());
    config.encode(rotation, slot, &Nonce { octets, low_bits: 0 }, &keys()).expect("a legal rotation")
}

fn keys() -> CidKeys {
    CidKeys::new(&[0x42; 16], [3, 4])
}

fn to(port: u16, payload: impl Into<Vec<u8>>) -> Vec<u8> {
    from_to(40_000, [10, 0, 0, 1], port, payload)
}

fn from_to(source_port: u16, address: [u8; 4], port: u16, payload: impl Into<Vec<u8>>) -> Vec<u8> {
    Packet::udp(([10, 0, 0, 2], source_port), (address, port), payload).frame()
}

/// An Initial that its sender did not pad.
fn small_initial() -> Vec<u8> {
    let mut payload = vec![0xc0, 0, 0, 0, 1, 8];
    payload.resize(200, 7);
    payload
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The mean of the middle half: finer than the steps of the clock, and untouched by what interrupts a run.
fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = &values[values.len() / 4..values.len() * 3 / 4];
    half.iter().sum::<f64>() / half.len() as f64
}

/// Of the first hour after 1970 began: what time it is hangs on a clock that is not set here.
fn token_keys() -> TokenKeys {
    let epoch = 1;
    TokenKeys::new(TokenKey::new(epoch, [1, 2]), TokenKey::new(epoch + 1, [3, 4]))
}

/// How often a packet is answered.
const ANSWERS: u64 = 20_000;
const HIT: &str = "flow hit";
const SINGLE_PASS: &str = "single pass";
const TABLES: [u32; 3] = [1, 1_000, 1_000_000];
const NODE: u16 = 1;
/// Another node.
const OTHER: NodeId = NodeId::new(NODE + 1);
const TUNNEL_PORT: u16 = 6_080;
/// The row that those between nodes are compared with.
const ALONE: &str = "connection ID decoded in clear, run alone";
const PORT: u16 = 443;
/// Of the subnet that the host is in.
const BROADCAST: [u8; 4] = [10, 0, 0, 255];
const LOCAL: SlotId = SlotId::new(1);
const REMOTE: SlotId = SlotId::new(2);
/// Frames of one row, each with another connection ID.
const FRAMES: u32 = 64;
/// Nonces from here on are in no flow table that was filled.
const UNWRITTEN: u32 = 0xffff_0000;
/// Prefixes in the block list of a careful operator.
const MANY_BLOCKS: usize = 50_000;
const TURNS: usize = 64;
const REPEAT: u32 = 20_000;
