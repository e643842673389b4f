//! `cargo xtask VERB`: what people and CI do to this repository, one file a verb.
//!
//! The rule this crate keeps: CI runs the same verbs as you do, and every verb first sees to it
//! that the machine has what it needs.

mod bench;
mod build;
mod ci;
mod demo;
mod lab;
mod peers;
mod phases;
mod profile_guided;
mod setup;
mod shell;
mod test;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match Verb::parse().run() {
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
enum Verb {
    Setup(setup::Setup),
    Build(build::Build),
    Test(test::Test),
    Ci(ci::Ci),
    Demo(demo::Demo),
    Bench(bench::Bench),
    Verify(verify::Verify),
}

impl Verb {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Setup(verb) => verb.run(),
            Self::Build(verb) => verb.run(),
            Self::Test(verb) => verb.run(),
            Self::Ci(verb) => verb.run(),
            Self::Demo(verb) => verb.run(),
            Self::Bench(verb) => verb.run(),
            Self::Verify(verb) => verb.run(),
        }
    }
}
