//! The command line: one file a verb. It talks to the agent's control socket and to the
//! host, never to what runs inside the agent; `run` becomes the agent.

mod check;
mod cid;
mod client;
mod counters;
mod detach;
mod doctor;
mod explain;
mod fail;
mod flows;
mod reference;
mod run;
mod status;
mod text;
mod version;
mod workers;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use self::fail::Failed;
use crate::config::DEFAULT_PATH;

/// Steers QUIC packets by connection ID to the worker that owns the connection, and serves them.
#[derive(Debug, Parser)]
#[command(name = "quic-router", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    verb: Verb,
}

/// Where the configuration and the agent are.
#[derive(Args, Clone, Debug)]
struct Places {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// The agent's control socket [default: as configured, else /run/quic-router/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    control: Option<PathBuf>,
}

/// How a reading verb prints.
#[derive(Args, Clone, Copy, Debug)]
struct Output {
    /// Print JSON ("schema": 1) instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the agent in the foreground
    Run(Box<run::Run>),
    /// Read the configuration and probe the host; change nothing
    Check(check::Check),
    /// Generation, engine per interface and why, totals, health
    Status(status::Status),
    /// The workers: list them, take one out of the assignment, put it back
    Workers(workers::Workers),
    /// The flow table: list it, or show one flow
    Flows(flows::Flows),
    /// Every packet's fate by reason, all stages, and whether the sums close
    Counters(counters::Counters),
    /// Connection IDs: decode one, or generate one
    Cid(cid::Cid),
    /// What would happen to a packet, step by step, and why
    Explain(explain::Explain),
    /// Kernel, driver, queues, buffers, capabilities, conflicts: what is fine, what is not, how to mend it
    Doctor(check::Doctor),
    /// Remove every link, pin and map of an instance that no longer runs
    Detach(detach::Detach),
    /// The version, and with --build what kind of build this is
    Version(version::Version),
    /// Completions for a shell
    Completions(reference::Completions),
    /// The manual page, in roff
    Man,
}

/// Carries out the command line; what the process exits with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match carry_out(&cli) {
        Ok(code) => code,
        Err(failed) => failed.print(),
    }
}

fn carry_out(cli: &Cli) -> Result<ExitCode, Failed> {
    let places = &cli.places;
    match &cli.verb {
        Verb::Run(run) => run.carry_out(places),
        Verb::Check(check) => check.carry_out(places),
        Verb::Status(status) => status.carry_out(places),
        Verb::Workers(workers) => workers.carry_out(places),
        Verb::Flows(flows) => flows.carry_out(places),
        Verb::Counters(counters) => counters.carry_out(places),
        Verb::Cid(cid) => cid.carry_out(places),
        Verb::Explain(explain) => explain.carry_out(places),
        Verb::Doctor(doctor) => doctor.carry_out(places),
        Verb::Detach(detach) => detach.carry_out(places),
        Verb::Version(version) => version.carry_out(),
        Verb::Completions(completions) => completions.carry_out(),
        Verb::Man => reference::man(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// Help, completions and the manual page come from one definition; a change of it is
    /// seen here. `UPDATE_SNAPSHOTS=1 cargo test` takes it over.
    #[test]
    fn help_is_as_it_was() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/help.txt");
        let mut help = String::new();
        write_help(&mut Cli::command().term_width(100), &mut help);
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            std::fs::write(file, &help).unwrap();
        }
        assert_eq!(help, std::fs::read_to_string(file).unwrap_or_default(), "see {file}");
    }

    fn write_help(command: &mut clap::Command, to: &mut String) {
        let help = command.render_long_help();
        to.push_str(&format!("==> {}\n{help}\n", command.get_name()));
        let names: Vec<_> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        for name in names {
            write_help(command.find_subcommand_mut(&name).unwrap(), to);
        }
    }
}
