//! Is a new handshake finished at once, however many other clients are connected or stay in their handshakes?

use std::{io::Read, net::TcpStream, time::Duration};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Lab, PORT,
    peers::{Curl, QuicGo, Summary},
    unanswered,
};

/// After that a client sends its first flight again (RFC 9002 section 6.2.2): a handshake that takes so long has
/// been kept waiting.
const FIRST_TIMEOUT: Duration = Duration::from_millis(999);

#[test]
fn handshakes_beside_a_thousand_idle_connections() -> Result<()> {
    let lab = Lab::new().limit("max_connections_per_ip", "5_000").start()?;
    let idle = lab.quic_go().echo(100).connections(1_000).at_once(1_000).holding(Duration::from_secs(20)).start()?;
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
fn handshakes_beside_some_that_never_finish() -> Result<()> {
    const UNANSWERED: usize = 600;
    let lab = Lab::new().limit("max_handshakes", "100").limit("max_connections_per_ip", "5_000").tcp().start()?;
    let relay = lab.relay(unanswered(UNANSWERED))?;
    let clients = QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/1000");
    let _unanswered = clients.clone().connections(UNANSWERED as u64).start()?;
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
        let curl = Curl::over("--http2", relay.clients(), &lab.url("/bytes/1000"));
        let took = curl.writing("%{time_appconnect}").succeed()?;
        let took: f64 = took.trim().parse().with_context(|| format!("{took:?}"))?;
        ensure!(Duration::from_secs_f64(took) < FIRST_TIMEOUT, "TLS over TCP after {took} s");
    }
    let now = lab.control().status()?.totals;
    ensure!(now.handshakes_now >= 200 && now.tcp_connections_now >= 500, "the crowd has gone: {now:?}");
    // A silent connection is closed after `request_timeout`, and no longer counts.
    lab.await_status(|status| status.totals.tcp_connections_now == 0)?;
    ensure!(matches!(silent[0].read(&mut [0]), Ok(0)), "the router has not closed it");
    Ok(())
}

fn in_time(new: &Summary) -> Result<()> {
    let worst = Duration::from_micros(new.handshakes.worst);
    println!("handshakes took {:?} in the median, {worst:?} at worst", Duration::from_micros(new.handshakes.p50));
    ensure!(worst < FIRST_TIMEOUT, "{:?}", new.handshakes);
    Ok(())
}
