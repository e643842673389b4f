//! `quic-router run`: the agent, in this process, until it is told to stop.

use super::{
    Global,
    fail::{Exit, Fail},
};
use crate::{
    agent::{self, RunOptions},
    config::{Config, StartFlags},
    telemetry::{self, LogFilter},
};

/// Run the agent in the foreground
///
/// Prints `ready` on standard output when it serves; logs to standard error. SIGTERM or SIGINT
/// lets connections finish within the configured drain_timeout; a second one closes them at once.
#[derive(clap::Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    start: StartFlags,

    /// What to log: error, warn, info, debug, trace or off, also by module: info,quinn=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = log_filter)]
    log: LogFilter,

    /// Load the kernel programs that log each packet, at this level (slow)
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    kernel_log: Option<String>,

    /// Let a debug or sanitizer build listen beyond loopback
    #[arg(long)]
    allow_test_build: bool,
}

impl Run {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        let config = Config::load(&global.config, &self.start, global.control.as_deref())?;
        let log = self.log.clone();
        telemetry::start(&match &self.kernel_log {
            Some(level) => log.with_kernel_level(level),
            None => log,
        });
        let options = RunOptions { kernel_log: self.kernel_log.clone(), allow_test_build: self.allow_test_build };
        agent::run(config, options)?;
        Ok(Exit::Done)
    }
}

fn log_filter(text: &str) -> Result<LogFilter, String> {
    LogFilter::parse(text).map_err(|error| error.to_string())
}
