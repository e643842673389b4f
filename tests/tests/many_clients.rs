//! Are many clients at once served, with quic-go, aioquic, curl and ngtcp2, over HTTP/3 and raw streams?

use std::time::Duration;

use anyhow::Result;
use router_tests::{
    content,
    lab::{
        Lab, PORT,
        peers::{Curl, Ngtcp2, QuicGo, S2n},
    },
};

#[test]
fn five_then_a_hundred_quic_go_clients() -> Result<()> {
    let lab = Lab::new().start()?;
    for clients in [5, 100] {
        let summary = lab.quic_go().get("/bytes/100000").connections(clients).succeed()?;
        assert_eq!(summary.bytes, clients * 100_000);
    }
    assert_eq!(lab.control().status()?.totals.accepted, 105);
    lab.expect_no_packet_lost()
}

#[test]
fn uploads_over_http3() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.quic_go().post("/sink", 300_000).connections(20).succeed()?;
    lab.quic_go().post("/echo", 300_000).connections(20).succeed()?;
    lab.expect_no_packet_astray()
}

#[test]
fn raw_streams() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.quic_go().echo(100_000).connections(50).requests(4).succeed()?;
    lab.expect_no_packet_astray()
}

#[test]
fn over_ipv6() -> Result<()> {
    let lab = Lab::new().start()?;
    let clients = QuicGo::new(lab.wire().namespace(), (lab.wire().router6(), PORT).into());
    clients.get("/bytes/100000").connections(50).succeed()?;
    lab.expect_no_packet_lost()
}

#[test]
fn from_two_networks_at_once() -> Result<()> {
    let lab = Lab::new().clients(2).start()?;
    let started = lab.network().clients().iter().map(|wire| {
        QuicGo::new(wire.namespace(), wire.router(PORT)).get("/bytes/100000").connections(50).requests(2).start()
    });
    let started = started.collect::<Result<Vec<_>>>()?;
    for clients in started {
        clients.succeed()?;
    }
    lab.expect_no_packet_lost()
}

#[test]
fn with_each_number_of_workers() -> Result<()> {
    for workers in [1, 2, 3, 8] {
        let lab = Lab::new().queues(2).workers(workers).start()?;
        lab.quic_go().get("/bytes/50000").connections(50).requests(2).succeed()?;
        assert_eq!(lab.workers()?.len(), usize::from(workers));
        lab.expect_no_packet_lost()?;
    }
    Ok(())
}

#[test]
fn aioquic_clients() -> Result<()> {
    let lab = Lab::new().start()?;
    let summary = lab.aioquic("/bytes/50000").connections(5).requests(6).succeed()?;
    assert_eq!(summary.bytes, 5 * 6 * 50_000);
    lab.aioquic("/bytes/10000").connections(20).requests(2).succeed()?;
    lab.expect_no_packet_lost()
}

/// Those with a post-quantum key share have a ClientHello in two Initials.
#[test]
fn s2n_quic_clients() -> Result<()> {
    let lab = Lab::new().start()?;
    let over_ipv6 = format!("https://[{}]:{PORT}/bytes/50000", lab.wire().router6());
    let over_ipv6 = S2n::new(lab.wire().namespace(), &over_ipv6);
    for clients in [lab.s2n("/bytes/50000"), lab.s2n("/bytes/50000").hybrid(), over_ipv6] {
        let summary = clients.connections(20).requests(3).succeed()?;
        assert_eq!(summary.bytes, 20 * 3 * 50_000);
    }
    assert_eq!(lab.control().status()?.totals.accepted, 60);
    lab.expect_no_packet_lost()
}

#[test]
fn curl_over_http3() -> Result<()> {
    let lab = Lab::new().start()?;
    let answer = Curl::new(lab.wire().namespace(), &lab.url("/whoami")).succeed()?;
    assert!(answer.starts_with("GET /whoami"), "{answer}");
    let posted = "x".repeat(20_000);
    let answer = Curl::new(lab.wire().namespace(), &lab.url("/sink")).option("--data").option(&posted).succeed()?;
    assert_eq!(answer, format!("20000 {}\n", content::sha256(posted.as_bytes())));
    lab.expect_no_packet_lost()
}

#[test]
fn ngtcp2_with_migration_and_nat_rebinding() -> Result<()> {
    let lab = Lab::new().start()?;
    let client = Ngtcp2::new(lab.wire().namespace(), lab.wire().router(PORT), "/bytes/1000000");
    client.succeed()?;
    client.clone().option("--change-local-addr=100ms").option("--nat-rebinding").succeed()?;
    lab.expect_no_packet_astray()
}

#[test]
fn a_client_learns_which_slot_served_it() -> Result<()> {
    let lab = Lab::new().start()?;
    let head = Curl::new(lab.wire().namespace(), &lab.url("/whoami")).option("--include").succeed()?;
    let slot = head.lines().find_map(|line| line.strip_prefix("x-quic-router-slot: "));
    let slot: u8 = slot.unwrap_or_else(|| panic!("no x-quic-router-slot in {head}")).trim().parse()?;
    let workers = lab.workers()?;
    let served: Vec<_> =
        workers.iter().filter(|worker| worker.totals.accepted == 1).map(|worker| worker.slot).collect();
    assert_eq!(served, [slot]);
    Ok(())
}

#[test]
fn idle_connections_stay() -> Result<()> {
    let lab = Lab::new().start()?;
    let clients = lab.quic_go().get("/bytes/1000").connections(50).holding(Duration::from_secs(3)).start()?;
    lab.await_status(|status| status.totals.connections_now == 50)?;
    clients.succeed()?;
    // They close them, and the router notices at once.
    lab.await_status(|status| status.totals.connections_now == 0).map(drop)
}
