//! `cargo xtask verify`: what the kernel's verifier says, against the budgets.

use clap::Args;

use crate::{
    build::Profile,
    lab::{self, Program},
    plan::Plan,
};

/// Prints the programs' verifier instruction counts and the maps' memory (needs root)
#[derive(Args)]
pub(crate) struct Verify {}

impl Verify {
    pub(crate) fn plan(self) -> Plan {
        lab::run(Program::new("verify", &[]), Profile::Lab, Vec::new())
    }
}
