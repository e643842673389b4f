//! `quic-router run`: the agent, in this process, until it is told to stop.

use super::{
    fail::{Exit, Fail},
    options::Global,
};
use crate::{
    agent::{self, ConfigSource, RunOptions},
    build_identity::{self, Exemption},
    config::{Config, StartFlags},
    telemetry::{Log, say_panics_at_once},
};

/// Run the agent in the foreground
///
/// Prints `ready` on standard output when it serves; logs to standard error. SIGTERM or SIGINT
/// lets connections finish within the configured drain_timeout; a second one closes them at once.
#[derive(clap::Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    start: StartFlags,

    /// Load the kernel programs that log each packet, at this level (slow)
    #[arg(long, value_name = "LEVEL", value_parser = ["error", "warn", "info", "debug", "trace"])]
    kernel_log: Option<String>,

    /// Take over from the agent that runs, losing no connection; start as usual if none does
    #[arg(long)]
    takeover: bool,

    /// Let a debug or sanitizer build listen beyond loopback
    #[arg(long)]
    allow_test_build: bool,
}

impl Run {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        build_identity::refuse_interop_run().map_err(|why| Fail::new(Exit::No, why))?;
        let (path, start, control) = (global.config.clone(), self.start.clone(), global.control.clone());
        let read = move || Config::load(&path, &start, control.as_deref());
        // What is wrong with it is said before there is a log.
        say_panics_at_once();
        let log = Log::start(&read()?.router.log, self.kernel_log.clone());
        let options = RunOptions { kernel_log: self.kernel_log.clone(), takeover: self.takeover, log };
        agent::run(ConfigSource::new(read, self.allow_test_build.then_some(Exemption::Allowed)), options)?;
        Ok(Exit::Done)
    }
}
