//! Do the settings of `[transport]`, and a listener's preferred address, change what they say?

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use router_common::frame;
use router_tests::lab::{Lab, PORT, Towards, mac, peers::Ngtcp2};

fn lab(transport: &str) -> Lab {
    let transport = format!("[transport]\n{transport}\n");
    Lab::new().config(|config| config.rest.insert_str(0, &transport))
}

#[test]
fn every_congestion_controller_completes_transfers() -> Result<()> {
    for control in ["cubic", "newreno", "bbr"] {
        let lab = lab(&format!("congestion = \"{control}\"")).start()?;
        lab.quic_go().get("/bytes/10000000").connections(4).succeed()?;
        lab.quic_go().post("/sink", 5_000_000).connections(4).succeed()?;
    }
    Ok(())
}

#[test]
fn small_windows_complete_transfers() -> Result<()> {
    let narrow = "stream_window = 16_384\nconnection_window = 16_384\nsend_window = 16_384\ngso = false";
    let lab = lab(narrow).start()?;
    lab.quic_go().get("/bytes/2000000").connections(4).succeed()?;
    lab.quic_go().post("/sink", 2_000_000).connections(4).succeed()?;
    Ok(())
}

#[test]
fn migration_can_be_switched_off() -> Result<()> {
    // Where no client may move, each waits for as long as it may.
    for (migration, moved, within) in [(true, 5, 45), (false, 0, 6)] {
        let lab = lab(&format!("migration = {migration}")).start()?;
        let moving = lab.quic_go().get("/bytes/2000000").connections(5).rebinding_at(500_000);
        let summary = moving.within(Duration::from_secs(within)).run()?;
        assert_eq!(summary.requests_ok, moved, "migration = {migration}: {summary:?}");
    }
    Ok(())
}

/// A connection that is silent for longer than `idle_timeout` is closed, unless the router keeps it alive. quic-go
/// takes no idle timeout for shorter than five seconds.
#[test]
fn keep_alive_prevents_the_idle_timeout() -> Result<()> {
    for (keep_alive, kept) in [("", false), ("keep_alive = \"300ms\"", true)] {
        let lab = lab(keep_alive).limit("idle_timeout", "\"3s\"").start()?;
        let silent = lab.quic_go().get("/bytes/1000").connections(3).holding(Duration::from_secs(8)).run()?;
        assert_eq!(silent.errors.is_empty(), kept, "{keep_alive}: {silent:?}");
        assert_eq!(silent.requests_ok, 3);
    }
    Ok(())
}

/// RFC 9000 section 9.6.
#[test]
fn clients_move_to_the_preferred_address() -> Result<()> {
    const PREFERRED: &str = "10.77.0.9";
    let mut lab = Lab::new().build()?;
    lab.network().router().ip(&format!("addr add {PREFERRED}/24 dev clients0\n"))?;
    lab.reconfigure(|config| {
        config.listeners = vec![format!("0.0.0.0:{PORT}")];
        config.listener_keys = format!("preferred_address = \"{PREFERRED}:{PORT}\"\n");
    });
    lab.start_agent()?;
    let reached = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&reached);
    let relay = lab.relay(move |towards, frame| {
        if let (Towards::Router, Ok(datagram)) = (towards, frame::parse(frame)) {
            seen.lock().unwrap_or_else(PoisonError::into_inner).insert(datagram.destination.address.octets().0);
        }
        vec![frame.to_vec()]
    })?;
    let router_mac = mac(lab.wire().macs()[0]);
    relay.clients().ip(&format!("neigh replace {PREFERRED} lladdr {router_mac} dev router0 nud permanent\n"))?;
    Ngtcp2::new(relay.clients(), lab.wire().router(PORT), "/bytes/3000000").succeed()?;
    let reached = reached.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let octets = |address: &str| anyhow::Ok(address.parse::<Ipv4Addr>()?.to_ipv6_mapped().octets());
    let (first, preferred) = (lab.wire().router4().to_ipv6_mapped().octets(), octets(PREFERRED)?);
    ensure!(reached == BTreeSet::from([first, preferred]), "{reached:?}");
    Ok(())
}
