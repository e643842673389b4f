//! Does every packet of the table get the same verdict by the function, the loaded XDP program and `explain`?

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use anyhow::{Context, Result};

use router_common::{
    admission::{AnswerFrame, Challenge, Limited, Rate, Scratch},
    connection_id::ConnectionId,
    frame,
    identifiers::{GenerationId, IfIndex, InterfaceQueue, QueueId, SlotId},
    maps::{Origin, PerSource, Queue, Settings},
    reason::{Fate, Reason},
    steer::{self, Verdict},
};
use router_tests::{
    lab::{Lab, Running, Snapshot, run, wire::Sender},
    packets::{
        self, CID_LENGTH, HOP_BY_HOP, Kernel, LISTENERS, NODE_ID, OF_ASKED, PLANTED_FLOWS, Packet, SLOTS, Tally, World,
        cases, cid,
        quic::{Quic, V1},
    },
};

#[test]
fn the_steer_function_gives_the_verdicts() {
    let world = World::new();
    for case in cases() {
        let (verdict, _) = steer::frame(&case.frame[..], &world);
        assert_eq!(verdict.reason(), case.reason, "{}: {:02x?}", case.name, case.frame);
        let slot = match verdict {
            Verdict::Pass(reason) => (reason.fate() == Fate::Passed).then_some(None),
            Verdict::Drop(reason) => (reason.fate() == Fate::Dropped).then_some(None),
            Verdict::Deliver(delivery) => {
                (delivery.reason.fate() == Fate::Delivered).then_some(Some(delivery.number.get()))
            }
            Verdict::Answer(answer) => (answer.reason().fate() == Fate::Answered).then_some(None),
            Verdict::Forward(forward) => (forward.reason.fate() == Fate::Forwarded).then_some(None),
        };
        let slot = slot.unwrap_or_else(|| panic!("{}: {verdict:?} has the wrong fate", case.name));
        assert!(case.slot.is_none() || case.slot == slot, "{}: delivered to {slot:?}", case.name);
    }
}

#[test]
fn the_loaded_xdp_program_gives_the_verdicts() -> Result<()> {
    let lab = start()?;
    let program = lab.control().status()?.interfaces[0].program_id.expect("the program's ID");
    for case in cases() {
        let action = run_program(&lab, program, &case.frame).with_context(|| case.name.to_owned())?;
        let expected: &[u32] = match case.reason.fate() {
            Fate::Passed => &[XDP_PASS],
            Fate::Dropped => &[XDP_DROP],
            // On its worker's CPU already, or on the way there.
            Fate::Delivered => &[XDP_PASS, XDP_REDIRECT],
            Fate::Answered | Fate::Forwarded => &[XDP_TX],
        };
        assert!(expected.contains(&action.returned), "{}: XDP action {}", case.name, action.returned);
        action.before.expect("xdp", &[(case.reason.name(), 1)]).with_context(|| case.name.to_owned())?;
    }
    Ok(())
}

#[test]
fn packets_on_the_wire_get_the_verdicts() -> Result<()> {
    let lab = start()?;
    let sender = Sender::new(lab.wire().namespace(), "router0")?;
    for case in cases() {
        let (before, slots) = (lab.counters()?, by_slot(&lab)?);
        sender.send(&case.frame)?;
        before.expect("xdp", &[(case.reason.name(), 1)]).with_context(|| case.name.to_owned())?;
        let moved: BTreeMap<u8, u64> = by_slot(&lab)?
            .into_iter()
            .map(|(slot, count)| (slot, count - slots[&slot]))
            .filter(|&(_, n)| n > 0)
            .collect();
        match (case.reason.fate(), case.slot) {
            (Fate::Passed | Fate::Dropped | Fate::Answered | Fate::Forwarded, _) => {
                assert!(moved.is_empty(), "{}: {moved:?}", case.name)
            }
            (Fate::Delivered, Some(slot)) => assert_eq!(moved, [(slot, 1)].into(), "{}", case.name),
            (Fate::Delivered, None) => assert_eq!(moved.values().sum::<u64>(), 1, "{}: {moved:?}", case.name),
        }
    }
    Ok(())
}

#[test]
fn explain_gives_the_verdicts() -> Result<()> {
    let lab = start()?;
    for case in cases() {
        let explanation = lab.control().explain(&case.frame)?;
        assert_eq!(explanation.reason, case.reason.name(), "{}: {explanation:?}", case.name);
        let verdict = match (case.reason.fate(), case.slot) {
            (Fate::Passed, _) => "pass".to_owned(),
            (Fate::Dropped, _) => "drop".to_owned(),
            (Fate::Delivered, Some(slot)) => format!("deliver to slot {slot}"),
            (Fate::Delivered, None) => "deliver to slot ".to_owned(),
            (Fate::Answered, _) => "answer".to_owned(),
            (Fate::Forwarded, _) => "forward".to_owned(),
        };
        assert!(explanation.verdict.starts_with(&verdict), "{}: {explanation:?}", case.name);
    }
    Ok(())
}

#[test]
fn the_table_has_every_reason() {
    let known: BTreeSet<_> = cases().iter().map(|case| case.reason.name()).collect();
    // Those hang on more than the packet: a node without any active slot, a queue that a worker has, how many came
    // before, and whether XDP answers.
    let others = [
        Reason::NoSlot,
        Reason::Queue,
        Reason::UnknownLimited,
        Reason::NegotiationLimited,
        Reason::Negotiated,
        Reason::ChallengeLimited,
        Reason::SourceLimited,
        Reason::Retried,
    ];
    // Those are about other nodes: `node_packets` has them.
    let between_nodes = [
        Reason::TunnelSocket,
        Reason::TunnelForged,
        Reason::Misrouted,
        Reason::NodeUnreachable,
        Reason::TooLongToForward,
        Reason::NodeGone,
        Reason::Forwarded,
        Reason::ForwardedNew,
    ];
    let all = Reason::ALL.iter().filter(|&reason| !others.contains(reason) && !between_nodes.contains(reason));
    let unknown: Vec<_> = all.map(|reason| reason.name()).filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "no case for {unknown:?}");
}

/// Then those are turned away, and no other.
#[test]
fn only_unknown_connection_ids_are_rate_limited() {
    let world = World::new().without_room_for(Limited::Unknown);
    let mut turned_away = 0;
    for case in cases() {
        let expected = if case.reason == Reason::Unknown { Reason::UnknownLimited } else { case.reason };
        let (verdict, _) = steer::frame(&case.frame[..], &world);
        assert_eq!(verdict.reason(), expected, "{}", case.name);
        turned_away += u32::from(expected == Reason::UnknownLimited);
    }
    assert!(turned_away >= 5, "{turned_away} cases only");
}

/// Where XDP answers, unknown versions get Version Negotiation from it, and nothing else changes: not even what it
/// cannot answer in place.
#[test]
fn where_unknown_versions_are_answered() -> Result<()> {
    let full = World::new().answering().without_room_for(Limited::VersionNegotiation);
    let world = World::new().answering();
    let mut kernel = kernel("answers", &world, Challenge::Never)?;
    let mut answered = 0;
    for case in cases() {
        let is_answered = case.name.starts_with("unknown version") && case.name.ends_with("is answered");
        let expected = if is_answered { Reason::Negotiated } else { case.reason };
        let (verdict, _) = steer::frame(&case.frame[..], &world);
        assert_eq!(verdict.reason(), expected, "{}", case.name);
        let limited = steer::frame(&case.frame[..], &full).0.reason();
        let is_unknown = case.name.starts_with("unknown version") && case.reason == Reason::Assigned;
        assert_eq!(limited, if is_unknown { Reason::NegotiationLimited } else { case.reason }, "{}", case.name);
        kernel.agree(std::slice::from_ref(&case.frame), |frame| Tally::decided(frame, &world)).context(case.name)?;
        answered += u32::from(is_answered);
    }
    assert!(answered >= 6, "{answered} cases only");
    Ok(())
}

/// Where clients are asked for their address, Initials of version 1 get a Retry, 0-RTT ends, and nothing else changes:
/// not even what XDP cannot ask, or what comes from a prefix that is allowed. From one that is to be asked the same
/// happens while there is room for all.
#[test]
fn where_clients_are_asked() -> Result<()> {
    let world = World::new().challenging(Challenge::Always);
    let busy = World::new().challenging(Challenge::Auto).without_room_for(Limited::New);
    let quiet = World::new().challenging(Challenge::Auto);
    let mut kernel = kernel("asks", &world, Challenge::Always)?;
    let (mut asked, mut ended) = (0, 0);
    for case in cases() {
        let reason = |world| steer::frame(&case.frame[..], world).0.reason();
        match reason(&world) {
            Reason::Negotiated => assert!(case.name.ends_with("is answered"), "{}", case.name),
            Reason::Retried => {
                let otherwise = if case.name == OF_ASKED { Reason::Retried } else { Reason::Assigned };
                assert_eq!((case.reason, reason(&quiet)), (Reason::Assigned, otherwise), "{}", case.name);
                asked += 1;
            }
            Reason::ChallengeLimited => {
                assert!(case.name.contains("0-RTT") && reason(&quiet) == Reason::Assigned, "{}", case.name);
                ended += 1;
            }
            other => assert_eq!((other, reason(&quiet)), (case.reason, case.reason), "{}", case.name),
        }
        // Beyond `new_total` the same.
        assert_eq!(reason(&busy), reason(&world), "{}", case.name);
        kernel.agree(std::slice::from_ref(&case.frame), |frame| Tally::decided(frame, &world)).context(case.name)?;
    }
    assert!(asked >= 4 && ended >= 2, "{asked} were asked, {ended} ended");
    Ok(())
}

/// The Retry of the loaded program is one by the RFC; with its token a client gets in, and with no other.
#[test]
fn tokens_of_the_loaded_program() -> Result<()> {
    let world = World::new().challenging(Challenge::Always);
    let busy = World::new().challenging(Challenge::Always).without_room_for(Limited::New);
    let mut kernel = kernel("tokens", &world, Challenge::Always)?;
    for (client, other) in [(CLIENT_V4, CLIENT_V6), (CLIENT_V6, CLIENT_V4)] {
        let trial = kernel.answer(&client.initial(b"whatever", &[], 4_000))?;
        assert_eq!(trial.action, XDP_TX);
        let retry = Retry::read(&trial.frame)?;
        retry.check_tag(b"whatever");
        let mut verdict = |frame: Vec<u8>| -> Result<[Reason; 2]> {
            kernel.agree(std::slice::from_ref(&frame), |frame| Tally::decided(frame, &world))?;
            Ok([&world, &busy].map(|world| steer::frame(&frame[..], world).0.reason()))
        };
        let proves_nothing = [Reason::Assigned, Reason::ChallengeLimited];
        let with = |token: &[u8], port| client.initial(&retry.source, token, port);
        assert_eq!(verdict(with(&retry.token, 4_000))?, [Reason::Assigned; 2]);
        assert_eq!(verdict(with(&retry.token, 4_001))?, proves_nothing, "another port");
        assert_eq!(verdict(other.initial(&retry.source, &retry.token, 4_000))?, proves_nothing, "another address");
        assert_eq!(verdict(client.initial(b"another!", &retry.token, 4_000))?, proves_nothing, "another ID");
        for octet in 0..retry.token.len() {
            let mut forged = retry.token.clone();
            forged[octet] ^= 0x10;
            assert_eq!(verdict(with(&forged, 4_000))?, proves_nothing, "octet {octet} changed");
            let expected = if octet == 0 { [Reason::Retried; 2] } else { proves_nothing };
            assert_eq!(verdict(with(&retry.token[..octet], 4_000))?, expected, "cut after {octet}");
        }
    }
    Ok(())
}

/// A token is good for fifteen seconds, and as long as it is, again and again.
#[test]
fn tokens_that_come_late_prove_nothing() -> Result<()> {
    let world = World::new().challenging(Challenge::Always);
    let busy = World::new().challenging(Challenge::Always).without_room_for(Limited::New);
    let mut kernel = kernel("late", &world, Challenge::Always)?;
    let retry = Retry::read(&kernel.answer(&CLIENT_V4.initial(b"whatever", &[], 4_000))?.frame)?;
    let frame = CLIENT_V4.initial(&retry.source, &retry.token, 4_000);
    for (seconds, expected) in [
        (0, [Reason::Assigned; 2]),
        (14, [Reason::Assigned; 2]),
        (16, [Reason::Assigned, Reason::ChallengeLimited]),
        (3_600 * 3, [Reason::Assigned, Reason::ChallengeLimited]),
    ] {
        let [world, busy] = [&world, &busy].map(|world| world.clone().later(seconds));
        kernel.pass(seconds)?;
        kernel.agree(std::slice::from_ref(&frame), |frame| Tally::decided(frame, &world))?;
        let verdicts = [&world, &busy].map(|world| steer::frame(&frame[..], world).0.reason());
        assert_eq!(verdicts, expected, "after {seconds} s");
    }
    Ok(())
}

/// A prefix that sends more than its share is asked while others are not; and what it then sends with tokens has a limit
/// of its own.
#[test]
fn prefixes_have_a_share_each() -> Result<()> {
    let (quiet, busy) =
        (World::new().challenging(Challenge::Auto), World::new().challenging(Challenge::Auto).with_busy_sources());
    let mut kernel = kernel("sources", &quiet, Challenge::Auto)?;
    // None in the time of this test but the first two.
    let rate = Rate::with_burst(1, 2).map(|rate| PerSource { rate, prefix4: 24, prefix6: 56 });
    kernel.limit_sources(rate.context("a rate")?)?;
    for client in [CLIENT_V4, CLIENT_V6] {
        let mut is = |reason: Reason, world: &World, frame: Vec<u8>| -> Result<()> {
            assert_eq!(steer::frame(&frame[..], world).0.reason(), reason);
            kernel.agree(std::slice::from_ref(&frame), |frame| Tally::decided(frame, world)).map(drop)
        };
        let fresh = |host| client.at(host).initial(b"whatever", &[], 4_000);
        is(Reason::Assigned, &quiet, fresh(1))?;
        is(Reason::Assigned, &quiet, fresh(2))?;
        is(Reason::Retried, &busy, fresh(3))?;
        is(Reason::Assigned, &quiet, client.elsewhere().initial(b"whatever", &[], 4_000))?;
        let retry = Retry::read(&kernel.answer(&fresh(4))?.frame)?;
        let mut is = |reason: Reason, world: &World| -> Result<()> {
            let frame = client.at(4).initial(&retry.source, &retry.token, 4_000);
            assert_eq!(steer::frame(&frame[..], world).0.reason(), reason);
            kernel.agree(std::slice::from_ref(&frame), |frame| Tally::decided(frame, world)).map(drop)
        };
        is(Reason::Assigned, &quiet)?;
        is(Reason::Assigned, &quiet)?;
        is(Reason::SourceLimited, &busy)?;
    }
    Ok(())
}

/// A client of a listener of the table.
#[derive(Clone, Copy)]
struct Client {
    is_ipv4: bool,
    /// The prefix that it is in, and its host there.
    network: u8,
    host: u8,
}

const CLIENT_V4: Client = Client { is_ipv4: true, network: 0, host: 99 };
const CLIENT_V6: Client = Client { is_ipv4: false, network: 0, host: 0x99 };

impl Client {
    /// One beside it.
    fn at(self, host: u8) -> Self {
        Self { host, ..self }
    }

    /// One in another prefix.
    fn elsewhere(self) -> Self {
        Self { network: self.network + 1, ..self }
    }

    /// A first flight that carries `token`.
    fn initial(self, destination: &[u8], token: &[u8], port: u16) -> Vec<u8> {
        let quic = Quic::initial_with_token(destination, token);
        let Self { network, host, .. } = self;
        let address = |network: u8, host: u8| [0xfd77, 0, 0, u16::from(network) << 8, 0, 0, 0, host.into()];
        match self.is_ipv4 {
            true => Packet::udp(([10, 77, network, host], port), LISTENERS[0], quic).frame(),
            false => Packet::udp((address(network, host), port), (address(0, 1), LISTENERS[1].port()), quic).frame(),
        }
    }
}

/// A Retry packet (RFC 9000 section 17.2.5), taken apart by hand.
struct Retry {
    packet: Vec<u8>,
    source: Vec<u8>,
    token: Vec<u8>,
}

impl Retry {
    fn read(frame: &[u8]) -> Result<Self> {
        let datagram = frame::parse(frame).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let packet = frame[datagram.payload.at..].to_vec();
        assert_eq!((packet.len(), packet[0] & 0xf0), (datagram.payload.length, 0xf0));
        let source_at = 6 + usize::from(packet[5]);
        let source_end = source_at + 1 + usize::from(packet[source_at]);
        let source = packet[source_at + 1..source_end].to_vec();
        let token = packet[source_end..packet.len() - 16].to_vec();
        Ok(Self { packet, source, token })
    }

    /// RFC 9001 section 5.8, by a library's AES-GCM.
    fn check_tag(&self, original: &[u8]) {
        use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
        let key = [0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e];
        let nonce = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).expect("16 octets"));
        let (without_tag, tag) = self.packet.split_at(self.packet.len() - 16);
        let length = u8::try_from(original.len()).expect("at most 20 octets");
        let pseudo = [&[length], original, without_tag].concat();
        let sealed = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(pseudo), &mut []);
        assert_eq!(sealed.expect("a tag").as_ref(), tag);
    }
}

/// The program with the flows of the table, that asks or answers.
fn kernel(name: &str, world: &World, challenge: Challenge) -> Result<Kernel> {
    let mut kernel =
        Kernel::load(name, Settings::new(NODE_ID, CID_LENGTH, GenerationId::new(1)), SLOTS.into(), world.configs())?;
    kernel.answering(challenge)?;
    let mut flows = kernel.flow_writer()?;
    for (cid, slot) in PLANTED_FLOWS {
        assert!(flows.insert(&ConnectionId::new(cid).context("at most 20 octets")?, SlotId::new(slot), Origin::Chosen));
    }
    Ok(kernel)
}

/// The kernel's answer is the function's, octet for octet, but for the bits that are random; its checksums hold.
#[test]
fn answers_of_the_loaded_program() -> Result<()> {
    let world = World::new();
    let mut kernel = kernel("frames", &world, Challenge::Never)?;
    for case in cases().iter().filter(|case| case.name.ends_with("is answered")) {
        let trial = kernel.answer(&case.frame)?;
        assert_eq!(trial.action, XDP_TX, "{}", case.name);
        let datagram = frame::parse(&trial.frame[..]).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let random = trial.frame[datagram.payload.at];
        let mut scratch = Scratch::EMPTY;
        let expected = AnswerFrame::negotiate(&case.frame[..], random, &mut scratch).context(case.name)?;
        let headers = &scratch.headers().0[..expected.headers_length()];
        let expected = [headers, &scratch.answer().0[..expected.payload_length()]].concat();
        assert_eq!(trial.frame, expected, "{}", case.name);
        let asked = frame::parse(&case.frame[..]).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        assert_eq!((datagram.source, datagram.destination), (asked.destination, asked.source), "{}", case.name);
        assert_eq!(datagram.payload.at + datagram.payload.length, trial.frame.len(), "{}", case.name);
        assert!(trial.frame.len() < case.frame.len(), "{}", case.name);
    }
    Ok(())
}

/// What goes to the AF_XDP socket of the queue's worker, and what takes the kernel's stack.
#[test]
fn packets_for_an_af_xdp_socket_on_a_queue_that_a_worker_has() {
    let queue = Queue::new(
        InterfaceQueue { interface: IfIndex::new(7), queue: QueueId::new(2) },
        [0x02, 0x77, 0, 0, 0, 1],
        SlotId::new(1),
    )
    .with_places(true);
    let own = cid(0, NODE_ID, 1);
    let short = || Quic::short(own.as_slice());
    let of_another = Quic::short(cid(0, NODE_ID, 2).as_slice());
    let initial = || Quic::initial(V1, b"whatever");
    let v4 = |from: [u8; 4], quic: Quic| Packet::udp((from, 4000), LISTENERS[0], quic);
    let v6 = |to: [u16; 8], quic: Quic| Packet::udp(([0xfd77, 0, 0, 0, 0, 0, 0, 0x99], 4000), (to, 443), quic);
    let (client, router) = ([10, 77, 0, 99], [0xfd77, 0, 0, 0, 0, 0, 0, 1]);
    let to_socket = |reason| (reason, 1, Some(queue.index()));
    let to_stack = (Reason::Cid, 1, None);
    for (name, packet, expected) in [
        ("its own", v4(client, short()), to_socket(Reason::Cid)),
        ("its own, IPv6", v6(router, short()), to_socket(Reason::Cid)),
        ("another's", v4(client, of_another), (Reason::Cid, 2, None)),
        ("a new connection", v4(client, initial()), to_socket(Reason::Queue)),
        ("as large as fits", v4(client, short().padded_to(1_750)), to_socket(Reason::Cid)),
        ("one octet too large", v4(client, short().padded_to(1_751)), to_stack),
        ("before padding", v4(client, short()).pad(30), to_socket(Reason::Cid)),
        ("in a VLAN", v4(client, short()).vlan(7), to_stack),
        ("behind options", v4(client, short()).options(&[1; 4]), to_stack),
        ("behind 20 octets of options", v4(client, short()).options(&[1; 20]), to_stack),
        ("behind an extension header", v6(router, short()).extension(HOP_BY_HOP), to_stack),
        ("to another's link address", v4(client, short()).overwrite(5, &[2]), to_stack),
        ("to all of the link", v4(client, short()).overwrite(0, &[0xff; 6]), to_stack),
        ("from the loopback", v4([127, 0, 0, 1], short()), to_stack),
        ("from this very host", v4([10, 77, 0, 1], short()), to_stack),
    ] {
        let (verdict, _) = steer::frame(&packet.frame()[..], &World::new().on_queue(queue));
        let Verdict::Deliver(delivery) = verdict else { panic!("{name}: {verdict:?}") };
        assert_eq!((delivery.reason, delivery.number.get(), delivery.socket.index()), expected, "{name}");
    }
    // What does not go there is not placed by it.
    let in_a_vlan = v4(client, initial()).vlan(7).frame();
    let not_placing = World::new().on_queue(queue.with_places(false));
    for (frame, world) in [(in_a_vlan, World::new().on_queue(queue)), (v4(client, initial()).frame(), not_placing)] {
        assert_eq!(steer::frame(&frame[..], &world).0.reason(), Reason::Assigned);
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let names: Vec<_> = cases().iter().map(|case| case.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}

/// With engine `xdp`: what AF_XDP makes another is in [`packets_for_an_af_xdp_socket_on_a_queue_that_a_worker_has`].
fn start() -> Result<Running> {
    let lab = packets::start(Lab::new().engine("xdp"))?;
    packets::plant_flows(&lab)?;
    Ok(lab)
}

/// What the loaded program made of a frame.
struct Action {
    before: Snapshot,
    returned: u32,
}

/// BPF_PROG_TEST_RUN of the very program that is attached.
fn run_program(lab: &Running, program: u32, frame: &[u8]) -> Result<Action> {
    let (before, file) = (lab.counters()?, lab.home().path("frame"));
    fs::write(&file, frame)?;
    let mut command = Command::new("bpftool");
    command.args(["-j", "prog", "run", "id", &program.to_string(), "data_in"]).arg(file).args(["repeat", "1"]);
    let said: serde_json::Value = serde_json::from_slice(&run(&mut command)?.stdout)?;
    let returned = said["retval"].as_u64().with_context(|| format!("bpftool says {said}"))?;
    Ok(Action { before, returned: u32::try_from(returned)? })
}

/// Packets that XDP gave each slot.
fn by_slot(lab: &Running) -> Result<BTreeMap<u8, u64>> {
    let counters = lab.control().counters()?;
    Ok(counters.slots.iter().map(|slot| (slot.slot, slot.xdp_local + slot.xdp_redirected + slot.xdp_stayed)).collect())
}

/// `linux/bpf.h`, `enum xdp_action`
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
