//! `version`: which version, and what kind of build.

use std::process::ExitCode;

use clap::Args;

use super::{
    Output,
    fail::{Failed, print},
    text::to_json,
};
use crate::build_identity;

#[derive(Args, Debug)]
pub(super) struct Version {
    /// Profile, sanitizers, features, compiler
    #[arg(long)]
    build: bool,
    #[command(flatten)]
    output: Output,
}

impl Version {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Failed> {
        let identity = build_identity::identity();
        let text = match (self.output.json, self.build) {
            (true, _) => to_json(&identity)?,
            (false, false) => format!("quic-router {}\n", identity.version),
            (false, true) => identity.to_string(),
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
