//! Does an upgrade hand over to the next generation without losing a connection, and does no client notice one that
//! fails?

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use router_common::frame;
use router_tests::lab::{Lab, Mix, MixSize, PORT, Running, Towards, binary, binary_before, peers::QuicGo, signal};
use router_userspace::agent::api::Status;

/// By an operator's way: a new version is put where the old one lies, which is an earlier one if the tests are run with one.
#[test]
fn connections_stay_and_new_ones_go_to_the_new_generation() -> Result<()> {
    let mut lab = Lab::new().set("drain_timeout", "\"300s\"").build()?;
    lab.install(&binary_before()?)?;
    lab.start_agent()?;
    let first = lab.control().status()?;
    let streams = lab.quic_go().echo(20_000).connections(40).requests(150).until_told().pausing(SHORT);
    let streams = streams.rebinding_at(400_000).start()?;
    lab.await_accepted(&streams, 40)?;
    lab.install(&binary()?)?;
    let upgraded = lab.agent()?.upgrade(None)?;
    assert_eq!(fs::read_link(format!("/proc/{}/exe", upgraded.pid))?, lab.home().path("quic-router"));
    let second = lab.control().status()?;
    assert_eq!((second.generation, second.pid), (upgraded.generation, upgraded.pid));
    assert!(second.generation == first.generation + 1 && second.pid != first.pid, "{second:?}");
    if lab.has_xdp_engine()? {
        assert_ne!(second.interfaces[0].program_id, first.interfaces[0].program_id);
    }
    assert_eq!(states(&second), [(second.generation, "serving"), (first.generation, "draining")]);
    assert_eq!(second.generations[1].connections, 40);
    let own = second.totals.accepted;
    lab.quic_go().get("/bytes/20000").connections(100).rebinding_at(10_000).succeed()?;
    assert_eq!(lab.control().status()?.totals.accepted, own + 100);
    assert_eq!(lab.aside(first.generation).status()?.totals.accepted, 40, "the old one got a new connection");
    streams.succeed()?;
    await_alone(&lab)?;
    assert_eq!(lab.taken_slots()?.len(), 4);
    assert!(!lab.home().path(&format!("control.sock.{}", first.generation)).exists());
    lab.expect_no_packet_astray()
}

/// Twenty in a row, every third one with another XDP program, while clients of all kinds come,
/// move and stay.
#[test]
fn twenty_upgrades_under_load_lose_nothing() -> Result<()> {
    let lab =
        Lab::new().workers(2).set("drain_timeout", "\"300s\"").limit("max_connections_per_ip", "10_000").start()?;
    let clients = Mix::start(&lab, MixSize { connections: 3_000, transfers: 200, requests: 80 })?;
    let logging = script(&lab, "logging", &format!("exec {} \"$@\" --kernel-log error", binary()?.display()))?;
    let plain =
        script(&lab, "plain", &format!("exec {} $(echo \"$@\" | sed 's/--kernel-log error//')", binary()?.display()))?;
    let mut last = lab.control().status()?;
    for round in 0..20 {
        let next = match round % 3 {
            0 => Some(&*logging),
            1 => Some(&*plain),
            _ => None,
        };
        lab.agent()?.upgrade(next).with_context(|| format!("upgrade {round}"))?;
        let status = lab.control().status()?;
        assert_eq!(status.generation, last.generation + 1);
        let program = status.interfaces[0].program_id;
        assert!(program.is_none() || program != last.interfaces[0].program_id, "{status:?}");
        last = status;
        // Not a wait for something to happen: the upgrades' rhythm.
        std::thread::sleep(Duration::from_millis(500));
    }
    clients.succeed()?;
    await_alone(&lab)?;
    assert_eq!(lab.taken_slots()?.len(), 2);
    let totals = lab.control().status()?.totals;
    assert_eq!((totals.refused_connections, totals.refused_per_ip, totals.refused_handshakes), (0, 0, 0));
    lab.expect_no_packet_astray()
}

/// One Initial in eight is lost on the way, in both directions: at each flip there are handshakes
/// that one generation has begun and whose Initials come again. One in some ten thousand takes longer than ten seconds
/// that way, as clients wait twice as long each time: that is no affair of an upgrade's.
#[test]
fn upgrades_during_handshakes_that_lose_initials() -> Result<()> {
    let lab = Lab::new().workers(2).set("drain_timeout", "\"300s\"").limit("request_timeout", "\"60s\"").start()?;
    let relay = lab.relay(|_: Towards, frame| match initial_checksum(frame) {
        Some(sum) if sum % 8 == 0 => Vec::new(),
        _ => vec![frame.to_vec()],
    })?;
    let clients = QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/1000").connections(2_500);
    let clients = clients.at_once(40).within(Duration::from_secs(240)).following();
    let mut upgrades = 0;
    // However long an upgrade takes there are some at which handshakes are begun.
    while upgrades <= 3 {
        let clients = clients.clone().start()?;
        while !clients.ends_within(Duration::from_millis(300)) {
            lab.agent()?.upgrade(None)?;
            upgrades += 1;
        }
        clients.succeed()?;
    }
    drop(relay);
    await_alone(&lab)
}

/// Generations that all have connections left are there beside each other, and end one by one.
#[test]
fn several_generations_drain_at_once() -> Result<()> {
    let lab = Lab::new().workers(2).set("drain_timeout", "\"300s\"").start()?;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(lab.quic_go().echo(1_000).connections(10).until_told().pausing(SHORT).start()?);
        lab.await_accepted(&clients[clients.len() - 1], 10)?;
        lab.agent()?.upgrade(None)?;
    }
    let status = lab.control().status()?;
    assert_eq!(states(&status).iter().filter(|(_, state)| *state == "draining").count(), 4, "{status:?}");
    lab.await_status(|status| status.generations[1..].iter().all(|one| one.connections == 10))?;
    // The newest first: none waits for those before it.
    while let Some(newest) = clients.pop() {
        newest.succeed()?;
        let left: Vec<_> = (1..=clients.len() as u64).rev().collect();
        lab.await_status(|status| status.generations[1..].iter().map(|one| one.generation).eq(left.iter().copied()))?;
    }
    assert_eq!(lab.taken_slots()?.len(), 2);
    lab.expect_no_packet_astray()
}

/// What does not work changes nothing: clients do not notice, and the next upgrade that works,
/// works.
#[test]
fn a_failed_upgrade_changes_nothing() -> Result<()> {
    let mut lab = Lab::new().set("drain_timeout", "\"120s\"").start()?;
    let first = lab.control().status()?;
    let streams = lab.quic_go().echo(10_000).connections(40).requests(80).until_told().pausing(SHORT * 10);
    let streams = streams.rebinding_at(400_000).start()?;
    lab.await_accepted(&streams, 40)?;
    let real = binary()?.display().to_string();
    let socket = lab.home().control().display().to_string();
    // Kills the new generation so long after its control socket has come up.
    let killed = |after: &str| {
        format!(
            "{real} \"$@\" & new=$!\n\
             until [ -e {socket}.new-$new ] || ! kill -0 $new; do :; done\n\
             sleep {after}; kill -9 $new; wait $new"
        )
    };
    let settings = lab.home().pins().join("settings").display().to_string();
    let schema = format!(
        "bpftool map update pinned {settings} key 0 0 0 0 value 99 0 0 0 1 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 \
         0 0 0 0 0 0 0 0 1 0 0 0 0 0 0 0\nexec {real} \"$@\""
    );
    for (name, script_text, says) in [
        ("exits at once", "exit 7".to_owned(), "ended before it took over: exit status: 7"),
        ("hangs", "exec sleep 600".to_owned(), "has not taken over after 5s"),
        ("is no agent", "echo nonsense; exit 0".to_owned(), "ended before it took over: exit status: 0"),
        ("is elsewhere", format!("exec unshare -n {real} \"$@\""), "the network namespace is"),
        ("has other maps", schema, "the maps in"),
        ("killed at once", killed("0"), "new generation"),
        ("killed soon", killed("0.05"), "new generation"),
        ("killed later", killed("0.15"), "new generation"),
    ] {
        let broken = script(&lab, "broken", &script_text)?;
        let patience = Duration::from_secs(if name == "hangs" { 5 } else { 30 });
        let refused = lab
            .control()
            .upgrade_within(patience, Some(&broken))
            .err()
            .with_context(|| format!("{name}: it worked"))?;
        let refused = format!("{refused:#}");
        ensure!(refused.contains(says) || name.starts_with("killed"), "{name}: {refused}");
        expect_untouched(&lab, &first).context(name)?;
    }
    lab.rewrite(|config| config.set_router("workers", "\"many\""))?;
    let refused = lab.control().upgrade(None).err().context("invalid configuration: it worked")?;
    ensure!(format!("{refused:#}").contains("ended before it took over: exit status: 1"), "{refused:#}");
    expect_untouched(&lab, &first)?;
    lab.rewrite(|config| config.set_router("workers", "4"))?;
    lab.rewrite(|config| config.set_router("node_id", "9"))?;
    let refused = lab.control().upgrade(None).err().context("another node: it worked")?;
    ensure!(format!("{refused:#}").contains("router.node_id is 1 here and 9 there"), "{refused:#}");
    expect_untouched(&lab, &first)?;
    lab.rewrite(|config| config.set_router("node_id", "1"))?;

    lab.agent()?.upgrade(None)?;
    lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed()?;
    streams.succeed()?;
    await_alone(&lab)?;
    lab.expect_no_packet_astray()
}

/// The old one killed while it drains: its own connections are lost, and told so at once; no
/// others are.
#[test]
fn a_killed_old_generation_loses_its_own_connections_only() -> Result<()> {
    let lab = Lab::new().set("drain_timeout", "\"300s\"").start()?;
    let first = lab.control().status()?;
    let lost = lab.quic_go().echo(1_000).connections(30).until_told().pausing(SHORT);
    let lost = lost.keeping_alive(SHORT * 10).start()?;
    lab.await_busy(&lost, 30)?;
    lab.agent()?.upgrade(None)?;
    let own = lab.control().status()?.totals.accepted;
    let kept = lab.quic_go().echo(1_000).connections(30).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&kept, own + 30)?;
    signal(first.pid, Signal::SIGKILL)?;
    await_alone(&lab)?;
    assert_eq!(lab.taken_slots()?.len(), 4);
    let lost = lost.ended_by_router()?;
    assert_eq!(lost.stateless_resets(), 30, "{lost:?}");
    kept.succeed()?;
    // Not a word on packets astray: with its sockets gone, the kernel gave what came for the dead
    // one to any socket, and no worker may answer that before its slots are free.
    lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed().map(drop)
}

/// The new one killed just after the flip: the old one serves again, and keeps what it had.
#[test]
fn a_killed_new_generation_leaves_the_old_one_serving() -> Result<()> {
    let lab = Lab::new().set("drain_timeout", "\"300s\"").start()?;
    let first = lab.control().status()?;
    let kept = lab.quic_go().echo(1_000).connections(30).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&kept, 30)?;
    for round in 0..3 {
        let second = lab.control().upgrade(None)?;
        let lost = lab.quic_go().echo(1_000).connections(30).until_told().pausing(SHORT);
        let lost = lost.keeping_alive(SHORT * 10).start()?;
        lab.await_busy(&lost, 30)?;
        signal(second.pid, Signal::SIGKILL)?;
        lab.await_service_by(first.pid)?;
        lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed()?;
        let lost = lost.ended_by_router()?;
        assert_eq!(lost.stateless_resets(), 30, "round {round}: {lost:?}");
        expect_untouched(&lab, &first)?;
    }
    kept.succeed()?;
    lab.agent()?.upgrade(None)?;
    await_alone(&lab)?;
    lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed()?;
    lab.expect_no_packet_astray()
}

/// Told to stop, the newest generation has those before it stop, too.
#[test]
fn sigterm_while_an_old_generation_drains() -> Result<()> {
    let mut lab = Lab::new().start()?;
    let clients = lab.quic_go().echo(1_000).connections(20).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&clients, 20)?;
    lab.agent()?.upgrade(None)?;
    lab.take_agent()?.terminate()?;
    clients.ended_by_router()?;
    lab.expect_nothing_left()?;
    lab.start_agent()?;
    lab.quic_go().get("/bytes/1000").connections(20).succeed().map(drop)
}

/// The configuration is read anew, and what a reload cannot change may change with it.
#[test]
fn an_upgrade_with_another_configuration() -> Result<()> {
    let mut lab = Lab::new().set("drain_timeout", "\"300s\"").start()?;
    let streams = lab.quic_go().echo(20_000).connections(40).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&streams, 40)?;
    lab.rewrite(|config| {
        config.listeners.push("0.0.0.0:8443".into());
        config.set_router("workers", "2");
        config.set_connection_id("encryption", "\"none\"");
        config.rest = config.rest.replace("path = \"/\"", "path = \"/bytes/\"");
    })?;
    lab.agent()?.upgrade(None)?;
    lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed()?;
    let other = lab.quic_go().echo(20_000).option("addr", lab.wire().router(8443)).connections(50);
    other.rebinding_at(10_000).succeed()?;
    assert_eq!(lab.control().cid_configurations()?[0].encoding, "clear");
    streams.succeed()?;
    await_alone(&lab)?;
    assert_eq!(lab.taken_slots()?.len(), 2);
    let listeners = lab.dump("listeners")?;
    assert_eq!(listeners.len(), 3, "{listeners:?}");
    lab.expect_no_packet_astray()
}

/// An engine that steers without XDP leaves none behind.
#[test]
fn an_upgrade_to_another_engine() -> Result<()> {
    let mut lab = Lab::new().set("drain_timeout", "\"300s\"").start()?;
    let streams = lab.quic_go().echo(20_000).connections(40).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&streams, 40)?;
    let mut streams = Some(streams);
    for (engine, xdp) in [("reuseport", false), ("xdp", true)] {
        lab.rewrite(|config| config.set_router("engine", &format!("\"{engine}\"")))?;
        lab.agent()?.upgrade(None)?;
        assert_eq!(lab.control().status()?.interfaces[0].engine.as_str(), engine);
        lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed()?;
        if let Some(streams) = streams.take() {
            // The program goes with the generation that attached it, and that with its connections.
            streams.succeed()?;
            await_alone(&lab)?;
        }
        assert_eq!(lab.is_xdp_attached()?, xdp, "{engine}");
    }
    lab.expect_no_packet_astray()
}

#[test]
fn the_verb_and_its_exit_codes() -> Result<()> {
    let lab = Lab::new().start()?;
    let said = lab.cli(&["upgrade"])?.succeeded()?.stdout;
    assert!(said.starts_with("generation 2 (process "), "{said}");
    let nowhere = lab.cli(&["upgrade", "--binary", "/nowhere/quic-router"])?;
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(nowhere.stderr.contains("/nowhere/quic-router: No such file"), "{nowhere:?}");
    let newest = lab.control().status()?.pid;
    signal(newest, Signal::SIGTERM)?;
    drop(lab);
    let lab = Lab::new().engine("userspace").start()?;
    let refused = lab.cli(&["upgrade"])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("nothing steers"), "{refused:?}");
    lab.quic_go().get("/bytes/1000").connections(20).succeed().map(drop)
}

/// The old generation serves as if nothing had been, alone.
fn expect_untouched(lab: &Running, first: &Status) -> Result<()> {
    let now = lab.control().status()?;
    ensure!((now.pid, now.generation) == (first.pid, first.generation), "{now:?}");
    ensure!(states(&now) == [(first.generation, "serving")], "{:?}", now.generations);
    ensure!(now.interfaces[0].program_id == first.interfaces[0].program_id, "{:?}", now.interfaces);
    let attached = lab.network().router().xdp_program(&lab.wire().router_interface())?;
    ensure!(attached == first.interfaces[0].program_id, "program {attached:?} is attached");
    ensure!(lab.taken_slots()?.len() == 4, "slots are taken that no worker has");
    lab.quic_go().get("/bytes/1000").connections(20).rebinding_at(500).succeed()?;
    let left: Vec<_> = fs::read_dir(lab.home().path(""))?.flatten().map(|entry| entry.file_name()).collect();
    let sockets = left.iter().filter(|name| name.to_string_lossy().starts_with("control.sock")).count();
    // Of one that was killed the name may be left.
    ensure!(sockets <= 4, "{left:?}");
    Ok(())
}

fn states(status: &Status) -> Vec<(u64, &str)> {
    status.generations.iter().map(|one| (one.generation, one.state.as_str())).collect()
}

/// A program in the laboratory's home.
fn script(lab: &Running, name: &str, text: &str) -> Result<PathBuf> {
    lab.home().write_with_mode(name, &format!("#!/bin/sh\n{text}\n"), 0o755)
}

/// A number that hangs on what is in an Initial; none for any other frame.
fn initial_checksum(frame: &[u8]) -> Option<u32> {
    let datagram = frame::parse(frame).ok()?;
    let is_quic = [datagram.source.port, datagram.destination.port].contains(&PORT);
    let payload = frame.get(datagram.payload.at..)?;
    let first = *payload.first()?;
    let is_initial = first & 0b1111_0000 == 0b1100_0000 && payload.get(1..5)? == [0, 0, 0, 1];
    (is_quic && is_initial).then(|| payload.iter().rev().take(16).map(|&octet| u32::from(octet)).sum())
}

/// Waits until the newest generation is alone.
fn await_alone(lab: &Running) -> Result<()> {
    lab.await_status(|status| status.generations.len() == 1).map(drop)
}

const SHORT: Duration = Duration::from_millis(20);
