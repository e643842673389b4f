//! Do packets that are not for a listener (TCP, ICMP, ARP, fragments, other UDP ports) pass the XDP program, each counted
//! once?

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use anyhow::Result;
use router_common::{frame, reason::Reason};
use router_tests::{
    content,
    lab::{
        Lab, PORT, Running, Towards,
        peers::QuicGo,
        wire::{Capture, Direction, Sender},
    },
    packets::{self, Packet, quic::Quic},
};

#[test]
fn tcp_passes() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    for server in lab.wire().routers() {
        let before = lab.counters()?;
        let capture = Capture::start(lab.wire().namespace(), "router0")?;
        converse_over_tcp(&lab, (server, 22).into())?;
        // As many as the clients' end of the wire has sent.
        let sent = sent_by_clients(capture)?;
        assert!(sent.len() > 10 && sent.iter().all(|reason| *reason == Err(Reason::NotUdp)), "{sent:?}");
        before.expect("xdp", &[("not_udp", sent.len() as u64)])?;
    }
    Ok(())
}

#[test]
fn tcp_passes_beside_quic() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let clients = lab.quic_go().get("/bytes/1000000").connections(20).start()?;
    converse_over_tcp(&lab, (lab.wire().router4(), 22).into())?;
    clients.succeed()?;
    lab.expect_no_packet_astray()
}

#[test]
fn icmp_echo_passes() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let (wire, before) = (lab.wire(), lab.counters()?);
    let capture = Capture::start(wire.namespace(), "router0")?;
    let sender = Sender::new(wire.namespace(), "router0")?;
    for identifier in 0..10 {
        sender.send(&Packet::echo(wire.client4()[0], wire.router4(), identifier).frame())?;
        sender.send(&Packet::echo(wire.client6()[0], wire.router6(), identifier).frame())?;
    }
    before.expect("xdp", &[("not_udp", 20)])?;
    let answers = capture.stop()?.into_iter().filter(|(direction, _)| *direction == Direction::In);
    assert_eq!(answers.count(), 20, "an echo reply to each");
    Ok(())
}

#[test]
fn udp_to_other_ports_passes() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let before = lab.counters()?;
    let (server, client) = udp_pair(&lab, lab.wire().router4().into())?;
    for i in 0..20_u8 {
        assert_eq!(to_and_fro(&client, &server, &[i; 100])?, [i; 100]);
    }
    let (server, client) = udp_pair(&lab, lab.wire().router6().into())?;
    for i in 0..20_u8 {
        assert_eq!(to_and_fro(&client, &server, &[i; 100])?, [i; 100]);
    }
    before.expect("xdp", &[("not_listener", 40)])
}

#[test]
fn ip_fragments_pass() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    for server in lab.wire().routers() {
        let before = lab.counters()?;
        let (server, client) = udp_pair(&lab, server)?;
        let datagram = content::pattern(0, 4000);
        assert!(to_and_fro(&client, &server, &datagram)? == datagram, "other octets");
        // 4,008 octets behind IP headers in frames of 1,500.
        before.expect("xdp", &[("fragment", 3)])?;
    }
    Ok(())
}

#[test]
fn an_initial_in_fragments_still_finds_a_worker() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let wire = lab.wire();
    wire.namespace().ip("link set router0 mtu 1280")?;
    let before = lab.counters()?;
    let client = wire.namespace().enter(|| Ok(UdpSocket::bind((wire.client4()[0], 0))?))?;
    let initial: Vec<u8> = Quic::unknown_version(b"whatever", 1400).into();
    client.send_to(&initial, wire.router(PORT))?;
    before.expect("xdp", &[("fragment", 2)])?;
    before.expect("select", &[("assigned", 1)])?;
    // It is a worker that answers: with the versions that it speaks.
    client.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 1500];
    let length = client.recv(&mut answer)?;
    assert_eq!(answer[1..5], [0; 4], "no version negotiation: {:02x?}", &answer[..length]);
    Ok(())
}

#[test]
fn arp_passes() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let wire = lab.wire();
    lab.network().router().ip(&format!("link set {} arp on", wire.router_interface()))?;
    let before = lab.counters()?;
    let capture = Capture::start(wire.namespace(), "router0")?;
    Sender::new(wire.namespace(), "router0")?.send(&packets::arp(wire.client4()[0], wire.router4()))?;
    before.expect("xdp", &[("not_ip", 1)])?;
    let answers = capture.stop()?;
    let answer = answers.iter().find(|(direction, frame)| *direction == Direction::In && frame[12..14] == [0x08, 0x06]);
    let (_, answer) = answer.expect("an ARP reply");
    assert_eq!(answer[22..28], wire.macs()[0], "the router's Ethernet address");
    Ok(())
}

/// Every frame of real clients is tagged on its way (as priority, which needs no interface
/// of the VLAN on the other side), and steered all the same.
#[test]
fn quic_in_vlan_tags_is_steered() -> Result<()> {
    let lab = Lab::new().by_xdp().start()?;
    let relay = lab.relay(|towards, frame| match towards {
        Towards::Router => vec![[&frame[..12], &[0x81, 0x00, 0xe0, 0x00], &frame[12..]].concat()],
        Towards::Clients => vec![frame.to_vec()],
    })?;
    QuicGo::new(relay.clients(), lab.wire().router(PORT)).get("/bytes/100000").connections(20).succeed()?;
    QuicGo::new(relay.clients(), (lab.wire().router6(), PORT).into()).get("/bytes/100000").connections(20).succeed()?;
    lab.expect_no_packet_lost()
}

/// A megabyte there and back, as a remote shell or a copy would.
fn converse_over_tcp(lab: &Running, server: SocketAddr) -> Result<()> {
    let listener = lab.network().router().enter(|| Ok(TcpListener::bind(server)?))?;
    let echo = thread::spawn(move || -> Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        Ok(stream.write_all(&received)?)
    });
    let mut client = lab.wire().namespace().enter(|| Ok(TcpStream::connect_timeout(&server, PATIENCE)?))?;
    client.set_read_timeout(Some(PATIENCE))?;
    let sent = content::pattern(0, 1_000_000);
    client.write_all(&sent)?;
    client.shutdown(Shutdown::Write)?;
    let mut back = Vec::new();
    client.read_to_end(&mut back)?;
    echo.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    assert!(back == sent, "other octets");
    Ok(())
}

/// What a decision about each frame would begin with: its datagram, or why it is none.
fn sent_by_clients(capture: Capture) -> Result<Vec<Result<(), Reason>>> {
    let frames = capture.stop()?.into_iter().filter(|(direction, _)| *direction == Direction::Out);
    Ok(frames.map(|(_, frame)| frame::parse(&frame[..]).map(drop)).collect())
}

/// A socket on the router's port 5000, and one connected to it among the clients.
fn udp_pair(lab: &Running, router: std::net::IpAddr) -> Result<(UdpSocket, UdpSocket)> {
    let server = lab.network().router().enter(|| Ok(UdpSocket::bind((router, 5000))?))?;
    let any: SocketAddr = if router.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
    let client = lab.wire().namespace().enter(|| Ok(UdpSocket::bind(any)?))?;
    client.connect((router, 5000))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    Ok((server, client))
}

/// Sends a datagram to the server, which sends it back; what came back.
fn to_and_fro(client: &UdpSocket, server: &UdpSocket, datagram: &[u8]) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 8192];
    client.send(datagram)?;
    let (length, from) = server.recv_from(&mut buffer)?;
    server.send_to(&buffer[..length], from)?;
    let length = client.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

const PATIENCE: Duration = Duration::from_secs(30);
