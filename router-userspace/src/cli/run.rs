//! `run`: the agent in the foreground.

use std::process::ExitCode;

use clap::Args;

use super::{
    Places,
    fail::{Exit, Failed, load_config},
};
use crate::{
    agent::{self, RunOptions},
    config::StartFlags,
    telemetry,
};

#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    flags: StartFlags,
    /// What to log: error, warn, info, debug, trace, or targets with levels
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
    /// Load the kernel programs that log each packet, at this level; slow
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    kernel_log: Option<String>,
    /// Let a debug or sanitizer build listen beyond loopback
    #[arg(long)]
    allow_test_build: bool,
}

impl Run {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let config = load_config(places, &self.flags)?;
        telemetry::start(&self.log).map_err(|e| Failed::new(Exit::Usage, format!("--log {:?}: {e}", self.log)))?;
        let options = RunOptions { kernel_log: self.kernel_log.clone(), allow_test_build: self.allow_test_build };
        agent::run(config, options)?;
        Ok(ExitCode::SUCCESS)
    }
}
