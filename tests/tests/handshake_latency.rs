//! Does a new client come in at once, however many others are there and do nothing?

use std::{
    collections::BTreeSet,
    io::Read,
    net::TcpStream,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use router_common::frame;
use router_tests::lab::{
    Lab, PORT, Towards,
    peers::{Curl, QuicGo, Summary},
};

/// After that a client sends its first flight again (RFC 9002 section 6.2.2): who has waited for so
/// long has been kept waiting.
const FIRST_TIMEOUT: Duration = Duration::from_millis(999);

#[test]
fn a_thousand_idle_connections() -> Result<()> {
    let lab = Lab::new().limit("max_connections_per_ip", "5_000").start()?;
    let idle = lab.quic_go().echo(100).connections(1_000).at_once(1_000).holding(Duration::from_secs(8)).start()?;
    lab.await_status(|status| status.totals.connections_now == 1_000 && status.totals.handshakes_now == 0)?;
    let new = lab.quic_go().get("/bytes/1000").connections(200).at_once(2).succeed()?;
    let now = lab.control().status()?.totals;
    ensure!(now.connections_now >= 1_000, "the crowd has gone: {now:?}");
    in_time(&new)?;
    idle.succeed()?;
    Ok(())
}

/// Handshakes over QUIC that are begun and never go on, and connections over TCP that never say
/// anything.
#[test]
fn handshakes_that_never_end() -> Result<()> {
    const DEAF: usize = 600;
    let lab = Lab::new()
        .limit("max_handshakes", "100")
        .limit("max_connections_per_ip", "5_000")
        .config(|config| config.listener_keys = "tcp = true\n".into())
        .start()?;
    let ports = Arc::new(Mutex::new(BTreeSet::new()));
    let deaf = Arc::clone(&ports);
    let relay = lab.relay(move |towards, frame| {
        let mut deaf = deaf.lock().unwrap_or_else(PoisonError::into_inner);
        match (towards, frame::parse(frame).ok()) {
            (Towards::Router, Some(datagram)) if deaf.len() < DEAF => {
                deaf.insert(datagram.source.port);
            }
            (Towards::Clients, Some(datagram)) if deaf.contains(&datagram.destination.port) => return Vec::new(),
            (Towards::Router | Towards::Clients, _) => {}
        }
        vec![frame.to_vec()]
    })?;
    let clients = QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/1000");
    let _deaf = clients.clone().connections(DEAF as u64).start()?;
    // Half of each worker's room, then clients have to show that they hear.
    lab.await_status(|status| status.totals.handshakes_now == 200 && status.totals.retried >= 400)?;
    let router = lab.wire().router(PORT);
    let mut silent = relay.clients().enter(|| {
        let connect = |_| Ok(TcpStream::connect(router)?);
        (0..500).map(connect).collect::<Result<Vec<_>>>()
    })?;
    lab.await_status(|status| status.totals.tcp_connections_now == 500)?;

    in_time(&clients.connections(100).at_once(2).succeed()?)?;
    for _ in 0..20 {
        let curl = Curl::over("--http2", relay.clients(), &lab.url("/bytes/1000")).option("--output");
        let took = curl.option("/dev/null").option("--write-out").option("%{time_appconnect}").succeed()?;
        let took: f64 = took.trim().parse().with_context(|| format!("{took:?}"))?;
        ensure!(Duration::from_secs_f64(took) < FIRST_TIMEOUT, "TLS over TCP after {took} s");
    }
    let now = lab.control().status()?.totals;
    ensure!(now.handshakes_now >= 200 && now.tcp_connections_now >= 500, "the crowd has gone: {now:?}");
    // Who says nothing is closed after `request_timeout`, and gives its place back.
    lab.await_status(|status| status.totals.tcp_connections_now == 0)?;
    ensure!(matches!(silent[0].read(&mut [0]), Ok(0)), "nobody has closed it");
    Ok(())
}

fn in_time(new: &Summary) -> Result<()> {
    let worst = Duration::from_micros(new.handshakes.worst);
    println!("handshakes took {:?} in the median, {worst:?} at worst", Duration::from_micros(new.handshakes.p50));
    ensure!(worst < FIRST_TIMEOUT, "{:?}", new.handshakes);
    Ok(())
}
