//! `cargo xtask bench`: what a packet costs, what a takeover, and what a request.

use anyhow::Result;
use clap::Args;

use crate::{lab, peers};

/// Measures: `datapath`, the nanoseconds per packet of the kernel programs; `engines`, what a packet
/// costs by each engine; `takeover`, what clients notice of reloads and upgrades; `http`, requests, new connections and bulk beside other
/// proxies (needs root)
#[derive(Args)]
pub(crate) struct Bench {
    /// What to measure, and its own options
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    what: Vec<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        if self.what.first().is_some_and(|what| what == "http") {
            peers::of_benchmarks_ready()?;
        }
        lab::program("bench", &self.what)
    }
}
