//! `cargo xtask verify`: what the kernel's verifier says, against the budgets.

use anyhow::Result;
use clap::Args;

use crate::lab;

/// Prints the programs' verifier instruction counts and the maps' memory (needs root)
#[derive(Args)]
pub(crate) struct Verify {}

impl Verify {
    pub(crate) fn run(self) -> Result<()> {
        lab::program("verify", &[])
    }
}
