//! Are the limits of the configuration kept, and do those within them notice nothing?

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use router_common::frame;
use router_tests::lab::{Lab, PORT, Towards, peers::QuicGo, until};

#[test]
fn connections_of_the_node() -> Result<()> {
    let lab = Lab::new().limit("max_connections", "10").start()?;
    let summary = lab.quic_go().get("/bytes/1000").connections(30).holding(HOLD).run()?;
    assert_eq!(summary.requests_ok, 10, "{summary:?}");
    // A client of several Initials is refused with each of them: nothing is kept about it.
    assert!(lab.control().status()?.totals.refused_connections >= 20);
    // Whoever leaves makes room.
    lab.await_status(|status| status.totals.connections_now == 0)?;
    lab.quic_go().get("/bytes/1000").connections(10).succeed()?;
    lab.expect_no_packet_lost()
}

#[test]
fn connections_of_an_address() -> Result<()> {
    let lab = Lab::new().limit("max_connections_per_ip", "5").start()?;
    let [one, other] = lab.wire().client4();
    let from = |address| lab.quic_go().get("/bytes/1000").option("local", address).holding(HOLD);
    let crowd = from(one).connections(20).start()?;
    lab.await_status(|status| status.totals.accepted >= 5)?;
    // The crowd takes nothing from its neighbour.
    from(other).connections(5).succeed()?;
    let summary = crowd.finish()?;
    assert_eq!(summary.requests_ok, 5, "{summary:?}");
    assert!(lab.control().status()?.totals.refused_per_ip >= 15);
    lab.expect_no_packet_lost()
}

/// Whoever begins handshakes and never answers fills half of the room. From then on clients
/// have to show that they get what is sent to their address, and those that do are served.
#[test]
fn half_open_handshakes() -> Result<()> {
    let lab = Lab::new().workers(1).limit("max_handshakes", "16").start()?;
    let deaf = Arc::new(Mutex::new(BTreeSet::new()));
    let listeners = deaf.clone();
    let relay = lab.relay(move |towards, frame| {
        let datagram = frame::parse(frame).ok();
        let mut deaf = listeners.lock().unwrap_or_else(PoisonError::into_inner);
        match (towards, datagram) {
            (Towards::Router, Some(datagram)) if deaf.len() < 20 => {
                deaf.insert(datagram.source.port);
            }
            (Towards::Clients, Some(datagram)) if deaf.contains(&datagram.destination.port) => return Vec::new(),
            (Towards::Router | Towards::Clients, _) => {}
        }
        vec![frame.to_vec()]
    })?;
    let clients = QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/1000");
    let _deaf = clients.clone().connections(20).start()?;
    let before = lab.await_status(|status| status.totals.handshakes_now == 8 && status.totals.retried >= 12)?.totals;
    clients.connections(5).succeed()?;
    let after = lab.control().status()?.totals;
    assert_eq!((after.accepted, after.refused_handshakes), (5, 0), "{after:?}");
    assert!(after.retried >= before.retried + 5, "they were not sent a Retry: {before:?} {after:?}");
    Ok(())
}

/// Clients that begin and never finish have all of the room. Those that come after them are served, and
/// the others are gone in time, whatever they send meanwhile (solana#26019, quic-go#2930).
#[test]
fn handshakes_that_never_finish() -> Result<()> {
    let lab = Lab::new().workers(1).limit("max_handshakes", "8").limit("request_timeout", "\"3s\"").start()?;
    let endless = Arc::new(Mutex::new(BTreeMap::new()));
    let seen = Arc::clone(&endless);
    let relay = lab.relay(move |towards, frame| {
        let Ok(datagram) = frame::parse(frame) else { return vec![frame.to_vec()] };
        let mut endless = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_answered = match towards {
            Towards::Router if endless.len() < ENDLESS => *endless.entry(datagram.source.port).or_insert(false),
            Towards::Router => endless.get(&datagram.source.port).copied().unwrap_or(false),
            Towards::Clients => {
                // A Retry is answered, what comes after it is not.
                let is_retry = frame[datagram.payload.at] & 0xf0 == 0xf0;
                if let Some(answered) = endless.get_mut(&datagram.destination.port) {
                    *answered |= !is_retry;
                }
                false
            }
        };
        if is_answered { Vec::new() } else { vec![frame.to_vec()] }
    })?;
    let clients = QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/1000");
    let (begun, _endless) = (Instant::now(), clients.clone().connections(ENDLESS as u64).start()?);
    // All of them, or one that comes after them would be taken for the last: a client may send its Initial twice.
    until(|| Ok(count_answered(&endless)), |answered| *answered == ENDLESS)?;
    let full = lab.await_status(|status| status.totals.retried >= 16 && status.totals.refused_handshakes >= 12)?;
    assert!(full.totals.handshakes_now <= 8, "{:?}", full.totals);
    clients.connections(5).succeed()?;
    lab.await_status(|status| status.totals.handshakes_now == 0)?;
    assert!(begun.elapsed() < Duration::from_secs(9), "the clients give up by themselves after ten");
    assert_eq!(lab.control().status()?.totals.accepted, 5);
    Ok(())
}

/// How many of the clients, by their ports, have had an answer other than a Retry.
fn count_answered(endless: &Mutex<BTreeMap<u16, bool>>) -> usize {
    endless.lock().unwrap_or_else(PoisonError::into_inner).values().filter(|is_answered| **is_answered).count()
}

/// So many clients never finish their handshakes.
const ENDLESS: usize = 20;
/// So long the connections within the limit stay, for the others to meet it.
const HOLD: Duration = Duration::from_secs(2);
