//! `cargo xtask VERB`: what people and CI do to this repository, one file a verb.
//!
//! The rule this crate keeps: CI runs the same verbs as you do, and every verb is a [`plan::Plan`] that
//! brings about whatever its steps need, from an empty machine on. `--dry-run` shows it.

mod bench;
mod build;
mod ci;
mod demo;
mod deny;
mod fuzz;
mod image;
mod interop;
mod lab;
mod package;
mod peers;
mod plan;
mod profile_guided;
mod setup;
mod shell;
mod test;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use self::plan::Plan;

fn main() -> ExitCode {
    match Xtask::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The project's own verbs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    /// Show what would be installed, fetched, built and run, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Setup(setup::Setup),
    Build(build::Build),
    Test(test::Test),
    Ci(ci::Ci),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Verify(verify::Verify),
    Package(package::Package),
    Image(image::Image),
    Interop(interop::Interop),
    Fuzz(fuzz::Fuzz),
    Deny(deny::Deny),
}

impl Verb {
    fn plan(self) -> Plan {
        match self {
            Self::Setup(verb) => verb.plan(),
            Self::Build(verb) => verb.plan(),
            Self::Test(verb) => verb.plan(),
            Self::Ci(verb) => verb.plan(),
            Self::Demo(verb) => verb.plan(),
            Self::Bench(verb) => verb.plan(),
            Self::Verify(verb) => verb.plan(),
            Self::Package(verb) => verb.plan(),
            Self::Image(verb) => verb.plan(),
            Self::Interop(verb) => verb.plan(),
            Self::Fuzz(verb) => verb.plan(),
            Self::Deny(verb) => verb.plan(),
        }
    }
}

impl Xtask {
    fn run(self) -> anyhow::Result<()> {
        let plan = self.verb.plan();
        if self.dry_run {
            plan.check()?;
            print!("{}", plan.text());
            return Ok(());
        }
        plan.perform()
    }
}

#[cfg(test)]
mod documented;
