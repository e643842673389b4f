//! Are keys shown neither by the command line, the log, maps nor core dumps?

use std::fs;

use anyhow::{Context, Result};
use router_tests::{
    bpftool,
    content::{hex, unhex},
    lab::Lab,
    packets::{Packet, quic::Quic},
};

/// Keys of connection IDs are in the state folder and in the map `cid_keys`, and nowhere else.
#[test]
fn keys_of_connection_ids_are_not_shown() -> Result<()> {
    let lab = Lab::new().start()?;
    lab.quic_go().get("/bytes/1000").connections(5).succeed()?;
    lab.control().rotate()?;
    let state: serde_json::Value = serde_json::from_slice(&fs::read(lab.home().path("state/connection-ids.json"))?)?;
    let keys: Vec<&str> =
        state["configurations"].as_array().context("a list")?.iter().filter_map(|one| one["key"].as_str()).collect();
    assert!(keys.len() == 2 && keys.iter().all(|key| key.len() == 32), "{} keys", keys.len());

    let cid = lab.control().generate(1)?.cid;
    let frame = Packet::udp(([10, 77, 0, 2], 4000), ([10, 77, 0, 1], 443), Quic::short(&unhex(&cid))).frame();
    let frame = hex(&frame);
    let verbs: [&[&str]; 8] = [
        &["status"],
        &["cid", "list"],
        &["cid", "decode", &cid],
        &["cid", "generate"],
        &["cid", "rotate"],
        &["explain", &frame],
        &["flows", "list"],
        &["counters"],
    ];
    let mut shown = lab.home().log();
    for verb in verbs {
        for verb in [verb.to_vec(), [verb, &["--json"]].concat()] {
            let said = lab.cli(&verb)?.succeeded()?;
            shown += &said.stdout;
            shown += &said.stderr;
        }
    }
    for map in lab.home().pinned().iter().filter(|map| !["cid_keys", "secrets"].contains(&map.as_str())) {
        if !map.starts_with("link-") {
            // Some maps cannot be dumped by their type.
            shown += &bpftool::print(&lab.home().pins().join(map)).unwrap_or_default();
        }
    }
    assert!(shown.len() > 10_000, "hardly anything was looked at");
    let squeezed: String = shown.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
    for key in keys {
        assert!(!squeezed.contains(key), "a key is shown");
        // As bpftool would print it: a list of decimal numbers.
        let decimal: Vec<_> = unhex(key).iter().map(u8::to_string).collect();
        assert!(!shown.contains(&decimal.join(",")) && !shown.contains(&decimal.join(", ")), "a key is shown");
        // And its first words, which is what an expanded key begins with.
        let words = unhex(key).chunks(4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]])).collect::<Vec<_>>();
        assert!(!words.iter().all(|word| shown.contains(&word.to_string())), "an expanded key is shown");
    }
    Ok(())
}

/// A core dump has the memory that the kernel is told to put there: none.
#[test]
fn core_dumps_have_no_memory() -> Result<()> {
    let lab = Lab::new().start()?;
    let filter = fs::read_to_string(format!("/proc/{}/coredump_filter", lab.agent()?.pid()?))?;
    assert_eq!(filter.trim(), "00000010");
    Ok(())
}
