//! The command line as a whole: its definition, and what happens to what is typed.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};

use super::{
    admission, block, check, cid, cluster, completions, counters, detach, doctor, explain,
    fail::{Exit, Fail},
    flows, log, man, nodes,
    options::Global,
    output, reload, run, status, upgrade, version, workers,
};

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
pub(super) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
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
    #[command(subcommand)]
    Admission(admission::Admission),
    #[command(subcommand)]
    Block(block::Block),
    #[command(subcommand)]
    Allow(block::Allow),
    Log(log::Log),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Detach(detach::Detach),
    #[command(subcommand)]
    Cid(cid::Cid),
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    #[command(subcommand)]
    Nodes(nodes::Nodes),
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
            Self::Admission(verb) => verb.execute(&global.client()?),
            Self::Block(verb) => verb.execute(&global.client()?),
            Self::Allow(verb) => verb.execute(&global.client()?),
            Self::Log(verb) => verb.execute(&global.client()?),
            Self::Explain(verb) => verb.execute(&global.client()?),
            Self::Doctor(verb) => verb.execute(global),
            Self::Detach(verb) => verb.execute(global),
            Self::Cid(verb) => verb.execute(&global.client()?),
            Self::Cluster(verb) => verb.execute(global),
            Self::Nodes(verb) => verb.execute(&global.client()?),
            Self::Version(verb) => verb.execute(),
            Self::Completions(verb) => verb.execute(Cli::command()),
            Self::Man(verb) => verb.execute(Cli::command()),
        }
    }
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
