//! Do packets that admission refuses (broadcasts, reflectors' ports, unknown connection IDs) end before a worker does
//! anything for them, and no others?

use std::{
    collections::BTreeMap,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_common::frame;
use router_tests::{
    lab::{
        ENGINES, Lab, PORT, Running, until,
        wire::{Capture, Direction, Sender, Tap},
    },
    packets::{
        Packet,
        quic::{Kind, Quic, V1},
    },
};

/// Each socket of a listener on every address gets a copy of what comes to a broadcast or multicast address
/// (h2o#2264): every worker had one.
#[test]
fn broadcast_and_multicast_reach_no_worker() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new().engine(engine).start()?;
        let sender = Sender::new(lab.wire().namespace(), "router0")?;
        let (own, bad) = (own(&lab)?, bad(&lab)?);
        let frames = to_many();
        frames.iter().try_for_each(|frame| sender.send(frame))?;
        let sent = frames.len() as u64;
        // Where XDP does not drop them, each worker's socket has had a copy of each.
        let expected = if lab.has_xdp_engine()? { sent } else { 4 * sent };
        until(|| Ok(self::bad(&lab)? - bad), |dropped| *dropped == expected)
            .with_context(|| format!("{engine}: {expected} were to be dropped"))?;
        ensure!(self::own(&lab)? == own, "{engine}: workers took some in");
    }
    Ok(())
}

/// Broadcast addresses come and go with the subnets.
#[test]
fn broadcast_addresses_follow_the_interfaces_subnets() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let sender = Sender::new(lab.wire().namespace(), "router0")?;
    let frame = Packet::udp(([10, 99, 0, 2], 4000), ([10, 99, 0, 255], PORT), Quic::initial(V1, b"whatever")).frame();
    let link = lab.wire().router_interface();
    for (command, reason) in [("add", "broadcast"), ("del", "not_listener")] {
        lab.network().router().ip(&format!("addr {command} 10.99.0.1/24 dev {link}\n"))?;
        let moved = || {
            let before = lab.counters()?;
            sender.send(&frame)?;
            until(|| before.moved(), |moved| !moved.is_empty())
        };
        until(moved, |moved| moved.contains_key(&format!("xdp.{reason}")))
            .with_context(|| format!("after {command}"))?;
    }
    Ok(())
}

/// Of many packets that nothing knows, workers get a burst and what the rate gives. Each is counted once, by the
/// first stage that sees it.
#[test]
fn unknown_connection_ids_are_rate_limited_before_a_worker() -> Result<()> {
    for engine in ENGINES {
        let lab = limited(Lab::new().engine(engine), 100)?;
        let (sender, frame) = (Sender::new(lab.wire().namespace(), "router0")?, unknown());
        let (before, begun) = (Unknown::of(&lab)?, Instant::now());
        (0..MANY).try_for_each(|_| sender.send(&frame))?;
        let seen = until(|| Ok(Unknown::of(&lab)?.since(before)), |seen| seen.let_through + seen.limited == MANY)
            .context(engine)?;
        // A tenth of a second's at once. The clock of the kernel's programs is up to a tick behind.
        let most = 10.0 + 100.0 * begun.elapsed().as_secs_f64() + 2.0;
        println!("{engine}: {seen:?} in {:?}", begun.elapsed());
        ensure!(seen.let_through >= 10 && seen.let_through as f64 <= most, "{engine}: {seen:?}, at most {most}");
        // Connections are not concerned.
        let clients = lab.quic_go().get("/bytes/20000").connections(20).start()?;
        while !clients.ends_within(Duration::from_millis(1)) {
            (0..100).try_for_each(|_| sender.send(&frame))?;
        }
        clients.succeed()?;
        ensure!(lab.control().explain(&frame)?.steps.iter().any(|step| step.step == "admission"));
    }
    Ok(())
}

/// Whoever answers them, the answer is the same, octet for octet but for bits that are random; and it is never longer.
#[test]
fn unknown_versions_get_the_same_answer_from_xdp_and_from_a_worker() -> Result<()> {
    let frames = unknown_versions();
    let answers = |answered_by| -> Result<_> {
        let lab = Lab::new().by_xdp().admission("answer_in_xdp", &format!("\"{answered_by}\"")).start()?;
        let wire = lab.wire();
        let _passing = wire.receiving_by_xdp()?;
        let (sender, before) = (Sender::new(wire.namespace(), "router0")?, lab.counters()?);
        let mut answers = Vec::new();
        for frame in &frames {
            answers.push(ask(&lab, &sender, frame)?.with_context(|| format!("no answer: {answered_by}"))?);
        }
        let reason = if answered_by == "always" { "negotiated" } else { "assigned" };
        let counter = format!("xdp.{reason}");
        let (moved, asked) = (before.moved()?, frames.len() as u64);
        ensure!(moved.get(&counter) == Some(&asked), "{reason}: {moved:?}");
        let explained = lab.control().explain(&frames[0])?;
        ensure!(explained.reason == reason, "{explained:?}");
        Ok(answers)
    };
    let (of_xdp, of_workers) = (answers("always")?, answers("never")?);
    for ((asked, of_xdp), of_worker) in frames.iter().zip(of_xdp).zip(of_workers) {
        let [asked, of_xdp, of_worker] = [&asked[..], &of_xdp, &of_worker].map(payload);
        ensure!(
            of_xdp[0] | 0x3f == of_worker[0] | 0x3f && of_xdp[0] & 0xc0 == 0xc0,
            "{:x} {:x}",
            of_xdp[0],
            of_worker[0]
        );
        ensure!(of_xdp[1..] == of_worker[1..], "{of_xdp:02x?}\n{of_worker:02x?}");
        ensure!(of_xdp.len() < asked.len());
    }
    Ok(())
}

/// With a real client's version that is not spoken here, and with those that nothing may be said to.
#[test]
fn unknown_versions_are_limited_and_version_negotiation_is_not_answered() -> Result<()> {
    for engine in ENGINES {
        let lab =
            Lab::new().engine(engine).admission("version_negotiation", "100").admission("answer_in_xdp", "\"always\"");
        let lab = lab.start()?;
        let _passing = lab.wire().receiving_by_xdp()?;
        let (sender, frame) = (Sender::new(lab.wire().namespace(), "router0")?, unknown_versions().swap_remove(0));
        let capture = Capture::start(lab.wire().namespace(), "router0")?;
        let (before, begun) = (Negotiated::of(&lab)?, Instant::now());
        (0..MANY).try_for_each(|_| sender.send(&frame))?;
        let limited = until(
            || Ok(Negotiated::of(&lab)?.limited - before.limited),
            |&limited| limited as f64 >= MANY as f64 - 10.0 - 100.0 * begun.elapsed().as_secs_f64() - 2.0,
        )
        .context(engine)?;
        // Its own kind: a pair of negotiating servers would never end.
        let negotiation =
            Packet::udp(([10, 77, 0, 2], 4000), ([10, 77, 0, 1], PORT), Quic::version_negotiation(b"whatever"));
        sender.send(&negotiation.frame())?;
        lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
        let answers = capture
            .stop()?
            .into_iter()
            .filter(|(direction, frame)| *direction == Direction::In && is_negotiation(frame));
        let answers = answers.count() as u64;
        ensure!(answers >= 10 && answers + limited == MANY, "{engine}: {answers} answers, {limited} limited");
    }
    Ok(())
}

/// Clients of connections that ended without notice are to be told.
#[test]
fn unknown_connection_ids_are_not_limited_after_a_start_and_when_a_worker_has_ended() -> Result<()> {
    let mut lab = Lab::new().by_xdp().limit("idle_timeout", "\"6s\"").admission("unknown", "1").start()?;
    let (sender, frame) = (Sender::new(lab.wire().namespace(), "router0")?, unknown());
    let (before, lifted) = (lab.counters()?, "for another");
    ensure!(says(&lab)?.contains(lifted), "{}", says(&lab)?);
    (0..200).try_for_each(|_| sender.send(&frame))?;
    before.expect("xdp", &[("unknown", 200)])?;
    until(|| says(&lab), |said| !said.contains(lifted))?;
    lab.reload(|config| config.set_router("workers", "3"))?;
    until(|| says(&lab), |said| said.contains(lifted)).map(drop)
}

#[test]
fn a_reload_changes_admission_and_refills_the_bucket() -> Result<()> {
    let mut lab = limited(Lab::new().by_xdp(), 1)?;
    let (sender, frame) = (Sender::new(lab.wire().namespace(), "router0")?, unknown());
    let full = || {
        (0..10).try_for_each(|_| sender.send(&frame))?;
        says(&lab)
    };
    until(full, |said| said.contains("no room for one more"))?;
    let changed = lab.reload(|config| config.set_admission("unknown", "500"))?;
    ensure!(changed == ["what is admitted has changed"], "{changed:?}");
    ensure!(says(&lab)?.contains("room for 50 now"), "{}", says(&lab)?);
    lab.reload(|config| config.set_admission("unknown", "false"))?;
    ensure!(says(&lab)?.contains("are not limited"), "{}", says(&lab)?);
    let before = lab.counters()?;
    (0..200).try_for_each(|_| sender.send(&frame))?;
    before.expect("xdp", &[("unknown", 200)])?;

    let from_dns = Packet::udp(([10, 77, 0, 99], 53), lab.wire().router(PORT), Quic::initial(V1, b"whatever")).frame();
    for (ports, reason) in [("[1, \"50-60\"]", "source_port"), ("[]", "assigned"), ("[53]", "source_port")] {
        lab.reload(|config| config.set_admission("reject_source_ports", ports))?;
        let before = lab.counters()?;
        sender.send(&from_dns)?;
        before.expect("xdp", &[(reason, 1)]).with_context(|| ports.to_owned())?;
    }
    Ok(())
}

/// A new generation takes it over with the rest, and what the one before has let through.
#[test]
fn an_upgrade_applies_the_admission_of_its_configuration() -> Result<()> {
    let mut lab = limited(Lab::new().by_xdp(), 1)?;
    lab.rewrite(|config| {
        config.set_admission("unknown", "700");
        config.set_admission("reject_source_ports", "[]");
    })?;
    lab.agent()?.upgrade(None)?;
    ensure!(says(&lab)?.contains("of 700 packets a second"), "{}", says(&lab)?);
    let from_dns = Packet::udp(([10, 77, 0, 99], 53), lab.wire().router(PORT), Quic::initial(V1, b"whatever")).frame();
    let before = lab.counters()?;
    Sender::new(lab.wire().namespace(), "router0")?.send(&from_dns)?;
    until(|| before.moved(), |moved| moved.contains_key("xdp.assigned") || moved.contains_key("xdp.source_port"))?;
    ensure!(!before.moved()?.contains_key("xdp.source_port"), "{:?}", before.moved()?);
    // The generation before has ended by then, which lifts the limit.
    until(|| says(&lab), |said| said.contains("for another")).map(drop)
}

/// A laboratory in which so many a second are let through by now.
fn limited(lab: Lab, per_second: u32) -> Result<Running> {
    let lab = lab.limit("idle_timeout", "\"2s\"").admission("unknown", &per_second.to_string()).start()?;
    until(|| says(&lab), |said| said.contains(&format!("of {per_second} packets a second")))?;
    // The clock of the kernel's programs is up to a tick behind: it has told them, too, when one is turned away.
    let (sender, before) = (Sender::new(lab.wire().namespace(), "router0")?, Unknown::of(&lab)?);
    let send = || {
        (0..100).try_for_each(|_| sender.send(&unknown()))?;
        Ok(Unknown::of(&lab)?.since(before).limited)
    };
    until(send, |&limited| limited > 0)?;
    until(|| says(&lab), |said| said.contains(&format!("room for {} now", (per_second / 10).max(1))))?;
    Ok(lab)
}

/// A short header that is no node's: its rotation never decodes.
fn unknown() -> Vec<u8> {
    Packet::udp(([10, 77, 0, 99], 4000), ([10, 77, 0, 1], PORT), Quic::short(&[0xff; 17])).frame()
}

/// What `explain` says of the bucket.
fn says(lab: &Running) -> Result<String> {
    let steps = lab.control().explain(&unknown())?.steps;
    let findings = steps.into_iter().filter(|step| step.step == "admission").map(|step| step.finding);
    Ok(findings.collect::<Vec<_>>().join("; "))
}

/// What became of packets that nothing knows.
#[derive(Clone, Copy, Debug)]
struct Unknown {
    let_through: u64,
    limited: u64,
}

impl Unknown {
    fn of(lab: &Running) -> Result<Self> {
        if !lab.has_maps()? {
            let totals = lab.control().status()?.totals;
            let limited = totals.datagrams_dropped;
            return Ok(Self { let_through: totals.datagrams_received - limited, limited });
        }
        let stages = lab.control().counters()?.stages;
        let of = |name: &str| {
            // Where nothing is attached there is no stage.
            let stage = stages.iter().find(|stage| stage.name == name);
            let count = |reasons: &BTreeMap<String, u64>, reason| reasons.get(reason).copied().unwrap_or(0);
            Self {
                let_through: stage.map_or(0, |stage| count(&stage.delivered, "unknown")),
                limited: stage.map_or(0, |stage| count(&stage.dropped, "unknown_limited")),
            }
        };
        let (xdp, select) = (of("xdp"), of("select"));
        if !lab.has_xdp_engine()? {
            return Ok(select);
        }
        ensure!(select.limited == 0, "asked twice: {select:?}");
        Ok(xdp)
    }

    fn since(self, before: Self) -> Self {
        Self { let_through: self.let_through - before.let_through, limited: self.limited - before.limited }
    }
}

/// An Initial and a short header to each address that is for many, over IPv4 and IPv6.
fn to_many() -> Vec<Vec<u8>> {
    let quic = || [Quic::initial(V1, b"whatever"), Quic::short(&[7; 17])];
    let v4 = [[255; 4], [10, 77, 0, 255], [224, 0, 0, 1]].map(|to| quic().map(|quic| to4(to, quic)));
    let all_nodes = [0xff02, 0, 0, 0, 0, 0, 0, 1];
    let v6 = quic().map(|quic| Packet::udp(([0xfd77, 0, 0, 0, 0, 0, 0, 0x99], 4000), (all_nodes, PORT), quic));
    v4.into_iter().flatten().chain(v6).map(|packet| packet.frame()).collect()
}

fn to4(to: [u8; 4], quic: Quic) -> Packet {
    Packet::udp(([10, 77, 0, 99], 4000), (to, PORT), quic)
}

/// Datagrams that workers have for their own.
fn own(lab: &Running) -> Result<u64> {
    let totals = lab.control().status()?.totals;
    Ok(totals.datagrams_own + totals.handed_over)
}

/// Datagrams that were dropped for where they went, by XDP or by the workers.
fn bad(lab: &Running) -> Result<u64> {
    let by_xdp =
        lab.control().counters()?.stages.iter().filter_map(|stage| stage.dropped.get("broadcast")).sum::<u64>();
    Ok(by_xdp + lab.control().status()?.totals.datagrams_dropped)
}

/// Fewer than the smallest receive buffer holds.
const MANY: u64 = 1_000;

/// Connection IDs of all lengths, with both families, and a version that an answer may not name as reserved.
fn unknown_versions() -> Vec<Vec<u8>> {
    let v4 = |quic: Quic| Packet::udp(([10, 77, 0, 2], 4000), ([10, 77, 0, 1], PORT), quic).frame();
    let v6 = |quic: Quic| {
        let address = |host| [0xfd77, 0, 0, 0, 0, 0, 0, host];
        Packet::udp((address(2), 4000), (address(1), PORT), quic).frame()
    };
    let lengths = (0..=20_usize).map(|length| Quic::unknown_version(&[0x5a; 20][..length], 1_200 + length));
    let mut frames: Vec<_> =
        lengths.enumerate().map(|(n, quic)| if n % 2 == 0 { v4(quic) } else { v6(quic) }).collect();
    let reserved = Quic::long(Kind::Initial, 0x0a1a_2a3a, b"whatever").padded_to(1_300);
    frames.push(v4(reserved));
    frames
}

/// The frame that comes back for `frame`; none if a second brings none.
fn ask(lab: &Running, sender: &Sender, frame: &[u8]) -> Result<Option<Vec<u8>>> {
    let (found, answer) = mpsc::channel();
    let tap = Tap::start(lab.wire().namespace(), "router0", move |direction, frame| {
        if direction == Direction::In && is_negotiation(frame) {
            let _ = found.send(frame.to_vec());
        }
        Ok(())
    })?;
    sender.send(frame)?;
    let answer = answer.recv_timeout(PATIENCE).ok();
    tap.stop()?;
    Ok(answer)
}

fn is_negotiation(frame: &[u8]) -> bool {
    frame::parse(frame).is_ok_and(|datagram| {
        let payload = &frame[datagram.payload.at..];
        payload.len() >= 5 && payload[0] & 0x80 != 0 && payload[1..5] == [0; 4]
    })
}

fn payload(frame: &[u8]) -> &[u8] {
    let datagram = frame::parse(frame).expect("a datagram");
    &frame[datagram.payload.at..datagram.payload.at + datagram.payload.length]
}

/// What became of packets of unknown versions, where they are limited.
#[derive(Clone, Copy, Debug)]
struct Negotiated {
    limited: u64,
}

impl Negotiated {
    fn of(lab: &Running) -> Result<Self> {
        if !lab.has_maps()? {
            return Ok(Self { limited: lab.control().status()?.totals.datagrams_dropped });
        }
        let stages = lab.control().counters()?.stages;
        Ok(Self { limited: stages.iter().filter_map(|stage| stage.dropped.get("negotiation_limited")).sum() })
    }
}

/// An answer takes less.
const PATIENCE: Duration = Duration::from_secs(10);
