//! Does the AF_XDP path accept and drop the same frames as the kernel's stack?

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use router_tests::{
    lab::{Lab, Running, until, wire::Sender},
    packets::{HOP_BY_HOP, LISTENERS, NODE_ID, Packet, cid, quic::Quic},
};

/// Which frames the worker gets, by either engine; and what AF_XDP counts each as.
#[test]
fn the_worker_gets_the_same_frames_by_af_xdp_and_by_the_stack() -> Result<()> {
    let mut got = BTreeMap::new();
    for engine in ["af_xdp", "xdp"] {
        let lab = start(engine)?;
        let sender = Sender::new(lab.wire().namespace(), "router0")?;
        for case in cases() {
            let before = lab.counters()?;
            let arrived = arrives(&lab, &sender, &case.frame).with_context(|| format!("{engine}: {}", case.name))?;
            assert_eq!(arrived, case.arrives, "{engine}: {}", case.name);
            if engine == "af_xdp" {
                let mut moved = before.moved()?;
                moved.retain(|name, _| name.starts_with("af_xdp."));
                assert_eq!(moved, by_socket(case.counted), "{}", case.name);
            }
            got.entry(case.name).or_insert_with(Vec::new).push(arrived);
        }
    }
    assert!(got.values().all(|arrived| arrived[0] == arrived[1]), "{got:?}");
    Ok(())
}

/// `explain` says which way a frame would go, as the kernel decides it.
#[test]
fn explain_names_the_socket_that_gets_a_frame() -> Result<()> {
    let lab = start("af_xdp")?;
    for case in cases() {
        let explained = lab.control().explain(&case.frame)?;
        let deliver = explained.steps.iter().filter(|step| step.step == "deliver");
        let findings: Vec<_> = deliver.map(|step| &*step.finding).collect();
        let expected: &[&str] = match (explained.verdict.starts_with("deliver"), case.counted) {
            (false, _) => &[],
            (true, None) => &["whichever queue it comes in on: by the UDP socket of slot 0"],
            (true, Some(_)) => {
                &["on queue 0 of clients0: by the AF_XDP socket of slot 0", "otherwise: by the UDP socket of slot 0"]
            }
        };
        assert_eq!(findings, expected, "{}: {explained:?}", case.name);
    }
    Ok(())
}

struct Case {
    name: &'static str,
    frame: Vec<u8>,
    /// Whether the worker gets the datagram.
    arrives: bool,
    /// What the AF_XDP stage counts it as; none: it does not come there.
    counted: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let by_socket = |name, packet: Packet| case(name, packet, true, Some("listener"));
    let by_stack = |name, packet: Packet| case(name, packet, true, None);
    let dropped_by_both = |name, packet: Packet, reason| case(name, packet, false, Some(reason));
    let dropped_by_stack = |name, packet: Packet| case(name, packet, false, None);
    // Offsets are of a plain frame: the IPv4 checksum is at 24, the UDP checksum at 40, over IPv6 at 60.
    vec![
        by_socket("IPv4", v4()),
        by_socket("IPv6", v6()),
        by_socket("padding behind it", v4().pad(40)),
        by_socket("an IPv4 datagram without UDP checksum", v4().overwrite(40, &[0, 0])),
        dropped_by_both("an IPv6 datagram without UDP checksum", v6().overwrite(60, &[0, 0]), "udp_checksum"),
        dropped_by_both("a wrong IPv4 checksum", v4().overwrite(24, &[0xaa, 0x55]), "ip_checksum"),
        dropped_by_both("a wrong UDP checksum", v4().overwrite(40, &[0xaa, 0x55]), "udp_checksum"),
        dropped_by_both("a wrong UDP checksum over IPv6", v6().overwrite(60, &[0xaa, 0x55]), "udp_checksum"),
        dropped_by_both("an octet of payload changed", v4().overwrite(90, &[0xee]), "udp_checksum"),
        dropped_by_stack("IPv4 cut short", v4().cut(300)),
        dropped_by_stack("a UDP length beyond the packet", v4().overwrite(38, &[0x05, 0xdc])),
        dropped_by_stack("a VLAN without an interface", v4().vlan(7)),
        by_stack("IPv4 options", v4().options(&[1; 4])),
        by_stack("an extension header", v6().extension(HOP_BY_HOP)),
        by_stack("larger than a chunk", datagram(LONG)),
        dropped_by_stack("another link address", v4().overwrite(5, &[9])),
        dropped_by_stack("from the loopback", Packet::udp(([127, 0, 0, 1], 4000), LISTENERS[0], payload(PAYLOAD))),
        dropped_by_stack("from this host", Packet::udp(([10, 77, 0, 1], 4000), LISTENERS[0], payload(PAYLOAD))),
        by_socket("and again", v4()),
    ]
}

fn case(name: &'static str, packet: Packet, arrives: bool, counted: Option<&'static str>) -> Case {
    Case { name, frame: packet.frame(), arrives, counted }
}

/// Of the AF_XDP stage: the frame of a case, if it comes there, and two of those that follow it.
fn by_socket(counted: Option<&str>) -> BTreeMap<String, u64> {
    let mut moved = BTreeMap::from([("af_xdp.received".to_owned(), 2), ("af_xdp.listener".to_owned(), 2)]);
    if let Some(reason) = counted {
        *moved.entry("af_xdp.received".into()).or_default() += 1;
        *moved.entry(format!("af_xdp.{reason}")).or_default() += 1;
    }
    moved
}

/// Sends a frame and behind it some that surely arrive, to each listener one each way, and says whether
/// the first did: no way lets a frame overtake another.
fn arrives(lab: &Running, sender: &Sender, frame: &[u8]) -> Result<bool> {
    let bytes = || Ok(lab.control().status()?.totals.bytes_received);
    let before = bytes()?;
    sender.send(frame)?;
    for follower in [
        datagram(LAST[0]),
        datagram(LAST[1]).options(&[1; 4]),
        datagram6(LAST[2]),
        datagram6(LAST[3]).extension(HOP_BY_HOP),
    ] {
        sender.send(&follower.frame())?;
    }
    let all = before + LAST.iter().sum::<u64>();
    Ok(until(bytes, |&now| [all, all + PAYLOAD, all + LONG].contains(&now))? > all)
}

/// One queue and one worker: whatever may go by the socket does. Link MTUs let large frames through.
fn start(engine: &str) -> Result<Running> {
    let lab = Lab::new().engine(engine).queues(1).workers(1).connection_id("encryption", "\"none\"");
    let listeners = LISTENERS.map(|address| address.to_string());
    let lab = lab.set("node_id", &NODE_ID.to_string()).config(|config| config.listeners = listeners.into());
    let mut lab = lab.build()?;
    lab.wire().namespace().ip("link set router0 mtu 3000\n")?;
    lab.network().router().ip("link set clients0 mtu 3000\n")?;
    lab.start_agent()?;
    Ok(lab)
}

fn v4() -> Packet {
    datagram(PAYLOAD)
}

fn v6() -> Packet {
    datagram6(PAYLOAD)
}

/// From an address that no host has: no answer finds its way.
fn datagram(length: u64) -> Packet {
    Packet::udp(([10, 77, 0, 99], 4000), LISTENERS[0], payload(length))
}

fn datagram6(length: u64) -> Packet {
    let router = LISTENERS[1].port();
    Packet::udp(([0xfd77, 0, 0, 0, 0, 0, 0, 0x99], 4000), ([0xfd77, 0, 0, 0, 0, 0, 0, 1], router), payload(length))
}

/// For the one worker, of no connection that it has.
fn payload(length: u64) -> Quic {
    Quic::short(cid(0, NODE_ID, 0).as_slice()).padded_to(length as usize)
}

// Lengths by which those that arrived are told apart.
const PAYLOAD: u64 = 600;
const LONG: u64 = 2_400;
const LAST: [u64; 4] = [333, 344, 366, 399];
