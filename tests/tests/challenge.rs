//! Do clients that have to show that they receive at their address (RFC 9000 section 8.1.2) get through, and does
//! nothing else that they send wake a worker?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use router_tests::{
    lab::{
        ENGINES, Lab, Link, PORT, Program, Running, Scenario, Scene,
        peers::{Curl, Ngtcp2, QuicGo, S2n},
        unanswered, until,
        wire::Sender,
    },
    packets::{
        Packet,
        quic::{Kind, Quic, V1},
    },
};
use router_userspace::agent::api;

/// Each implementation takes the Retry of the XDP program for a server's, and no worker sends another.
#[test]
fn every_client_obeys_a_retry_of_xdp() -> Result<()> {
    let (lab, _passing) = asking(Lab::new().by_xdp(), "always")?;
    for (name, run) in clients() {
        let before = lab.counters()?;
        run(&lab).context(name)?;
        let retried = moved(&before.moved()?, "xdp.retried");
        ensure!(retried >= 1, "{name} was not asked");
        println!("{name}: {retried} Retries");
    }
    ensure!(lab.control().status()?.totals.retried == 0, "a worker asked, too");
    lab.expect_no_packet_astray()
}

/// Where XDP cannot ask, the workers do.
#[test]
fn with_each_engine_each_client_is_asked() -> Result<()> {
    for engine in ENGINES {
        let lab = Lab::new().engine(engine).admission("challenge", "\"always\"").start()?;
        lab.quic_go().get("/bytes/20000").connections(20).succeed().context(engine)?;
        // A client whose first flight has several datagrams is asked for each of them.
        ensure!(lab.control().status()?.totals.retried >= 20, "{engine}: {:?}", lab.control().status()?.totals);

        for clients in [lab.s2n("/bytes/20000"), lab.s2n("/bytes/20000").hybrid()] {
            let before = lab.control().status()?.totals;
            clients.connections(20).succeed().context(engine)?;
            let after = lab.control().status()?.totals;
            let (accepted, retried) = (after.accepted - before.accepted, after.retried - before.retried);
            ensure!(accepted == 20 && retried >= 20, "{engine}: {accepted} accepted, {retried} asked");
        }
    }
    Ok(())
}

/// Each datagram of a first flight gets a Retry, a client takes one of them, and is in with its second flight.
#[test]
fn a_retry_costs_s2n_quic_one_round_trip() -> Result<()> {
    let (lab, _passing) = asking(Lab::new().by_xdp(), "always")?;
    let (link, scene) =
        (Link { delay: ROUND_TRIP / 2, rate: 1_000_000_000, queue: 10_000 }, Scene::new(Scenario::Clear, 0));
    let relay = lab.distance(link, &scene)?;
    let clients = S2n::new(relay.clients(), &lab.url("/bytes/20000")).connections(10);
    for (clients, initials) in [(clients.clone(), 1), (clients.hybrid(), 2)] {
        let (before, passed, totals) = (lab.counters()?, scene.passed(), lab.control().status()?.totals);
        let took = Duration::from_micros(clients.succeed()?.handshakes.p50);
        ensure!((2 * ROUND_TRIP..3 * ROUND_TRIP).contains(&took), "{initials} Initials: a handshake took {took:?}");
        let (moved, now) = (moved(&before.moved()?, "xdp.retried"), lab.control().status()?.totals);
        // One that is kept waiting by a busy machine sends its first flight again.
        ensure!(moved >= 10 * initials, "{initials} Initials: {moved} Retries");
        ensure!(scene.passed().retries - passed.retries == moved, "{moved} Retries, and {:?}", scene.passed());
        ensure!((now.accepted - totals.accepted, now.retried) == (10, 0), "{now:?}");
    }
    lab.expect_no_packet_astray()
}

/// Second flights carry the token, or a connection ID of ours: none is asked again, and no early one is lost.
#[test]
fn a_thousand_handshakes_and_none_is_asked_twice() -> Result<()> {
    let (lab, _passing) = asking(Lab::new().by_xdp(), "always")?;
    for over_ipv6 in [false, true, false, true, false] {
        let address = if over_ipv6 { (lab.wire().router6(), PORT).into() } else { lab.wire().router(PORT) };
        QuicGo::new(lab.wire().namespace(), address).get("/bytes/1000").connections(200).succeed()?;
    }
    let totals = lab.control().status()?.totals;
    ensure!((totals.accepted, totals.retried) == (1_000, 0), "{totals:?}");
    lab.expect_no_packet_astray()
}

/// The probe of a new generation is not asked, or it would be placed elsewhere; its clients are.
#[test]
fn an_upgrade_where_each_client_is_asked() -> Result<()> {
    let (lab, _passing) = asking(Lab::new().by_xdp(), "always")?;
    lab.agent()?.upgrade(None)?;
    let before = lab.counters()?;
    lab.quic_go().get("/bytes/20000").connections(20).succeed()?;
    ensure!(moved(&before.moved()?, "xdp.retried") >= 20, "{:?}", before.moved()?);
    Ok(())
}

/// Connections that exist are asked nothing, wherever they come from.
#[test]
fn a_connection_that_moves_is_not_asked() -> Result<()> {
    let (lab, _passing) = asking(Lab::new().by_xdp(), "always")?;
    let before = lab.counters()?;
    lab.quic_go().echo(200_000).connections(20).rebinding_at(50_000).succeed()?;
    let moved = before.moved()?;
    ensure!(self::moved(&moved, "xdp.challenge_limited") == 0, "{moved:?}");
    lab.expect_no_packet_astray()
}

/// Of a flood from addresses that are forged, workers get what `new_total` says; clients get through.
#[test]
fn a_flood_of_initials_is_asked_and_clients_get_through() -> Result<()> {
    let (lab, _passing) = asking(Lab::new().by_xdp().admission("new_total", "100"), "auto")?;
    let (sender, before, begun) = (Sender::new(lab.wire().namespace(), "router0")?, lab.counters()?, Instant::now());
    (0..MANY).try_for_each(|n| sender.send(&forged(n, Kind::Initial)))?;
    let seen = until(|| before.moved(), |seen| moved(seen, "xdp.retried") + moved(seen, "xdp.assigned") == MANY)?;
    // A tenth of a second's at once. The clock of the kernel's programs is up to a tick behind.
    let most = 10.0 + 100.0 * begun.elapsed().as_secs_f64() + 2.0;
    let let_through = moved(&seen, "xdp.assigned");
    ensure!(let_through >= 10 && let_through as f64 <= most, "{let_through} let through, at most {most}: {seen:?}");
    let clients = lab.quic_go().get("/bytes/20000").connections(50).start()?;
    let mut n = MANY;
    while !clients.ends_within(Duration::from_millis(1)) {
        (0..100).try_for_each(|more| sender.send(&forged(n + more, Kind::Initial)))?;
        n += 100;
    }
    clients.succeed()?;
    // What cannot be asked ends here.
    let before = lab.counters()?;
    (0..MANY).try_for_each(|n| sender.send(&forged(n, Kind::ZeroRtt)))?;
    let limited = |seen: &_| moved(seen, "xdp.challenge_limited");
    let seen = until(|| before.moved(), |seen| limited(seen) + moved(seen, "xdp.assigned") == MANY)?;
    ensure!(limited(&seen) > MANY / 2, "{seen:?}");
    Ok(())
}

/// A prefix that sends more than its share is asked, those in it that are honest get through, and no other is asked.
#[test]
fn a_flood_of_one_prefix_has_that_prefix_asked() -> Result<()> {
    let lab = Lab::new().by_xdp().clients(2).admission("new_per_source", "10").admission("new_per_source_burst", "60");
    let (lab, _passing) = asking(lab, "auto")?;
    let [here, there] = lab.network().clients() else { bail!("two wires") };
    let _passing_there = there.receiving_by_xdp()?;
    let (sender, before, begun) = (Sender::new(here.namespace(), "router0")?, lab.counters()?, Instant::now());
    (0..MANY).try_for_each(|n| sender.send(&from([10, 77, 1, n as u8], n, Kind::Initial)))?;
    let seen = until(|| before.moved(), |seen| moved(seen, "xdp.retried") + moved(seen, "xdp.assigned") == MANY)?;
    let (most, let_through) = (60.0 + 10.0 * begun.elapsed().as_secs_f64() + 2.0, moved(&seen, "xdp.assigned"));
    ensure!(let_through >= 60 && let_through as f64 <= most, "{let_through} let through, at most {most}: {seen:?}");

    let before = lab.counters()?;
    lab.quic_go().get("/bytes/20000").connections(10).succeed()?;
    ensure!(moved(&before.moved()?, "xdp.retried") == 0, "{:?}", before.moved()?);
    let explained = lab.control().explain(&from([10, 77, 1, 7], 7, Kind::Initial))?;
    // How much it may send by now is another question.
    let said = |one: &api::Step| one.finding.contains("from 10.77.1.0/24 (admission.new_per_source)");
    ensure!(explained.steps.iter().any(said), "{explained:?}");
    QuicGo::new(there.namespace(), there.router(PORT)).get("/bytes/20000").connections(10).succeed()?;
    let seen = before.moved()?;
    ensure!(moved(&seen, "xdp.retried") >= 10 && moved(&seen, "xdp.source_limited") == 0, "{seen:?}");
    let top: api::AdmissionTop = serde_json::from_str(&lab.cli(&["admission", "top", "--json"])?.succeeded()?.stdout)?;
    let source = &top.sources[0];
    ensure!(
        top.sources.len() == 1 && source.prefix == "10.77.1.0/24" && source.admitted >= 10 && source.refused == 0,
        "{top:?}"
    );
    Ok(())
}

/// Handshakes that are begun and not completed have each client asked, as long as they are open.
#[test]
fn half_open_handshakes_have_each_client_asked() -> Result<()> {
    let lab = Lab::new().by_xdp().workers(1).limit("max_handshakes", "16").limit("request_timeout", "\"3s\"");
    let (lab, _passing) = asking(lab, "auto")?;
    let relay = lab.relay(unanswered(20))?;
    let clients = QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/1000");
    let before = lab.counters()?;
    let _deaf = clients.clone().connections(20).start()?;
    until(|| before.moved(), |seen| moved(seen, "xdp.retried") > 0)?;
    let before = lab.counters()?;
    clients.clone().connections(5).succeed()?;
    ensure!(moved(&before.moved()?, "xdp.retried") >= 5, "{:?}", before.moved()?);

    lab.await_status(|status| status.totals.handshakes_now == 0)?;
    let asked = || {
        let before = lab.counters()?;
        clients.clone().succeed()?;
        Ok(moved(&before.moved()?, "xdp.retried"))
    };
    until(asked, |&asked| asked == 0)?;
    Ok(())
}

/// A laboratory whose XDP program asks.
fn asking(lab: Lab, challenge: &str) -> Result<(Running, Program)> {
    let lab =
        lab.admission("answer_in_xdp", "\"always\"").admission("challenge", &format!("\"{challenge}\"")).start()?;
    let passing = lab.wire().receiving_by_xdp()?;
    Ok((lab, passing))
}

type Client = (&'static str, fn(&Running) -> Result<()>);

fn clients() -> [Client; 5] {
    [
        ("quic-go", |lab| lab.quic_go().get("/bytes/100000").connections(20).succeed().map(drop)),
        ("aioquic", |lab| lab.aioquic("/bytes/100000").connections(3).succeed().map(drop)),
        ("ngtcp2", |lab| Ngtcp2::new(lab.wire().namespace(), lab.wire().router(PORT), "/bytes/100000").succeed()),
        ("curl", |lab| Curl::new(lab.wire().namespace(), &lab.url("/whoami")).succeed().map(drop)),
        ("s2n-quic", |lab| lab.s2n("/bytes/100000").connections(20).succeed().map(drop)),
    ]
}

fn moved(counters: &std::collections::BTreeMap<String, u64>, name: &str) -> u64 {
    counters.get(name).copied().unwrap_or(0)
}

/// The `n`th first flight of a flood, each from another address.
fn forged(n: u64, kind: Kind) -> Vec<u8> {
    let [.., a, b] = n.to_be_bytes();
    from([10, 78, a, b | 1], n, kind)
}

/// The same from an address.
fn from(source: [u8; 4], n: u64, kind: Kind) -> Vec<u8> {
    let quic = Quic::long(kind, V1, &n.to_be_bytes()).padded_to(1_200);
    Packet::udp((source, 4_000), ([10, 77, 0, 1], PORT), quic).frame()
}

const MANY: u64 = 2_000;

/// Much shorter than a client's first timeout.
const ROUND_TRIP: Duration = Duration::from_millis(200);
