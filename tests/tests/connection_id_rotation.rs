//! Is a configuration of connection IDs replaced (QUIC-LB config rotation) without a client noticing, and does the old
//! one go by itself?

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use router_tests::lab::{Lab, Running, until};
use router_userspace::agent::api::CidConfiguration;

/// Every two seconds for a minute, under short connections, long ones, idle ones and ones that move.
#[test]
fn thirty_rotations_under_load_lose_nothing() -> Result<()> {
    let lab = Lab::new()
        .connection_id("lifetime", "\"3s\"")
        .limit("idle_timeout", "\"3s\"")
        .limit("max_connections_per_ip", "10_000")
        .start()?;
    let long_enough = Duration::from_secs(240);
    let short =
        lab.quic_go().get("/bytes/20000").connections(6_000).at_once(20).pausing(SHORT).within(long_enough).start()?;
    let long =
        lab.quic_go().get("/bytes/1000").connections(40).requests(130).pausing(HALF_A_SECOND).within(long_enough);
    let long = long.start()?;
    let streams = lab.quic_go().echo(20_000).connections(20).requests(130).pausing(HALF_A_SECOND).within(long_enough);
    let streams = streams.start()?;
    let moving = lab.quic_go().get("/bytes/1000").connections(20).requests(130).pausing(HALF_A_SECOND);
    let moving = moving.within(long_enough).rebinding_at(60_000).start()?;
    let other =
        lab.aioquic("/bytes/1000").connections(20).requests(130).pausing(HALF_A_SECOND).changing_id().start()?;

    let begun = Instant::now();
    let (mut used, mut most) = (BTreeSet::from([0]), 0);
    for round in 1..=30 {
        // Not a wait for something to happen: the rotations' rhythm.
        std::thread::sleep((begun + Duration::from_secs(2) * round).saturating_duration_since(Instant::now()));
        used.insert(lab.control().rotate().with_context(|| format!("rotation {round}"))?.rotation);
        most = most.max(lab.control().cid_configurations()?.len());
    }
    short.succeed().context("short connections")?;
    long.succeed().context("long connections")?;
    streams.succeed().context("raw streams")?;
    moving.succeed().context("connections that moved")?;
    other.succeed().context("aioquic")?;
    assert_eq!(used, (0..7).collect(), "rotations that were used");
    assert!((3..=7).contains(&most), "{most} configurations at most at a time");
    // Not `handshakes_failed`: on a busy machine a copy of an Initial comes when its connection is
    // over, and begins one that no client finishes. That none of these failed, their clients know.
    assert_eq!(lab.control().status()?.totals.accepted, 6_100);
    lab.expect_no_packet_astray()?;
    let last = await_one(&lab)?;
    assert_eq!((last.state.as_str(), last.rotation), ("issuing", 30 % 7));
    // In the kernel too: one is in use, and nothing is left of the others' keys.
    let configs = lab.dump("cid_configs")?;
    let in_use: Vec<_> = configs.iter().filter(|entry| entry["value"]["encoding"] != 0).collect();
    assert_eq!(in_use.len(), 1, "{in_use:?}");
    let keys = lab.dump("cid_keys")?;
    let empty = keys.iter().filter(|entry| entry["value"]["slot_mask"] == serde_json::json!([0, 0])).count();
    assert_eq!(empty, 6, "keys of configurations that are gone");
    Ok(())
}

/// A rotation touches all engines alike.
#[test]
fn a_rotation_with_each_engine() -> Result<()> {
    for engine in ["xdp", "reuseport", "userspace"] {
        let lab = Lab::new().engine(engine).limit("idle_timeout", "\"2s\"").start()?;
        let clients = lab.quic_go().get("/bytes/20000").connections(50).requests(20).pausing(SHORT * 5).start()?;
        lab.await_accepted(&clients, 50)?;
        assert_eq!(lab.control().rotate()?.rotation, 1);
        lab.quic_go().get("/bytes/20000").connections(50).rebinding_at(10_000).succeed()?;
        let all = lab.control().cid_configurations()?;
        let connections: Vec<_> = all.iter().map(|one| (one.rotation, one.connections)).collect();
        assert_eq!(connections.last(), Some(&(0, 50)), "{engine}: {connections:?}");
        clients.succeed()?;
        await_one(&lab).with_context(|| engine.to_owned())?;
    }
    Ok(())
}

/// While connections hold all seven, an eighth is refused, and nothing has changed.
#[test]
fn an_eighth_configuration_in_use_is_refused() -> Result<()> {
    let lab = Lab::new().limit("idle_timeout", "\"2s\"").start()?;
    let holding = || lab.quic_go().get("/bytes/100").until_told().pausing(SHORT).start();
    let mut clients = vec![holding()?];
    for rotation in 1..7 {
        lab.await_accepted(&clients[0], clients.len() as u64)?;
        assert_eq!(lab.control().rotate()?.rotation, rotation);
        clients.push(holding()?);
    }
    let before = configurations_on_file(&lab)?;
    let refused = lab.cli(&["cid", "rotate"])?;
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stderr.contains("all seven configurations of connection IDs are still in use"), "{refused:?}");
    assert!(refused.stderr.contains("try: "), "{refused:?}");
    let after = lab.control().cid_configurations()?;
    assert_eq!((after.len(), after[0].rotation), (7, 6));
    assert_eq!(configurations_on_file(&lab)?, before);
    for client in clients {
        client.succeed()?;
    }
    await_one(&lab)?;
    lab.cli(&["cid", "rotate"])?.succeeded()?;
    Ok(())
}

/// The key of a file is taken once. What is wrong with the file changes nothing.
#[test]
fn a_key_file_is_used_once() -> Result<()> {
    let mut lab = Lab::new().limit("idle_timeout", "\"1s\"").build()?;
    let file = lab.home().path("cid.key");
    lab.home().write_with_mode("cid.key", "00112233445566778899aabbccddeeff", 0o600)?;
    lab.reconfigure(|config| config.set_connection_id("encryption", &format!("\"file:{}\"", file.display())));
    lab.start_agent()?;
    lab.quic_go().get("/bytes/10000").connections(20).rebinding_at(5_000).succeed()?;
    for (key, mode, says) in [
        ("00112233445566778899aabbccddeeff", 0o600, "its key has been used"),
        ("0102", 0o600, "2 octets, not 16"),
        ("0f1e2d3c4b5a69788796a5b4c3d2e1f0", 0o644, "open to others"),
        ("no key at all", 0o600, "neither hex nor base64"),
    ] {
        lab.home().write_with_mode("cid.key", key, mode)?;
        let refused = lab.cli(&["cid", "rotate"])?;
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(refused.stderr.contains(says) && refused.stderr.contains("cid.key"), "{refused:?}");
        assert!(!refused.stderr.contains(key), "{refused:?}");
        assert_eq!(lab.control().cid_configurations()?.len(), 1);
    }
    lab.quic_go().get("/bytes/10000").connections(20).succeed()?;
    lab.home().write_with_mode("cid.key", "Dx4tPEtaaXiHlqW0w9Lh8A==", 0o400)?;
    assert_eq!(lab.control().rotate()?.rotation, 1);
    lab.quic_go().get("/bytes/10000").connections(20).rebinding_at(5_000).succeed()?;
    await_one(&lab)?;
    // Not even when its configuration is gone.
    lab.home().write_with_mode("cid.key", "00112233445566778899aabbccddeeff", 0o600)?;
    let refused = lab.cli(&["cid", "rotate"])?;
    assert!(refused.stderr.contains("its key has been used"), "{refused:?}");
    lab.expect_no_packet_astray()
}

/// A configuration whose nonces run out is replaced before an operator has to ask.
#[test]
fn nonces_that_run_out_start_a_rotation() -> Result<()> {
    let mut lab = Lab::new().limit("idle_timeout", "\"1s\"").start()?;
    lab.take_agent()?.terminate()?;
    nearly_use_up(&lab)?;
    lab.start_agent()?;
    lab.quic_go().get("/bytes/10000").connections(20).succeed()?;
    let one = await_one(&lab)?;
    assert_eq!((one.rotation, one.state.as_str()), (1, "issuing"), "{one:?}");
    assert!(one.nonces_used.is_some_and(|used| used < 0.01), "{one:?}");
    assert!(lab.control().status()?.healthy);
    Ok(())
}

/// With a key from a file that takes an operator, who is told. Afterwards all is well by itself.
#[test]
fn an_operator_is_asked_for_a_key_before_the_nonces_run_out() -> Result<()> {
    let mut lab = Lab::new().limit("idle_timeout", "\"1s\"").build()?;
    let file = lab.home().path("cid.key");
    lab.home().write_with_mode("cid.key", "00112233445566778899aabbccddeeff", 0o600)?;
    lab.reconfigure(|config| config.set_connection_id("encryption", &format!("\"file:{}\"", file.display())));
    lab.start_agent()?;
    lab.take_agent()?.terminate()?;
    nearly_use_up(&lab)?;
    lab.start_agent()?;
    let status = lab.await_status(|status| !status.healthy)?;
    let problem = status.problems.iter().find(|problem| problem.contains("90 % of its nonces"));
    let problem = problem.with_context(|| format!("{:?}", status.problems))?;
    assert!(problem.contains("cid.key") && problem.contains("try: a new key in the file"), "{problem}");
    lab.quic_go().get("/bytes/10000").connections(20).succeed()?;
    lab.home().write_with_mode("cid.key", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", 0o600)?;
    lab.await_status(|status| status.healthy)?;
    assert_eq!(lab.control().cid_configurations()?[0].rotation, 1);
    Ok(())
}

/// Other lengths, another node or another server ID: the next start makes a configuration of its
/// own; what was issued before stays decodable if it has the same length.
#[test]
fn another_node_id_or_length_makes_a_new_configuration() -> Result<()> {
    let mut lab = Lab::new().start()?;
    lab.take_agent()?.terminate()?;
    lab.reconfigure(|config| config.set_router("node_id", "9"));
    lab.start_agent()?;
    let shapes = |lab: &Running| -> Result<Vec<_>> {
        let all = lab.control().cid_configurations()?;
        Ok(all.into_iter().map(|one| (one.rotation, one.identity, one.length)).collect())
    };
    assert_eq!(shapes(&lab)?, [(1, "0009".into(), 17), (0, "0001".into(), 17)]);
    lab.quic_go().get("/bytes/10000").connections(20).rebinding_at(5_000).succeed()?;
    lab.take_agent()?.terminate()?;
    lab.reconfigure(|config| config.set_connection_id("length", "12"));
    lab.start_agent()?;
    assert_eq!(shapes(&lab)?, [(0, "0009".into(), 12)]);
    lab.quic_go().get("/bytes/10000").connections(20).rebinding_at(5_000).succeed()?;
    lab.expect_no_packet_astray()
}

/// All that is written down of the configurations, but for the nonces that workers take meanwhile.
fn configurations_on_file(lab: &Running) -> Result<serde_json::Value> {
    let mut state: serde_json::Value =
        serde_json::from_slice(&fs::read(lab.home().path("state/connection-ids.json"))?)?;
    for configuration in state["configurations"].as_array_mut().context("a list of configurations")? {
        configuration.as_object_mut().context("a configuration")?.remove("leased").context("leased nonces")?;
    }
    Ok(state)
}

/// Waits until all configurations but the issued one have gone by themselves.
fn await_one(lab: &Running) -> Result<CidConfiguration> {
    let mut all = until(|| lab.control().cid_configurations(), |all| all.len() == 1)?;
    Ok(all.remove(0))
}

/// As if runs before had used 90 % of a slot's nonces.
fn nearly_use_up(lab: &Running) -> Result<()> {
    let path = lab.home().path("state/connection-ids.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    state["configurations"][0]["leased"]["0"] = ((1_u64 << 63) / 10 * 9).into();
    Ok(fs::write(path, serde_json::to_vec(&state)?)?)
}

const HALF_A_SECOND: Duration = Duration::from_millis(500);
const SHORT: Duration = Duration::from_millis(100);
