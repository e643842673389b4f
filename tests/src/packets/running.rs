//! The world that the table of packets is about, as a running router.

use std::process::Command;

use anyhow::Result;
use router_common::maps::{BlockAction, Flow};

use super::{BLOCKS, LISTENERS, NODE_ID, PLANTED_FLOWS, SLOTS};
use crate::lab::{Lab, Running, run};

/// Starts it in `lab`, without the planted flows: its connection IDs are in clear.
pub fn start(lab: Lab) -> Result<Running> {
    let listeners = LISTENERS.map(|address| address.to_string());
    let lab = lab.connection_id("encryption", "\"none\"").workers(SLOTS.into()).set("node_id", &NODE_ID.to_string());
    let lab = lab.config(|config| config.listeners = listeners.into()).start()?;
    let slots: Vec<_> = lab.workers()?.iter().map(|worker| worker.slot).collect();
    assert_eq!(slots, (0..SLOTS).collect::<Vec<_>>());
    for (prefix, action) in BLOCKS {
        let words: &[&str] = match action {
            BlockAction::Allow => &["allow", "add", prefix],
            BlockAction::Challenge => &["block", "add", prefix, "--challenge"],
            BlockAction::Drop => &["block", "add", prefix],
        };
        lab.cli(words)?.succeeded()?;
    }
    Ok(lab)
}

/// Writes the planted flows into the flow table, as docs/maps.md lays it out.
pub fn plant_flows(lab: &Running) -> Result<()> {
    PLANTED_FLOWS.iter().try_for_each(|(cid, slot)| plant(lab, cid, *slot))
}

fn plant(lab: &Running, cid: &[u8], slot: u8) -> Result<()> {
    let mut key = cid.to_vec();
    key.resize(20, 0);
    key.extend((cid.len() as u32).to_ne_bytes());
    let mut value = u32::from(slot).to_ne_bytes().to_vec();
    value.resize(size_of::<Flow>(), 0);
    let octets = |octets: &[u8]| octets.iter().map(u8::to_string).collect::<Vec<_>>();
    let mut command = Command::new("bpftool");
    command.args(["map", "update", "pinned"]).arg(lab.home().pins().join("flows"));
    command.arg("key").args(octets(&key)).arg("value").args(octets(&value));
    run(&mut command).map(drop)
}
