//! Does a connection keep its worker where steering QUIC is hard: ClientHellos in two Initials, lost, repeated and
//! coalesced packets, key updates, unknown versions, junk, answers before the request?

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Result, ensure};
use router_common::{
    connection_id::ConnectionId,
    frame::{self, Datagram},
    quic::{self, Kind},
};
use router_tests::{
    content,
    lab::{
        Lab, PORT, Towards,
        peers::{Aioquic, QuicGo},
        wire::{Capture, Direction},
    },
    packets::quic::{Quic, V1},
};

/// Post-quantum key shares do not fit one datagram. Both halves have to reach one worker.
#[test]
fn a_client_hello_in_two_initials() -> Result<()> {
    let lab = Lab::new().start()?;
    let capture = Capture::start(lab.wire().namespace(), "router0")?;
    lab.quic_go().get("/bytes/20000").connections(100).succeed()?;
    let flights = first_flights(&capture.stop()?);
    assert_eq!(flights.len(), 100);
    assert!(flights.values().all(|&initials| initials >= 2), "they fit one datagram: {flights:?}");
    lab.expect_no_packet_lost()
}

/// The other case, so that the one above is known to test what it says.
#[test]
fn a_client_hello_in_one_initial() -> Result<()> {
    let lab = Lab::new().start()?;
    let capture = Capture::start(lab.wire().namespace(), "router0")?;
    lab.quic_go().get("/bytes/20000").flag("classic").connections(20).at_once(1).succeed()?;
    let flights = first_flights(&capture.stop()?);
    assert_eq!(flights.len(), 20);
    // Where the CPUs are busy, some send it again after a probe timeout (RFC 9002 section 6.2).
    let single = flights.values().filter(|&&initials| initials == 1).count();
    assert!(single >= 10, "{single} of 20: {flights:?}");
    lab.expect_no_packet_lost()
}

/// The server's first answers are lost, so the clients send their Initials again, with the
/// connection ID they chose, to a connection that exists already.
#[test]
fn retransmitted_initials_begin_no_second_connection() -> Result<()> {
    let lab = Lab::new().start()?;
    let answers = Arc::new(Mutex::new(BTreeMap::<u16, u32>::new()));
    let initials = Arc::new(Mutex::new(BTreeMap::<u16, u32>::new()));
    let (lost, seen) = (answers.clone(), initials.clone());
    let relay = lab.relay(move |towards, frame| {
        let datagram = frame::parse(frame).ok();
        let client = datagram.map(|datagram| match towards {
            Towards::Router => datagram.source.port,
            Towards::Clients => datagram.destination.port,
        });
        let (Some(client), Some(datagram)) = (client, datagram) else { return vec![frame.to_vec()] };
        match towards {
            Towards::Clients if count(&lost, client) <= 3 => Vec::new(),
            Towards::Clients => vec![frame.to_vec()],
            Towards::Router => {
                if kind(frame, &datagram) == Some(Kind::Initial) {
                    count(&seen, client);
                }
                vec![frame.to_vec()]
            }
        }
    })?;
    QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/20000").connections(20).succeed()?;
    let initials = initials.lock().unwrap_or_else(PoisonError::into_inner);
    // Two make a ClientHello, and a third acknowledges the server's Initial.
    assert!(initials.len() == 20 && initials.values().all(|&count| count > 3), "not sent again: {initials:?}");
    assert_eq!(lab.control().status()?.totals.accepted, 20, "a connection was made twice");
    lab.expect_no_packet_astray()
}

/// Every frame arrives twice.
#[test]
fn duplicated_packets_begin_no_second_connection() -> Result<()> {
    let lab = Lab::new().start()?;
    let relay = lab.relay(|_, frame| vec![frame.to_vec(); 2])?;
    QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/20000").connections(20).succeed()?;
    assert_eq!(lab.control().status()?.totals.accepted, 20, "a connection was made twice");
    lab.expect_no_packet_astray()
}

/// The ServerHello is lost again and again, while Handshake packets and bare acknowledgements arrive. They are all in
/// flight, and must leave room to send it again.
#[test]
fn lost_server_hellos_are_sent_again() -> Result<()> {
    let lab = Lab::new().start()?;
    let losses = Arc::new(Mutex::new(BTreeMap::<u16, u32>::new()));
    let lost = losses.clone();
    let relay = lab.relay(move |towards, frame| {
        let datagram = frame::parse(frame).ok().filter(|_| towards == Towards::Clients);
        let hello = datagram.filter(|datagram| {
            // One that carries CRYPTO frames is padded.
            datagram.payload.length >= 1000 && kind(frame, datagram) == Some(Kind::Initial)
        });
        match hello {
            Some(datagram) if count(&lost, datagram.destination.port) <= 3 => Vec::new(),
            _ => vec![frame.to_vec()],
        }
    })?;
    Aioquic::new(relay.clients(), &lab.url("/bytes/20000")).connections(5).succeed()?;
    let losses = losses.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(losses.len() == 5 && losses.values().all(|&count| count > 3), "not sent again: {losses:?}");
    lab.expect_no_packet_astray()
}

/// What the client says once it has the server's flight is lost again and again: the server may not send more than
/// three times what came, and has to go on when the client is heard.
#[test]
fn lost_handshake_packets_of_clients_are_survived() -> Result<()> {
    let lab = Lab::new().start()?;
    let losses = Arc::new(Mutex::new(BTreeMap::<u16, u32>::new()));
    let lost = losses.clone();
    let relay = lab.relay(move |towards, frame| {
        let datagram = frame::parse(frame).ok().filter(|_| towards == Towards::Router);
        let of_handshake = datagram
            .filter(|datagram| is_coalesced(frame) || kind(frame, datagram).is_some_and(|kind| kind != Kind::Initial));
        match of_handshake {
            Some(datagram) if count(&lost, datagram.source.port) <= 6 => Vec::new(),
            _ => vec![frame.to_vec()],
        }
    })?;
    QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/20000").connections(5).succeed()?;
    let losses = losses.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(losses.len() == 5 && losses.values().all(|&count| count > 6), "not sent again: {losses:?}");
    lab.expect_no_packet_astray()
}

/// The key phase is a bit of the first octet (RFC 9001 section 6), of which steering may read the header form only.
#[test]
fn key_updates_half_way() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.aioquic("/bytes/20000").connections(20).requests(6).updating_keys().succeed()?;
    lab.expect_no_packet_lost()
}

/// What decides is the first packet of a datagram, and all in it belong together.
#[test]
fn coalesced_packets_go_to_one_worker() -> Result<()> {
    let lab = Lab::new().start()?;
    let capture = Capture::start(lab.wire().namespace(), "router0")?;
    lab.quic_go().get("/bytes/20000").connections(20).succeed()?;
    lab.aioquic("/bytes/20000").connections(20).succeed()?;
    let frames = capture.stop()?;
    let coalesced =
        frames.iter().filter(|(direction, frame)| *direction == Direction::Out && is_coalesced(frame)).count();
    assert!(coalesced >= 20, "only {coalesced} datagrams of an Initial and another packet");
    lab.expect_no_packet_lost()
}

/// The upstream answers before it has read the request. The client still gets a whole answer,
/// and no reset that it would count as a failure.
#[test]
fn an_answer_before_the_request_is_read() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.quic_go().get("/early").option("post", 1_000_000).connections(20).requests(3).succeed()?;
    lab.expect_no_packet_astray()
}

/// The same with the built-in page, which has no use for a body.
#[test]
fn an_answer_without_reading_the_request() -> Result<()> {
    let lab = Lab::new().config(|config| config.rest.clear()).start()?;
    lab.quic_go().get("/").option("post", 1_000_000).connections(20).requests(3).succeed()?;
    lab.expect_no_packet_astray()
}

#[test]
fn an_unknown_version_is_answered_with_version_negotiation() -> Result<()> {
    let lab = Lab::new().engine("xdp").start()?;
    let wire = lab.wire();
    let client = wire.namespace().enter(|| Ok(UdpSocket::bind((wire.client4()[0], 0))?))?;
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    let before = lab.counters()?;
    client.send_to(&Vec::from(Quic::unknown_version(b"whatever", 1200)), wire.router(PORT))?;
    let mut answer = [0; 1500];
    let length = client.recv(&mut answer)?;
    assert_eq!(answer[1..5], [0; 4], "no version negotiation: {:02x?}", &answer[..length]);
    let versions = &answer[7 + 8 + 4..length];
    assert!(versions.chunks(4).any(|version| version == V1.to_be_bytes()), "{versions:02x?}");
    before.expect("xdp", &[("assigned", 1)])
}

/// Junk to a listener's port, beside clients: none of them is disturbed.
#[test]
fn junk_beside_connections_disturbs_none() -> Result<()> {
    let lab = Lab::new().start()?;
    let wire = lab.wire();
    let socket = wire.namespace().enter(|| Ok(UdpSocket::bind((wire.client4()[0], 0))?))?;
    let clients = lab.quic_go().get("/bytes/200000").connections(50).start()?;
    let mut sent = 0_u64;
    while !clients.ends_within(Duration::from_millis(1)) {
        for length in [1, 20, 21, 100, 1199, 1200, 1400] {
            socket.send_to(&content::pattern(sent, sent + length), wire.router(PORT))?;
            sent += length;
        }
    }
    clients.succeed()?;
    assert_eq!(lab.control().status()?.totals.accepted, 50);
    ensure!(!lab.has_xdp_engine()? || lab.control().status()?.totals.handed_over == 0, "a worker got another's");
    Ok(())
}

/// For each connection, how many Initials its client sent with the connection ID of its first: the one it chose.
/// By its source connection ID, that stays the same; a client may get the port of one before it.
fn first_flights(frames: &[(Direction, Vec<u8>)]) -> BTreeMap<Vec<u8>, u32> {
    let mut flights = BTreeMap::<Vec<u8>, (ConnectionId, u32)>::new();
    for (_, frame) in frames.iter().filter(|(direction, _)| *direction == Direction::Out) {
        let Ok(datagram) = frame::parse(&frame[..]) else { continue };
        let Ok(header) = quic::classify(&frame[..], datagram.payload, OUR_CID_LENGTH) else { continue };
        if header.kind == Kind::Initial {
            let payload = &frame[datagram.payload.at..][..datagram.payload.length];
            let Some(source) = source_connection_id(payload) else { continue };
            let (chosen, count) = flights.entry(source.to_vec()).or_insert((header.destination, 0));
            *count += u32::from(*chosen == header.destination);
        }
    }
    flights.into_iter().map(|(source, (_, count))| (source, count)).collect()
}

/// The source connection ID of the long header that `payload` begins with (RFC 8999 section 5.1).
fn source_connection_id(payload: &[u8]) -> Option<&[u8]> {
    let (_, rest) = payload.split_at_checked(5)?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = rest.get(usize::from(*length)..)?.split_first()?;
    rest.get(..usize::from(*length))
}

fn kind(frame: &[u8], datagram: &Datagram) -> Option<Kind> {
    quic::classify(frame, datagram.payload, OUR_CID_LENGTH).ok().map(|header| header.kind)
}

/// Whether the datagram in `frame` is an Initial with another long-header packet behind it.
fn is_coalesced(frame: &[u8]) -> bool {
    let Ok(datagram) = frame::parse(frame) else { return false };
    let payload = &frame[datagram.payload.at..][..datagram.payload.length];
    kind(frame, &datagram) == Some(Kind::Initial)
        && end_of_initial(payload).and_then(|end| payload.get(end)).is_some_and(|first| first & 0x80 != 0)
}

/// Where the Initial that `payload` begins with ends (RFC 9000 section 17.2.2).
fn end_of_initial(payload: &[u8]) -> Option<usize> {
    let mut at = 5;
    for _destination_and_source in 0..2 {
        at += 1 + usize::from(*payload.get(at)?);
    }
    let (token, at) = varint(payload, at)?;
    let (length, at) = varint(payload, at + token)?;
    Some(at + length)
}

/// A variable-length integer at `at`, and where it ends (RFC 9000 section 16).
fn varint(octets: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *octets.get(at)?;
    let length = 1 << (first >> 6);
    let rest = octets.get(at + 1..at + length)?;
    let value = rest.iter().fold(usize::from(first & 0x3f), |value, &octet| value << 8 | usize::from(octet));
    Some((value, at + length))
}

/// One more of `key`; how many that makes.
fn count(counts: &Mutex<BTreeMap<u16, u32>>, key: u16) -> u32 {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(key).or_default();
    *count += 1;
    *count
}

const OUR_CID_LENGTH: usize = 17;
