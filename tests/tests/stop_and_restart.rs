//! What is left when the agent is stopped or killed, does it start again over that, and does `detach` remove it?

use std::time::Duration;

use anyhow::Result;
use router_tests::lab::Lab;
use router_userspace::agent::api::Status;

#[test]
fn sigterm_closes_connections_and_detaches() -> Result<()> {
    let mut lab = Lab::new().start()?;
    let clients = lab.quic_go().get("/bytes/1000").connections(20).holding(Duration::from_secs(30)).start()?;
    lab.await_accepted(&clients, 20)?;
    assert_eq!(lab.is_xdp_attached()?, lab.has_xdp_engine()?, "what is attached");

    let finished = lab.take_agent()?.terminate()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    let summary = clients.ended_by_router()?;
    let lost: u64 = summary.errors.values().sum();
    // Told on hold; or, if the last one's request had not been made yet, told in answer to it.
    assert_eq!((summary.connections_ok, lost), (20, 20), "{summary:?}");
    assert!(!summary.errors.keys().any(|error| error.contains("timeout")), "{summary:?}");
    lab.expect_nothing_left()
}

#[test]
fn a_start_after_sigkill() -> Result<()> {
    let mut lab = Lab::new().start()?;
    let (first, has_maps) = (lab.control().status()?, lab.has_maps()?);
    let clients = lab.quic_go().get("/bytes/50000000").connections(20).start()?;
    lab.await_accepted(&clients, 20)?;
    lab.take_agent()?.kill()?;
    drop(clients);
    assert_eq!(!lab.home().pinned().is_empty(), has_maps, "what the next start finds");

    lab.start_agent()?;
    let second = lab.control().status()?;
    assert!(second.generation > first.generation, "{} then {}", first.generation, second.generation);
    assert_eq!(second.interfaces[0].engine, first.interfaces[0].engine, "{:?}", second.interfaces);
    let program = |status: &Status| status.interfaces[0].program_id;
    assert!(program(&first).is_none() || program(&first) != program(&second), "the dead one's program");
    lab.quic_go().get("/bytes/100000").connections(50).succeed()?;
    assert_eq!(lab.control().status()?.totals.accepted, 50);
    lab.expect_no_packet_astray()?;

    lab.take_agent()?.terminate()?;
    lab.expect_nothing_left()
}

#[test]
fn ten_starts_and_stops() -> Result<()> {
    let mut lab = Lab::new().build()?;
    for round in 0..10 {
        lab.start_agent()?;
        lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
        let agent = lab.take_agent()?;
        if round % 2 == 0 { agent.kill()? } else { agent.terminate().map(drop)? }
    }
    lab.start_agent()?;
    lab.take_agent()?.terminate()?;
    lab.expect_nothing_left()
}

#[test]
fn detach_removes_what_a_killed_agent_left() -> Result<()> {
    let mut lab = Lab::new().start()?;
    let is_by_xdp = lab.has_xdp_engine()?;
    lab.take_agent()?.kill()?;
    assert_eq!(lab.is_xdp_attached()?, is_by_xdp, "the link is pinned, so it outlives the agent");
    let config = lab.home().path("config.toml");
    let config = config.to_str().expect("UTF-8");
    lab.cli(&["detach", "--config", config])?.succeeded()?;
    lab.expect_nothing_left()
}

#[test]
fn detach_is_refused_while_an_agent_runs() -> Result<()> {
    let lab = Lab::new().start()?;
    let config = lab.home().path("config.toml");
    let refused = lab.cli(&["detach", "--config", config.to_str().expect("UTF-8")])?;
    assert!(!refused.status.success(), "{refused:?}");
    lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
    lab.expect_no_packet_astray()
}
