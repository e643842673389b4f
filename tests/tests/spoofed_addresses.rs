//! Does a sender that spoofs another's address gain nothing, and does the other lose nothing?

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::{Result, ensure};
use router_common::frame;
use router_tests::{
    lab::{
        Lab, PORT, Towards,
        peers::{Curl, QuicGo},
        unanswered,
        wire::Sender,
    },
    packets::{Packet, quic::Quic},
};

/// 22 Initials with a client's address, at a limit of 20, had refused the client itself, over QUIC and TCP.
#[test]
fn spoofed_initials_lock_no_client_out() -> Result<()> {
    let lab = Lab::new().workers(1).limit("max_connections_per_ip", "20").tcp().start()?;
    // A client that begins and hears nothing is the same to the router as a spoofed source.
    let relay = lab.relay(unanswered(22))?;
    let clients = QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/1000");
    let _unanswered = clients.clone().connections(22).start()?;
    lab.await_status(|status| status.totals.handshakes_now == 20 && status.totals.retried >= 2)?;
    clients.connections(5).succeed()?;
    let by_tcp =
        Curl::over("--http1.1", relay.clients(), &lab.url("/echo")).option("--data-raw").option("twelve bytes");
    assert_eq!(by_tcp.succeed()?.trim_end(), "twelve bytes");
    let totals = lab.control().status()?.totals;
    assert_eq!((totals.accepted, totals.tcp_accepted, totals.refused_per_ip), (5, 1, 0), "{totals:?}");
    Ok(())
}

/// A datagram with another source had carried a request whose server was told that other address.
#[test]
fn no_server_is_told_a_spoofed_address() -> Result<()> {
    let lab = Lab::new().workers(1).start()?;
    let [real, forged] = lab.wire().client4();
    let (router, here) = (lab.wire().router4(), Arc::new(AtomicU64::new(0)));
    let count = here.clone();
    let relay = lab.relay(move |towards, frame| {
        let Ok(datagram) = frame::parse(frame) else { return vec![frame.to_vec()] };
        if towards == Towards::Clients {
            // The client does not receive there.
            let is_lost = frame[30..34] == forged.octets();
            return if is_lost { Vec::new() } else { vec![frame.to_vec()] };
        }
        let payload = &frame[datagram.payload.at..][..datagram.payload.length];
        // One of three packets that have a request in them: the client sends it again, from where it is. Of a
        // packet that has none it would know nothing, and both would wait for each other.
        let has_request = payload[0] & 0x80 == 0 && payload.len() >= SHORTEST_REQUEST;
        if !has_request || !count.fetch_add(1, Relaxed).is_multiple_of(3) {
            return vec![frame.to_vec()];
        }
        let (source, destination) = (datagram.source.port, datagram.destination.port);
        let packet = Packet::udp(at(forged, source), at(router, destination), payload);
        vec![packet.overwrite(0, &frame[..12]).frame()]
    })?;
    let clients = QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/field/x-forwarded-for");
    let summary = clients.requests(10).option("pause", "20ms").flag("bodies").succeed()?;
    assert_eq!(summary.bodies, BTreeMap::from([(real.to_string(), 10)]));
    ensure!(here.load(Relaxed) >= 12, "few requests had another source: {} packets", here.load(Relaxed));
    Ok(())
}

/// Junk had as many entries in the flow table as there were packets of it.
#[test]
fn initials_that_begin_no_connection_write_no_flow() -> Result<()> {
    let lab = Lab::new().workers(1).start()?;
    let (wire, count) = (lab.wire(), 200_u32);
    let before = lab.control().status()?.totals;
    let sender = Sender::new(wire.namespace(), "router0")?;
    let [router, client] = wire.macs();
    for number in 0..count {
        let junk = Quic::initial(VERSION, &number.to_be_bytes());
        let packet = Packet::udp(at(wire.client4()[0], 40_000), at(wire.router4(), PORT), junk);
        sender.send(&packet.overwrite(0, &[router, client].concat()).frame())?;
    }
    let dropped = |now: u64| now - before.datagrams_dropped;
    let after = lab.await_status(|status| dropped(status.totals.datagrams_dropped) == u64::from(count))?.totals;
    assert_eq!((after.connections_now, after.retried, after.datagrams_sent), (0, 0, before.datagrams_sent));
    if lab.has_maps()? {
        assert_eq!(lab.control().flows()?.flows.len(), 0);
    }
    Ok(())
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    (address, port).into()
}

const VERSION: u32 = 1;

/// Octets of a packet with a request's HEADERS; one with nothing but acknowledgements has some forty.
const SHORTEST_REQUEST: usize = 60;
