//! Can a load balancer in front of the router read the server ID of issued connection IDs (QUIC-LB), and only that?

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use router_common::frame;
use router_tests::lab::{
    Lab, Running,
    wire::{Capture, Direction},
};

/// As the controller of AWS' Network Load Balancer configures its targets: 8 octets, in base64,
/// in the environment; in clear in octets 1 to 8 of connection IDs of 16 octets.
#[test]
fn aws_network_load_balancer_reads_the_server_id_in_clear() -> Result<()> {
    let lab = Lab::new()
        .environment("AWS_LBC_QUIC_SERVER_ID", "q83vASNFZ4k=")
        .connection_id("server_id", "\"env:AWS_LBC_QUIC_SERVER_ID\"")
        .connection_id("encryption", "\"none\"")
        .connection_id("length", "16")
        .start()?;
    let capture = Capture::start(lab.wire().namespace(), "router0")?;
    lab.quic_go().get("/bytes/100000").connections(200).rebinding_at(50_000).succeed()?;
    let issued = issued_on_the_wire(&capture.stop()?);
    assert!(issued.len() >= 200, "only {} connection IDs", issued.len());
    for cid in &issued {
        assert_eq!((cid.len(), cid[0], &cid[1..9]), (16, 15, &[0xab, 0xcd, 0xef, 1, 0x23, 0x45, 0x67, 0x89][..]));
    }
    lab.expect_no_packet_astray()?;

    // The slot is in octet 9, and cannot be read from it.
    let mut octets = BTreeMap::<u8, BTreeSet<u8>>::new();
    for slot in 0..4 {
        for _ in 0..100 {
            let generated = lab.control().generate(slot)?;
            assert_eq!((generated.slot, generated.node, generated.routable), (Some(slot), None, true));
            assert_eq!(generated.server_id.as_deref(), Some("abcdef0123456789"));
            octets.entry(slot).or_default().insert(u8::from_str_radix(&generated.cid[18..20], 16)?);
        }
    }
    assert!(octets.values().all(|seen| seen.len() > 50), "{octets:?}");
    Ok(())
}

/// It has the key: server ID and slot are encrypted together.
#[test]
fn a_load_balancer_with_the_key_decrypts_the_server_id() -> Result<()> {
    let mut lab = Lab::new().build()?;
    let file = lab.home().write_with_mode("cid.key", "8f95f09245765f80256934e50c66207f", 0o600)?;
    lab.reconfigure(|config| {
        config.set_connection_id("encryption", &format!("\"file:{}\"", file.display()));
        config.set_connection_id("server_id", "\"ed793a51d49b8f5f\"");
    });
    lab.start_agent()?;
    // The draft's vector: this server ID, this key, nonce ee080dbf48c0d1e5; configuration 0 here.
    let decoded = lab.control().decode("104dd2d05a7b0de9b2b9907afb5ecf8cc3")?;
    assert_eq!(decoded.encoding.as_deref(), Some("single pass"));
    assert_eq!(decoded.server_id.as_deref(), Some("ed793a51d49b8f5f"));
    assert_eq!((decoded.nonce.as_deref(), decoded.slot), (Some("ee080dbf48c0d1e5"), Some(0xee)));
    assert_eq!((decoded.routable, decoded.why_not.as_deref()), (false, Some("slot 238 is free")));
    lab.quic_go().get("/bytes/100000").connections(100).rebinding_at(50_000).succeed()?;
    lab.expect_no_packet_astray()
}

/// All lengths a server ID may have, and short and long connection IDs around it.
#[test]
fn server_ids_of_any_length() -> Result<()> {
    for (server_id_length, length, encryption) in [
        (1, 6, "none"),
        (1, 6, "auto"),
        (4, 12, "auto"),
        (8, 13, "auto"),
        (12, 17, "auto"),
        (15, 20, "auto"),
        (15, 20, "none"),
    ] {
        let lab = Lab::new()
            .connection_id("server_id", &format!("\"hex:{}\"", "5a".repeat(server_id_length)))
            .connection_id("length", &length.to_string())
            .connection_id("encryption", &format!("\"{encryption}\""))
            .start()?;
        lab.quic_go().get("/bytes/50000").connections(50).rebinding_at(20_000).succeed()?;
        expect_shape(&lab, server_id_length, length)?;
        lab.expect_no_packet_astray()?;
    }
    Ok(())
}

fn expect_shape(lab: &Running, server_id_length: usize, length: usize) -> Result<()> {
    let one = lab.control().cid_configurations()?.remove(0);
    assert_eq!((usize::from(one.server_id_length), usize::from(one.length)), (server_id_length, length));
    let flows = lab.control().flows()?.flows;
    let issued: Vec<_> = flows.iter().filter(|flow| flow.origin == "issued").collect();
    assert!(!issued.is_empty() && issued.iter().all(|flow| flow.cid.len() == 2 * length), "{issued:?}");
    Ok(())
}

/// The source connection IDs in the long headers that the router sent.
fn issued_on_the_wire(frames: &[(Direction, Vec<u8>)]) -> BTreeSet<Vec<u8>> {
    let source = |frame: &[u8]| {
        let datagram = frame::parse(frame).ok()?;
        let payload = frame.get(datagram.payload.at..)?;
        // RFC 8999 section 5.1.
        let destination = usize::from(*payload.get(5)?);
        let at = 6 + destination;
        (payload[0] & 0x80 != 0).then(|| payload.get(at + 1..at + 1 + usize::from(payload[at])).map(<[u8]>::to_vec))?
    };
    frames.iter().filter(|(direction, _)| *direction == Direction::In).filter_map(|(_, frame)| source(frame)).collect()
}
