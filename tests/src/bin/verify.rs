//! `verify`: what the kernel programs cost before the first packet, against a budget:
//! instructions the verifier had to look at, and memory of the maps of a node with the
//! default limits.

use std::{path::PathBuf, process::ExitCode};

use router_common::{
    identifiers::GenerationId,
    maps::{FLOWS_PER_CONNECTION, Secrets, Settings},
};
use router_userspace::datapath::{Datapath, Initial, Pins, Size, flow_table_bytes, possible_cpus};

fn main() -> ExitCode {
    match within_budget() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("verify: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn within_budget() -> anyhow::Result<bool> {
    let directory = PathBuf::from(format!("/sys/fs/bpf/quic-router-verify-{}", std::process::id()));
    let (pins, _) = Pins::take(&directory)?;
    let initial = Initial {
        settings: Settings::new(1, 17, GenerationId::new(1)),
        secrets: Secrets::new([0; 2]),
        cid_configs: Vec::new(),
        listeners: Vec::new(),
    };
    let flows = DEFAULT_CONNECTIONS * FLOWS_PER_CONNECTION;
    let mut datapath = Datapath::load(pins, &Size { flows, cpus: possible_cpus() }, &initial, None)?;

    let mut fits = true;
    let mut row = |name: &str, value: u64, budget: u64| {
        let verdict = if value <= budget { "" } else { "  over budget" };
        println!("{name:<28} {value:>12} of {budget:>12}{verdict}");
        fits &= value <= budget;
    };
    for (name, instructions) in datapath.verified_instructions()? {
        row(&format!("{name}: instructions"), instructions.into(), INSTRUCTIONS);
    }
    let empty: u64 = datapath.map_memory().iter().map(|(_, bytes)| bytes).sum();
    row("maps, empty: bytes", empty, EMPTY_MAPS);
    row("flow table, full: bytes", flow_table_bytes(flows), FULL_FLOWS);
    Ok(fits)
}

/// `limits.max_connections` unless configured.
const DEFAULT_CONNECTIONS: u32 = 100_000;
/// A sixth of what the kernel allows: room to grow, and a program that stays quick to load. AES
/// takes a thousand for each block on each way through the program; whether a datagram is for this host, and
/// whether its frame may go to an
/// AF_XDP socket, make two of most ways.
const INSTRUCTIONS: u64 = 165_000;
const EMPTY_MAPS: u64 = 32 << 20;
const FULL_FLOWS: u64 = 256 << 20;
