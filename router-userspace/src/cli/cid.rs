//! `cid`: connection IDs by hand.

use std::{fmt::Write as _, process::ExitCode};

use clap::{Args, Subcommand};

use super::{Output, Places, client::Agent, fail::Failed, text::show};
use crate::agent::api;

#[derive(Args, Debug)]
pub(super) struct Cid {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What a connection ID says, and whether it is routable
    Decode {
        /// Connection ID, hex
        hex: String,
    },
    /// A fresh connection ID
    Generate {
        /// The slot it is to belong to
        #[arg(long, default_value_t = 0)]
        slot: u8,
    },
}

impl Cid {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let agent = Agent::at(places);
        let ask = || match &self.what {
            What::Decode { hex } => agent.get(&format!("/v1/connection-id/{hex}")),
            What::Generate { slot } => agent.post(&format!("/v1/connection-id?slot={slot}"), &()),
        };
        show(self.output.json, None, ask, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(cid: &api::DecodedCid) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<14} {value}");
    };
    line("connection ID", cid.cid.clone());
    line("octets", format!("{} (self-described rest: {})", cid.length, cid.length_bits));
    line("rotation", cid.rotation.to_string());
    for (name, value) in [("server ID", &cid.server_id), ("nonce", &cid.nonce)] {
        if let Some(value) = value {
            line(name, value.clone());
        }
    }
    if let (Some(node), Some(slot)) = (cid.node, cid.slot) {
        line("belongs to", format!("node {node}, slot {slot}"));
    }
    line("routable", cid.why_not.as_ref().map_or("yes".to_owned(), |why| format!("no: {why}")));
    text
}
