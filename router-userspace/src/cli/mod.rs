//! The command line: what can be asked, one file a verb.
//!
//! The rule this room keeps: verbs that ask an agent know its control socket and nothing of what
//! runs behind it. Help texts, man pages and completions all come from the definition here.

mod capture;
mod check;
mod cid;
mod client;
mod completions;
mod counters;
mod detach;
mod doctor;
mod explain;
mod fail;
mod flows;
mod log;
mod man;
mod output;
mod reload;
mod run;
#[cfg(test)]
mod snapshots;
mod status;
mod upgrade;
mod version;
mod watch;
mod workers;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};

use self::{
    client::{Client, DEFAULT_CONTROL},
    fail::{Exit, Fail},
};
use crate::config::{self, Config, StartFlags};

/// An eBPF/XDP-assisted QUIC connection router
///
/// Every packet of a QUIC connection reaches the worker that has the connection, whatever address
/// it comes from.
#[derive(Parser, Debug)]
#[command(
    name = "quic-router",
    version,
    after_long_help = EXIT_CODES,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,

    /// The agent's control socket, in place of the configuration's or /run/quic-router/control.sock
    #[arg(long, global = true, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl Global {
    /// Whether there is a configuration, or should be one because it was named.
    fn config_is_expected(&self) -> bool {
        self.config.exists() || self.config != Path::new(config::DEFAULT_PATH)
    }

    /// The control socket that is asked: as said, else as configured. A configuration that was
    /// not named and can't be read is no obstacle: then it is the default.
    fn control(&self) -> Result<PathBuf, Fail> {
        if let Some(control) = &self.control {
            return Ok(control.clone());
        }
        if !self.config_is_expected() {
            return Ok(DEFAULT_CONTROL.into());
        }
        match Config::load(&self.config, &StartFlags::default(), None) {
            Ok(config) => Ok(config.router.control),
            Err(_) if self.config == Path::new(config::DEFAULT_PATH) => Ok(DEFAULT_CONTROL.into()),
            Err(error) => Err(Fail::from(error).hint("--control PATH, which needs no configuration")),
        }
    }

    fn client(&self) -> Result<Client, Fail> {
        Client::new(&self.control()?)
    }
}

#[derive(Subcommand, Debug)]
enum Verb {
    Run(run::Run),
    Check(check::Check),
    Reload(reload::Reload),
    Upgrade(upgrade::Upgrade),
    Status(status::Status),
    #[command(subcommand)]
    Workers(workers::Workers),
    #[command(subcommand)]
    Flows(flows::Flows),
    Counters(counters::Counters),
    Log(log::Log),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Detach(detach::Detach),
    #[command(subcommand)]
    Cid(cid::Cid),
    Version(version::Version),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Verb {
    fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        match self {
            Self::Run(verb) => verb.execute(global),
            Self::Check(verb) => verb.execute(global),
            Self::Reload(verb) => verb.execute(&global.client()?),
            Self::Upgrade(verb) => verb.execute(global.client()?),
            Self::Status(verb) => verb.execute(global),
            Self::Workers(verb) => verb.execute(&global.client()?),
            Self::Flows(verb) => verb.execute(&global.client()?),
            Self::Counters(verb) => verb.execute(&global.client()?),
            Self::Log(verb) => verb.execute(&global.client()?),
            Self::Explain(verb) => verb.execute(&global.client()?),
            Self::Doctor(verb) => verb.execute(global),
            Self::Detach(verb) => verb.execute(global),
            Self::Cid(verb) => verb.execute(&global.client()?),
            Self::Version(verb) => verb.execute(),
            Self::Completions(verb) => verb.execute(),
            Self::Man(verb) => verb.execute(),
        }
    }
}

/// `--json`
#[derive(clap::Args, Debug)]
struct Json {
    /// Answer in JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Does what the command line asks, and says what to exit with.
pub fn main() -> ExitCode {
    let outcome = match Cli::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli.verb.execute(&cli.global),
        Err(error) => answer_or_refuse(&error),
    };
    outcome
        .unwrap_or_else(|fail| {
            fail.print();
            fail.exit()
        })
        .into()
}

/// Clap's way out of parsing: the help and version that were asked for, or wrong usage.
fn answer_or_refuse(error: &clap::Error) -> Result<Exit, Fail> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            output::print(&error.to_string())?;
            Ok(Exit::Done)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Where standard error is closed, the exit code has to speak for itself.
            let _ = io::stderr().write_all(error.to_string().as_bytes());
            Ok(Exit::Usage)
        }
        _ => Err(error.into()),
    }
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or the answer is yes
  1  the answer is no: unhealthy, invalid, not there
  2  wrong usage
  3  no agent reachable
  4  the kernel refused";
