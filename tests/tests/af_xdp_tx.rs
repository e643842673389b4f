//! Do datagrams that are sent by AF_XDP arrive unchanged, and does the UDP socket send where AF_XDP cannot?

use std::{
    cell::RefCell,
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_common::{
    frame,
    identifiers::{IfIndex, QueueId},
};
use router_tests::{
    content::{pattern, sha256},
    lab::{
        Lab, PORT, Running, mac,
        peers::{Aioquic, Clients, Curl},
        run, until,
        wire::{Capture, Direction},
    },
};
use router_userspace::datapath::{CHUNK, QueueSocket, QueueSocketPlan};

/// Frames leave whole and in order, more of them than the rings hold at a time.
#[test]
fn frames_leave_whole_and_in_order() -> Result<()> {
    let lab = Lab::new().build()?;
    let (router, wire) = (lab.network().router(), lab.wire());
    let capture = Capture::start(wire.namespace(), "router0")?;
    let mut socket = router.enter(|| {
        let interface = IfIndex::new(nix::net::if_::if_nametoindex(&*wire.router_interface())?);
        let plan = QueueSocketPlan { interface, queue: QueueId::new(1), frames: 64, sending: 64, busy_poll: false };
        let mut socket = QueueSocket::new(plan)?;
        socket.bind().context("veth takes it")?;
        Ok(socket)
    })?;
    assert!(socket.sends() && !socket.put(&[0; 60], &[0; CHUNK]), "longer than a chunk");
    let [_, to] = wire.macs();
    let head: Vec<u8> = [&to[..], &wire.macs()[0], &TEST_PROTOCOL].concat();
    for burst in 0..4_u8 {
        assert_eq!(socket.room(), 64);
        for number in 0..64 {
            ensure!(socket.put(&head, &body(burst, number)));
        }
        ensure!(!socket.put(&head, b"one too many") && socket.room() == 0);
        assert!(socket.send_off()?, "the kernel takes all at once");
        // What the other end has read is free again.
        socket = until_sent(socket)?;
    }
    let arrived = capture.stop()?.into_iter().filter(|(way, _)| *way == Direction::In).map(|(_, frame)| frame);
    let ours: Vec<_> = arrived.filter(|frame| frame[12..14] == TEST_PROTOCOL).collect();
    let meant = (0..4_u8).flat_map(|burst| (0..64).map(move |number| (burst, number)));
    let meant: Vec<_> = meant.map(|(burst, number)| [&head[..], &body(burst, number)].concat()).collect();
    assert_eq!(ours.len(), meant.len());
    assert!(ours == meant, "in order, octet by octet");
    Ok(())
}

/// What the kernel's stack sends passes the taps of the router's end, what goes by AF_XDP does not: so
/// the counters are held against the wire, datagram by datagram.
#[test]
fn all_but_the_first_to_each_client_go_by_af_xdp() -> Result<()> {
    let lab = sending(Lab::new()).start()?;
    let queues = &lab.control().status()?.interfaces[0].queues;
    assert!(queues.len() == 4 && queues.iter().all(|queue| queue.sends), "{queues:?}");
    lab.network().router().offload("clients0", &SINGLY)?;
    let leaving = Capture::start(lab.network().router(), "clients0")?;
    let arriving = Capture::start(lab.wire().namespace(), "router0")?;
    lab.quic_go().get("/bytes/300000").connections(20).at_once(4).succeed()?;
    let over_ipv6 = format!("https://{}/bytes/300000", SocketAddr::from((lab.wire().router6(), PORT)));
    Aioquic::new(lab.wire().namespace(), &over_ipv6).connections(5).succeed()?;
    lab.await_status(|status| status.totals.connections_now == 0)?;
    let way = Way::of(&lab)?;
    assert_eq!(sent_by_router(arriving, Direction::In)?.len() as u64, way.all);
    assert_eq!(sent_by_router(leaving, Direction::Out)?.len() as u64, way.by_udp());
    // To each of two addresses, until its worker was told where it is.
    assert!(way.all > 5_000 && (1..100).contains(&way.by_udp()), "{way:?}");
    lab.expect_no_packet_astray()
}

#[test]
fn every_client_gets_the_right_octets_either_way() -> Result<()> {
    let lab = sending(Lab::new()).start()?;
    lab.quic_go().get("/bytes/5000000").connections(8).succeed()?;
    lab.quic_go().post("/sink", 2_000_000).connections(8).succeed()?;
    lab.quic_go().echo(200_000).connections(20).requests(5).rebinding_at(400_000).succeed()?;
    for router in lab.wire().routers() {
        let url = format!("https://{}/bytes/3000000", SocketAddr::from((router, PORT)));
        Aioquic::new(lab.wire().namespace(), &url).connections(3).rebinding_at(500_000).succeed()?;
        let body = lab.home().path("body");
        let to = body.to_str().context("the path is UTF-8")?;
        Curl::new(lab.wire().namespace(), &url).option("--output").option(to).succeed()?;
        assert_eq!(sha256(&fs::read(&body)?), sha256(&pattern(0, 3_000_000)));
    }
    let way = Way::of(&lab)?;
    assert!(way.frames > 40_000 && way.by_udp() * 100 < way.all, "{way:?}");
    lab.expect_no_packet_astray()
}

/// The kernel looks for a neighbour that has moved silently, because it gets a datagram to send now and then; meanwhile
/// the UDP socket sends, as it does to a neighbour that the kernel does not find.
#[test]
fn a_neighbour_whose_link_address_changes() -> Result<()> {
    let mut lab = sending(Lab::new()).build()?;
    let router = lab.network().router();
    let hurried = [("delay_first_probe_time", "1"), ("retrans_time_ms", "100"), ("base_reachable_time_ms", "500")];
    hurried.iter().try_for_each(|(key, value)| router.set(&format!("ipv4/neigh/clients0/{key}"), value))?;
    // Both ends speak ARP here, and the router knows no neighbour yet.
    router.ip("link set clients0 arp on\nneigh flush dev clients0 nud permanent\n")?;
    lab.wire().namespace().ip("link set router0 arp on\n")?;
    lab.start_agent()?;
    let streams = lab.quic_go().echo(20_000).connections(10).until_told().pausing(SHORT).start()?;
    until_frames(&lab, &streams, 500)?;
    lab.wire().namespace().ip(&format!("link set router0 address {ELSEWHERE}\n"))?;
    streams.run_until(|| {
        let known = run(lab.network().router().command("ip").args(["neigh", "show", "dev", "clients0"]))?;
        Ok(String::from_utf8_lossy(&known.stdout).contains(ELSEWHERE))
    })?;
    let found = Way::of(&lab)?;
    until_frames(&lab, &streams, found.frames + 500)?;
    streams.succeed()?;
    Ok(())
}

#[test]
fn a_neighbour_whose_entry_is_deleted() -> Result<()> {
    let lab = sending(Lab::new()).start()?;
    let streams = lab.quic_go().echo(20_000).connections(10).until_told().pausing(SHORT).start()?;
    until_frames(&lab, &streams, 500)?;
    // The kernel sends such a datagram all the same: its interface speaks no ARP.
    lab.network().router().ip(&format!("neigh del {} dev clients0\n", lab.wire().client4()[0]))?;
    let told = Instant::now();
    let before = Way::of(&lab)?;
    streams.run_until(|| Ok(Way::of(&lab)?.by_udp() > before.by_udp()))?;
    ensure!(told.elapsed() < KNOWN_AT_MOST, "{:?}", told.elapsed());
    let mac = mac(lab.wire().macs()[1]);
    let back = format!("neigh replace {} lladdr {mac} dev clients0 nud permanent\n", lab.wire().client4()[0]);
    lab.network().router().ip(&back)?;
    let before = Way::of(&lab)?;
    until_frames(&lab, &streams, before.frames + 500)?;
    streams.succeed()?;
    Ok(())
}

/// The largest payloads are about those that the interface carries: what is larger is refused by the UDP
/// socket, as before.
#[test]
fn path_mtu_discovery_finds_what_the_interface_carries() -> Result<()> {
    for (mtu, largest) in [(1_500, 1_452), (1_380, 1_380 - 28)] {
        let mut lab = sending(Lab::new()).build()?;
        lab.network().router().ip(&format!("link set clients0 mtu {mtu}\n"))?;
        lab.network().router().offload("clients0", &SINGLY)?;
        lab.start_agent()?;
        let arriving = Capture::start(lab.wire().namespace(), "router0")?;
        lab.quic_go().get("/bytes/3000000").connections(2).succeed()?;
        let lengths = sent_by_router(arriving, Direction::In)?;
        let found = lengths.iter().copied().max().context("something was sent")?;
        ensure!(found <= largest && found + 40 > largest, "MTU {mtu}: {found}");
        ensure!(lengths.iter().filter(|length| **length == found).count() > 1_000, "MTU {mtu}");
    }
    Ok(())
}

#[test]
fn sending_goes_on_after_link_flaps() -> Result<()> {
    let lab = sending(Lab::new()).start()?;
    let clients = lab.quic_go().get("/bytes/600000").connections(20).until_told().pausing(SHORT).start()?;
    for _ in 0..3 {
        let before = Way::of(&lab)?;
        until_frames(&lab, &clients, before.frames + 1_000)?;
        lab.wire().flap(lab.network().router())?;
    }
    clients.succeed()?;
    let before = Way::of(&lab)?;
    lab.quic_go().get("/bytes/600000").connections(5).succeed()?;
    let after = Way::of(&lab)?;
    ensure!(after.frames > before.frames + 1_500 && after.by_udp() < before.by_udp() + 100, "{before:?} {after:?}");
    lab.expect_no_packet_astray()
}

/// Which way datagrams leave changes with an upgrade, and connections go on meanwhile.
#[test]
fn an_upgrade_turns_af_xdp_sending_on_and_off() -> Result<()> {
    let mut lab = Lab::new().engine("af_xdp").set("drain_timeout", "\"300s\"").start()?;
    for send in ["af_xdp", "udp"] {
        let streams = lab.quic_go().echo(50_000).connections(20).until_told().pausing(SHORT).start()?;
        lab.await_busy(&streams, 20)?;
        let file = format!("[af_xdp]\nsend = \"{send}\"\n\n");
        let refused = lab.reload(|config| config.rest.insert_str(0, &file)).err().context("it was not refused")?;
        ensure!(format!("{refused:#}").contains("af_xdp cannot change while this process runs"), "{refused:#}");
        lab.rewrite(|config| config.rest.insert_str(0, &file))?;
        lab.agent()?.upgrade(None)?;
        let queues = until(
            || Ok(lab.control().status()?.interfaces.into_iter().flat_map(|one| one.queues).collect::<Vec<_>>()),
            |queues| queues.len() == 4,
        )?;
        assert!(queues.iter().all(|queue| queue.sends == (send == "af_xdp")), "{queues:?}");
        lab.quic_go().get("/bytes/300000").connections(10).succeed()?;
        let way = Way::of(&lab)?;
        assert_eq!(way.frames > 1_500, send == "af_xdp", "{way:?}");
        assert_eq!(way.by_udp() > 1_500, send == "udp", "{way:?}");
        streams.succeed()?;
        lab.reconfigure(|config| config.rest = config.rest.replacen(&file, "", 1));
    }
    Ok(())
}

/// How datagrams left.
#[derive(Debug)]
struct Way {
    all: u64,
    frames: u64,
}

impl Way {
    fn of(lab: &Running) -> Result<Self> {
        let totals = lab.control().status()?.totals;
        Ok(Self { all: totals.datagrams_sent, frames: totals.frames_sent })
    }

    fn by_udp(&self) -> u64 {
        self.all - self.frames
    }
}

fn sending(lab: Lab) -> Lab {
    lab.engine("af_xdp").config(|config| config.rest.insert_str(0, "[af_xdp]\nsend = \"af_xdp\"\n\n"))
}

/// Waits until so many frames have been sent, while clients run.
fn until_frames(lab: &Running, clients: &Clients, count: u64) -> Result<Way> {
    clients.run_until(|| Ok(Way::of(lab)?.frames > count))?;
    Way::of(lab)
}

/// Lengths of the payloads that the router has sent.
fn sent_by_router(capture: Capture, direction: Direction) -> Result<Vec<usize>> {
    let frames = capture.stop()?.into_iter().filter(|(way, _)| *way == direction);
    let datagrams = frames.filter_map(|(_, frame)| frame::parse(&frame[..]).ok());
    Ok(datagrams.filter(|datagram| datagram.source.port == PORT).map(|datagram| datagram.payload.length).collect())
}

/// Of another length and content each.
fn body(burst: u8, number: u8) -> Vec<u8> {
    let length = 46 + usize::from(number) * 20 + usize::from(burst);
    (0..length).map(|at| at as u8 ^ number.wrapping_mul(7) ^ burst).collect()
}

fn until_sent(socket: QueueSocket) -> Result<QueueSocket> {
    let socket = RefCell::new(socket);
    until(|| Ok(socket.borrow_mut().is_sending()), |sending| !sending)?;
    Ok(socket.into_inner())
}

/// Trains of the UDP sockets are taken apart before a tap sees them.
const SINGLY: [&str; 2] = ["tx-udp-segmentation", "off"];
/// For experiments between two ends (RFC 5342 appendix B).
const TEST_PROTOCOL: [u8; 2] = [0x88, 0xb5];
const SHORT: Duration = Duration::from_millis(50);
const ELSEWHERE: &str = "02:77:00:00:00:99";
/// What is known of a neighbour is known for a second; the rest is for a busy machine.
const KNOWN_AT_MOST: Duration = Duration::from_secs(20);
