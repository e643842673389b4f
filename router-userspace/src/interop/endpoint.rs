//! The endpoint itself: from the environment to a router that serves.

use std::{env, process::ExitCode};

use super::contract::{Contract, Refusal};
use crate::{
    agent::{self, ConfigSource, RunOptions},
    build_identity::{self, Exemption},
    cli,
    config::Config,
    telemetry::{Log, say_panics_at_once},
};

/// Serves the case that the environment names until it is told to stop. With arguments it is the
/// router's command line, such as `version --build`, whose verb `run` is refused.
pub fn main() -> ExitCode {
    if env::args_os().len() > 1 {
        return cli::main();
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error:#}");
            let unsupported = matches!(error.downcast_ref(), Some(Refusal::Unsupported { .. }));
            ExitCode::from(if unsupported { UNSUPPORTED } else { 1 })
        }
    }
}

fn serve() -> anyhow::Result<()> {
    let contract = Contract::read(&|name| env::var_os(name))?;
    contract.make_folders()?;
    let switches = contract.switches();
    let read = move || {
        let mut config = Config::parse(&contract.config(), "the interop runner's environment")?;
        for listener in &mut config.listeners {
            listener.interop = switches;
        }
        Ok(config)
    };
    say_panics_at_once();
    eprintln!("{NAME} {} ({}): {BANNER}", env!("CARGO_PKG_VERSION"), build_identity::summary());
    let log = Log::start(&read()?.router.log, None);
    // The environment has insisted already.
    let options = RunOptions { kernel_log: None, takeover: false, log };
    Ok(agent::run(ConfigSource::new(read, Some(Exemption::Allowed)), options)?)
}

const NAME: &str = "quic-router-interop";
const BANNER: &str = "an endpoint for interoperability tests, NOT FOR PRODUCTION";
/// The runner's exit code for a case that an endpoint does not support.
const UNSUPPORTED: u8 = 127;
