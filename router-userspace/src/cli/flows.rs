//! `flows`: the live flow table.

use std::{net::IpAddr, process::ExitCode};

use clap::{Args, Subcommand};

use super::{
    Output, Places,
    client::Agent,
    fail::Failed,
    text::{bytes, seconds, show, table},
};
use crate::agent::api;

#[derive(Args, Debug)]
pub(super) struct Flows {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Flows, as many as --limit allows
    List {
        /// Only those of this slot
        #[arg(long)]
        slot: Option<u8>,
        /// Only those whose last packet came from this address
        #[arg(long, value_name = "IP")]
        peer: Option<IpAddr>,
        /// So many at most
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// The flow of one connection ID
    Show {
        /// Connection ID, hex
        cid: String,
    },
}

impl Flows {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let agent = Agent::at(places);
        let path = match &self.what {
            What::List { slot, peer, limit } => {
                let slot = slot.map(|slot| format!("&slot={slot}")).unwrap_or_default();
                let peer = peer.map(|peer| format!("&peer={peer}")).unwrap_or_default();
                format!("/v1/flows?limit={limit}{slot}{peer}")
            }
            What::Show { cid } => format!("/v1/flows/{cid}"),
        };
        show(self.output.json, None, || agent.get::<api::Flows>(&path), render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(flows: &api::Flows) -> String {
    let rows: Vec<_> = flows.flows.iter().map(row).collect();
    let header = ["CONNECTION ID", "SLOT", "ORIGIN", "PACKETS", "BYTES", "PEER", "CHANGES", "AGE", "IDLE"];
    format!("{}{} of {} entries\n", table(&header, &rows), rows.len(), flows.entries)
}

fn row(flow: &api::Flow) -> Vec<String> {
    vec![
        flow.cid.clone(),
        flow.slot.to_string(),
        flow.origin.clone(),
        flow.packets.to_string(),
        bytes(flow.bytes),
        flow.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
        flow.peer_changes.to_string(),
        seconds(flow.age_ms / 1000),
        flow.idle_ms.map_or_else(|| "-".to_owned(), |idle| seconds(idle / 1000)),
    ]
}
