//! Does what is to be turned away end before a worker does anything for it, and is nothing else turned away?

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_tests::{
    lab::{ENGINES, Lab, PORT, Running, until, wire::Sender},
    packets::{
        Packet,
        quic::{Quic, V1},
    },
};

/// Each socket of a listener on every address gets a copy of what comes to a broadcast or multicast address
/// (h2o#2264): every worker had one.
#[test]
fn what_is_for_many_is_for_no_worker() -> Result<()> {
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
fn a_subnet_that_comes_and_goes() -> Result<()> {
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

/// Of many packets that nothing knows, workers get a burst and what the rate gives. Each is counted once, by whoever
/// sees it first.
#[test]
fn unknown_ids_are_limited_before_they_wake_a_worker() -> Result<()> {
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

/// Clients of connections that ended without notice are to be told.
#[test]
fn unknown_ids_are_not_limited_after_a_start_and_when_a_worker_has_ended() -> Result<()> {
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
fn a_reload_changes_what_is_admitted_and_begins_anew() -> Result<()> {
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
fn an_upgrade_keeps_what_is_admitted() -> Result<()> {
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
