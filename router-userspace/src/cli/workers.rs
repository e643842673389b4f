//! `workers`: list them, take one out of the assignment, put it back.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{
    Output, Places,
    client::Agent,
    fail::Failed,
    text::{bytes, show, table},
};
use crate::agent::api;

#[derive(Args, Debug)]
pub(super) struct Workers {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every worker, its slot, CPU and totals
    List,
    /// Give a slot's worker no new connections; it keeps those it has
    Drain {
        /// The worker's slot
        slot: u8,
    },
    /// Give it new connections again
    Undrain {
        /// The worker's slot
        slot: u8,
    },
}

impl Workers {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let agent = Agent::at(places);
        let ask = || match self.what {
            What::List => agent.get("/v1/workers"),
            What::Drain { slot } => agent.post(&format!("/v1/workers/{slot}/drain"), &()),
            What::Undrain { slot } => agent.post(&format!("/v1/workers/{slot}/undrain"), &()),
        };
        show(self.output.json, None, ask, render)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn render(workers: &api::Workers) -> String {
    let rows: Vec<_> = workers.workers.iter().map(row).collect();
    table(
        &["SLOT", "CPU", "STATE", "CONNECTIONS", "ACCEPTED", "FAILED", "DATAGRAMS", "HANDED OVER", "DROPS", "BUFFER"],
        &rows,
    )
}

fn row(worker: &api::Worker) -> Vec<String> {
    let t = &worker.totals;
    vec![
        worker.slot.to_string(),
        worker.cpu.to_string(),
        worker.state.clone(),
        t.connections_now.to_string(),
        t.accepted.to_string(),
        t.handshakes_failed.to_string(),
        t.datagrams_received.to_string(),
        t.handed_over.to_string(),
        t.socket_drops.to_string(),
        bytes(worker.receive_buffer),
    ]
}
