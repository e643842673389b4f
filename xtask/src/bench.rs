//! `cargo xtask bench`: what a packet costs, and what a takeover.

use anyhow::Result;
use clap::Args;

use crate::lab;

/// Measures: `datapath`, the nanoseconds per packet of the kernel programs; `takeover`, what
/// clients notice of reloads and upgrades (needs root)
#[derive(Args)]
pub(crate) struct Bench {
    /// What to measure, and its own options
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    what: Vec<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        lab::program("bench", &self.what)
    }
}
