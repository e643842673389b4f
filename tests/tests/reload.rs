//! Does a reload put a changed configuration into force without disturbing connections that it does not concern, and
//! does one that is refused change nothing?

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    AgentConfig, Lab, Mix, MixSize, PORT, Running, UPSTREAM4, UPSTREAM6, peers::QuicGo, run, until,
};
use router_userspace::agent::api::{ListenerState, Status, WorkerState};

/// What has begun is finished by the old routes, also on a connection whose next request goes by
/// the new ones.
#[test]
fn routes_change_for_the_next_request() -> Result<()> {
    let mut lab = Lab::new().start()?;
    let slow = lab.quic_go().get("/slow/2000").connections(20).start()?;
    slow.run_until(|| upstream_connections(&lab, 80).map(|count| count >= 20))?;
    let streams = lab.quic_go().echo(20_000).connections(20).until_told().pausing(SHORT).start()?;
    streams.run_until(|| upstream_connections(&lab, 7).map(|count| count >= 1))?;
    let changed = lab.reload(|config| {
        config.rest = config.rest.replace("path = \"/\"", "path = \"/bytes/\"");
        config.set_router("debug_headers", "false");
    })?;
    assert_eq!(changed, ["routes have changed", "debug_headers has changed"]);
    slow.succeed()?;
    streams.succeed()?;
    lab.quic_go().get("/bytes/20000").connections(20).succeed()?;
    let summary = lab.quic_go().get("/slow/1").connections(20).run()?;
    assert_eq!(summary.errors.keys().map(String::as_str).collect::<Vec<_>>(), ["status 404"], "{summary:?}");
    // Both of one connection: its first request finds a route, and the second none.
    let before = asked(&lab)?;
    let both = lab.quic_go().get("/bytes/100").until_told().pausing(SHORT).start()?;
    lab.await_accepted(&both, 81)?;
    both.run_until(|| asked(&lab).map(|asked| asked > before))?;
    lab.reload(|config| config.rest = config.rest.replace("path = \"/bytes/\"", "path = \"/none/\""))?;
    let summary = both.finish()?;
    assert!(summary.requests_ok > 0 && summary.errors.keys().eq(["status 404"]), "{summary:?}");
    assert_eq!(lab.control().status()?.totals.accepted, 81);
    lab.expect_no_packet_lost()
}

/// Requests that the web servers were given so far.
fn asked(lab: &Running) -> Result<u64> {
    let servers = lab.control().status()?.upstreams;
    Ok(servers.iter().filter(|server| server.upstream == "web").map(|server| server.requests_total).sum())
}

/// Fifty reloads, every second one wrong, while clients of all kinds count what they lose.
#[test]
fn fifty_reloads_under_load_lose_nothing() -> Result<()> {
    let mut lab = Lab::new()
        .set("drain_timeout", "\"300s\"")
        .limit("max_connections_per_ip", "10_000")
        .config(|config| config.certificates.push("other".into()))
        .build()?;
    lab.home().write_certificate("other", &["other.test"])?;
    lab.start_agent()?;
    let clients = Mix::start(&lab, MixSize { connections: 4_000, transfers: 300, requests: 100 })?;
    let begun = Instant::now();
    let (mut good, mut bad) = (0, 0);
    for round in 0..50_u32 {
        // Not a wait for something to happen: the reloads' rhythm.
        std::thread::sleep((begun + BETWEEN_RELOADS * round).saturating_duration_since(Instant::now()));
        if round % 2 == 0 {
            lab.reload(|config| change(config, round / 2)).with_context(|| format!("reload {round}"))?;
            good += 1;
        } else {
            let refused = lab.reload(|config| spoil(config, round / 2)).err();
            ensure!(refused.is_some(), "reload {round} was not refused");
            bad += 1;
        }
    }
    assert_eq!((good, bad), (25, 25));
    clients.succeed()?;
    let totals = lab.control().status()?.totals;
    assert_eq!(
        (totals.refused_connections, totals.refused_per_ip, totals.refused_handshakes, totals.retried),
        (0, 0, 0, 0)
    );
    lab.expect_no_packet_astray()
}

/// A new listener serves beside the old one. One that goes lets its connections end.
#[test]
fn listeners_are_added_and_drained() -> Result<()> {
    // Longer than the leaving clients need, also on a busy machine.
    let mut lab = Lab::new().set("drain_timeout", "\"300s\"").start()?;
    let untouched = echo_on(&lab, PORT).connections(20).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&untouched, 20)?;
    let changed = lab.reload(|config| config.listeners.push("0.0.0.0:8443".into()))?;
    assert_eq!(changed, ["listening on 0.0.0.0:8443", "certificates have changed"]);
    echo_on(&lab, 8443).connections(50).succeed()?;
    echo_on(&lab, 8443).connections(50).rebinding_at(10_000).succeed()?;
    lab.expect_no_packet_astray()?;

    let leaving = echo_on(&lab, 8443).connections(10).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&leaving, 130)?;
    let changed = lab.reload(|config| config.listeners.retain(|address| !address.ends_with(":8443")))?;
    assert!(changed[0].starts_with("no longer listening on 0.0.0.0:8443"), "{changed:?}");
    let state = |status: &Status| {
        let listener = status.listeners.iter().find(|one| one.address.port() == 8443);
        listener.map(|one| one.state)
    };
    assert_eq!(state(&lab.control().status()?), Some(ListenerState::Closing));
    // New connections are refused, and those that are there stay.
    let refused = echo_on(&lab, 8443).connections(5).run()?;
    assert_eq!((refused.connections_ok, refused.connections_failed), (0, 5), "{refused:?}");
    assert!(refused.errors.keys().all(|error| error.contains("CONNECTION_REFUSED")), "{refused:?}");
    let again = lab.reload(|config| config.listeners.push("0.0.0.0:8443".into()));
    let again = format!("{:#}", again.expect_err("it has not ended yet"));
    assert!(again.contains("0.0.0.0:8443 is still draining its previous connections"), "{again}");
    leaving.succeed()?;
    lab.await_status(|status| state(status).is_none())?;
    untouched.succeed()?;
    if lab.has_maps()? {
        let listeners = lab.dump("listeners")?;
        assert_eq!(listeners.len(), 2, "{listeners:?}");
    }
    // And back again, under the number it had.
    lab.reload(|config| config.listeners.push("0.0.0.0:8443".into()))?;
    echo_on(&lab, 8443).connections(20).succeed()?;
    lab.expect_no_packet_astray()
}

/// `steer` is attached to what is added, and leaves what is removed; transfers over the others,
/// and over that one, go on.
#[test]
fn interfaces_are_attached_and_detached() -> Result<()> {
    let mut lab = Lab::new().by_xdp().clients(2).set("interfaces", "[\"clients0\"]").start()?;
    let has_xdp = |lab: &Running| -> Result<[bool; 2]> {
        let router = lab.network().router();
        Ok([router.has_xdp("clients0")?, router.has_xdp("clients1")?])
    };
    assert_eq!(has_xdp(&lab)?, [true, false]);
    let load = |lab: &Running, wire: usize| {
        let wire = &lab.network().clients()[wire];
        let clients = QuicGo::new(wire.namespace(), wire.router(PORT));
        clients.get("/bytes/20000").connections(20).until_told().pausing(SHORT).start()
    };
    let clients = [load(&lab, 0)?, load(&lab, 1)?];
    lab.await_accepted(&clients[0], 40)?;
    let changed = lab.reload(|config| config.set_router("interfaces", "[\"clients0\", \"clients1\"]"))?;
    assert_eq!(changed, ["interface clients1 added"]);
    assert_eq!(has_xdp(&lab)?, [true, true]);
    let changed = lab.reload(|config| config.set_router("interfaces", "[\"clients1\"]"))?;
    assert_eq!(changed, ["interface clients0 removed"]);
    assert_eq!(has_xdp(&lab)?, [false, true]);
    let names: Vec<_> = lab.control().status()?.interfaces.into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["clients1"]);
    for clients in clients {
        clients.succeed()?;
    }
    lab.take_agent()?.terminate()?;
    assert_eq!(has_xdp(&lab)?, [false, false]);
    Ok(())
}

/// More workers take new connections at once; those that go keep what they have until it ends.
#[test]
fn workers_are_added_and_drained() -> Result<()> {
    let mut lab = Lab::new().workers(2).set("drain_timeout", "\"300s\"").start()?;
    // Not so busy that a ring is full while one worker has them all.
    let streams = lab.quic_go().echo(20_000).connections(60).until_told().pausing(SHORT * 10).start()?;
    lab.await_accepted(&streams, 60)?;
    let changed = lab.reload(|config| config.set_router("workers", "5"))?;
    assert_eq!(changed, ["workers started in slots 2, 3, 4"]);
    lab.quic_go().get("/bytes/1000").connections(200).succeed()?;
    let accepted: Vec<_> = lab.workers()?.iter().map(|worker| worker.totals.accepted).collect();
    assert!(accepted.len() == 5 && accepted[2..].iter().all(|&count| count > 15), "{accepted:?}");

    let changed = lab.reload(|config| config.set_router("workers", "1"))?;
    assert_eq!(changed, ["workers of slots 1, 2, 3, 4 end when their connections have"]);
    let states = |lab: &Running| -> Result<Vec<_>> {
        Ok(lab.workers()?.into_iter().map(|worker| (worker.slot, worker.state)).collect())
    };
    assert!(states(&lab)?.contains(&(1, WorkerState::Leaving)), "{:?}", states(&lab)?);
    let before = lab.workers()?;
    lab.quic_go().get("/bytes/1000").connections(100).succeed()?;
    assert_eq!(lab.workers()?[0].totals.accepted, before[0].totals.accepted + 100);
    streams.succeed()?;
    until(|| lab.workers(), |workers| workers.len() == 1)?;
    assert_eq!(states(&lab)?, [(0, WorkerState::Active)]);
    // What the workers that are gone have counted stays counted.
    assert_eq!(lab.control().status()?.totals.accepted, 360);
    if lab.has_maps()? {
        let taken = lab.taken_slots()?;
        assert_eq!(taken.len(), 1, "{taken:?}");
    }
    lab.expect_no_packet_lost()
}

/// Without a reload. Certificate and key are only taken together.
#[test]
fn a_replaced_certificate_file_is_used() -> Result<()> {
    let lab = Lab::new().start()?;
    let home = lab.home();
    let trusted = home.path("first.pem");
    fs::copy(home.path("certificate.pem"), &trusted)?;
    let ask = |ca: &std::path::Path| lab.quic_go().get("/bytes/1000").connections(5).option("ca", ca.display()).run();
    assert_eq!(ask(&trusted)?.requests_ok, 5);
    let streams = lab.quic_go().echo(20_000).connections(20).until_told().pausing(SHORT).start()?;

    home.write_certificate("next", &["localhost", "router.test"])?;
    fs::copy(home.path("next.pem"), home.path("certificate.pem"))?;
    lab.await_log("certificates have changed, but stay as they were in memory")?;
    assert_eq!(ask(&trusted)?.requests_ok, 5);
    fs::copy(home.path("next.key"), home.path("certificate.key"))?;
    lab.await_log("new connections get the new ones")?;
    assert_eq!(ask(&home.path("next.pem"))?.requests_ok, 5);
    assert_eq!(ask(&trusted)?.connections_failed, 5);
    streams.succeed()?;
    lab.expect_no_packet_lost()
}

/// A signal does the same, and tells by the log what has become of it.
#[test]
fn sighup_reloads_and_logs_the_outcome() -> Result<()> {
    let mut lab = Lab::new().start()?;
    lab.rewrite(|config| config.set_router("log", "\"warn,router_userspace::edge=debug\""))?;
    lab.agent()?.hang_up()?;
    let served = || {
        lab.quic_go().get("/bytes/1000").succeed()?;
        Ok(lab.home().log())
    };
    until(served, |log: &String| log.contains("DEBUG router_userspace::edge::dispatch: serving"))?;
    lab.rewrite(|config| config.set_router("workers", "\"many\""))?;
    lab.agent()?.hang_up()?;
    lab.await_log("router.workers: \"many\" is not \"auto\" or a number from 1 to 255; nothing has changed")?;
    lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
    Ok(())
}

/// What is wrong, or cannot be had, changes nothing: not what runs, not what is pinned.
#[test]
fn a_refused_reload_changes_nothing() -> Result<()> {
    let mut lab = Lab::new().by_xdp().clients(2).set("interfaces", "[\"clients0\"]").start()?;
    let squatter = lab.network().router().enter(|| Ok(std::net::UdpSocket::bind("0.0.0.0:9443")?))?;
    let streams = lab.quic_go().echo(20_000).connections(20).until_told().pausing(SHORT).start()?;
    lab.await_accepted(&streams, 20)?;
    let whole = |lab: &Running| -> Result<_> {
        let Status { interfaces, listeners, generation, .. } = lab.control().status()?;
        let workers: Vec<_> = lab.workers()?.into_iter().map(|one| (one.slot, one.cpu, one.state)).collect();
        let maps = ["listeners", "slots", "cid_configs"].map(|map| lab.dump(map));
        let maps = maps.into_iter().collect::<Result<Vec<_>>>()?;
        let said = format!("{interfaces:?} {listeners:?} {generation} {workers:?} {:?}", lab.home().pinned());
        Ok((said, maps, sockets(lab)?))
    };
    let before = whole(&lab)?;
    let cases: [(&str, Spoil<'_>, &[&str]); 13] = [
        ("node_id", &|c| c.set_router("node_id", "2"), &["router.node_id cannot change while this process runs"]),
        ("engine", &|c| c.set_router("engine", "\"reuseport\""), &["router.engine cannot change"]),
        ("bpf_dir", &|c| c.set_router("bpf_dir", "\"/sys/fs/bpf/elsewhere\""), &["router.bpf_dir cannot change"]),
        ("state_dir", &|c| c.set_router("state_dir", "\"/elsewhere\""), &["router.state_dir cannot change"]),
        ("control", &|c| c.set_router("control", "\"/elsewhere\""), &["router.control cannot change"]),
        ("length", &|c| c.set_connection_id("length", "12"), &["connection_id cannot change"]),
        ("no TOML", &|c| c.rest.push('['), &["config.toml"]),
        ("no such key", &|c| c.set_router("nodeid", "1"), &["router.nodeid: unknown key"]),
        ("no such certificate", &|c| c.certificates.push("none".into()), &["none.pem"]),
        ("no such interface", &|c| c.set_router("interfaces", "[\"clients0\", \"eth9\"]"), &["eth9"]),
        ("a port in use", &|c| c.listeners.push("0.0.0.0:9443".into()), &["0.0.0.0:9443"]),
        ("an address of others", &|c| c.listeners.push("192.0.2.1:443".into()), &["192.0.2.1:443"]),
        (
            "much that would do, and one thing that does not",
            &|c| {
                c.listeners.push("0.0.0.0:8443".into());
                c.set_router("workers", "6");
                c.set_router("interfaces", "[\"clients0\", \"clients1\", \"eth9\"]");
            },
            &["eth9"],
        ),
    ];
    for (name, spoil, says) in cases {
        let refused = lab.reload(spoil).err().with_context(|| format!("{name}: not refused"))?;
        let refused = format!("{refused:#}");
        for words in says {
            ensure!(refused.contains(words), "{name}: {refused}");
        }
        let after = whole(&lab)?;
        ensure!(after == before, "{name}: something has changed:\n{before:?}\n{after:?}");
    }
    drop(squatter);
    streams.succeed()?;
    assert_eq!(lab.reload(|_| {})?, [""; 0]);
    lab.expect_no_packet_lost()
}

/// What an operator types, and reads.
#[test]
fn the_verb_and_its_exit_codes() -> Result<()> {
    let mut lab = Lab::new().start()?;
    assert_eq!(lab.cli(&["reload"])?.succeeded()?.stdout, "nothing has changed\n");
    lab.rewrite(|config| config.set_limit("max_connections_per_ip", "3"))?;
    assert_eq!(lab.cli(&["reload"])?.succeeded()?.stdout, "limits have changed\n");
    let summary = lab.quic_go().get("/bytes/100").connections(9).holding(Duration::from_secs(4)).run()?;
    // Those beyond are refused, or closed if they have begun while there was room.
    assert_eq!(summary.requests_ok, 3, "{summary:?}");
    lab.rewrite(|config| config.set_router("node_id", "2"))?;
    let refused = lab.cli(&["reload"])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.starts_with("quic-router: router.node_id cannot change while this process runs"),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("try: stop and start the agent"), "{refused:?}");
    // What the kernel refuses has an exit code of its own.
    let squatter = lab.network().router().enter(|| Ok(std::net::UdpSocket::bind("0.0.0.0:9443")?))?;
    lab.rewrite(|config| {
        config.set_router("node_id", "1");
        config.listeners.push("0.0.0.0:9443".into());
    })?;
    let refused = lab.cli(&["reload"])?;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(refused.stderr.contains("0.0.0.0:9443"), "{refused:?}");
    drop(squatter);
    lab.rewrite(|config| {
        config.listeners.retain(|address| !address.ends_with(":9443"));
        config.set_connection_id("encryption", "\"none\"");
    })?;
    let refused = lab.cli(&["reload"])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("try: quic-router upgrade"), "{refused:?}");
    lab.take_agent()?.terminate()?;
    assert_eq!(lab.cli(&["reload"])?.status.code(), Some(3));
    Ok(())
}

/// What a test does to a configuration.
type Spoil<'a> = &'a dyn Fn(&mut AgentConfig);

/// The valid changes of [`fifty_reloads_under_load_lose_nothing`]: routes and upstreams, certificates, workers.
fn change(config: &mut AgentConfig, round: u32) {
    let (v4, v6) = (format!("http://{UPSTREAM4}:80"), format!("http://[{UPSTREAM6}]:80"));
    match round % 3 {
        0 if config.rest.contains(&v4) => config.rest = config.rest.replace(&v4, &v6),
        0 => config.rest = config.rest.replace(&v6, &v4),
        1 => config.certificates.reverse(),
        _ => config.set_router("workers", ["3", "5", "2", "4"][round as usize / 3 % 4]),
    }
}

/// The others.
fn spoil(config: &mut AgentConfig, round: u32) {
    match round % 4 {
        0 => config.rest.push_str("[[route]]\nupstream = \"nowhere\"\n"),
        1 => config.certificates.push("none".into()),
        2 => config.set_router("node_id", "77"),
        _ if config.has_xdp_engine() => config.set_router("interfaces", "[\"clients0\", \"eth9\"]"),
        _ => config.listeners.push("192.0.2.1:443".into()),
    }
}

/// Raw streams of clients of the listener on `port`.
fn echo_on(lab: &Running, port: u16) -> QuicGo<'_> {
    lab.quic_go().echo(20_000).option("addr", lab.wire().router(port))
}

/// UDP sockets in the router's namespace, by address.
fn sockets(lab: &Running) -> Result<Vec<String>> {
    let listed = run(lab.network().router().command("ss").args(["-Huna"]))?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut addresses: Vec<_> =
        text.lines().filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned).collect();
    addresses.sort();
    Ok(addresses)
}

/// How many TCP connections there are to `port` of the servers.
fn upstream_connections(lab: &Running, port: u16) -> Result<usize> {
    let mut command = lab.network().upstream().command("ss");
    let listed = run(command.args(["-Htn", "state", "established", &format!("( sport = :{port} )")]))?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().count())
}

const SHORT: Duration = Duration::from_millis(20);
const BETWEEN_RELOADS: Duration = Duration::from_millis(800);
