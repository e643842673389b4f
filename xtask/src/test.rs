//! `cargo xtask test`: everything, including the kernel's part in network namespaces.

use anyhow::{Result, ensure};
use clap::Args;

use crate::{lab, phases::Phases, shell::run, workspace};

/// Runs all tests, those of the kernel programs in network namespaces included (needs root)
#[derive(Args, Default)]
pub(crate) struct Test {
    /// Only the tests whose names have this in them
    filter: Option<String>,
    /// The engine of the laboratory's tests that say nothing of it, in place of xdp and then the others
    /// where it matters: af_xdp, xdp, reuseport or userspace
    #[arg(long)]
    engine: Option<String>,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let mut phases = Phases::default();
        phases.run("build what is under test", lab::ready)?;
        let filter: Vec<String> = self.filter.into_iter().collect();
        // All tests run, also after a failure: one run shows all that is wrong.
        let alone = phases.run("tests of the crates", || crates(&filter));
        let together = phases.run("tests in the laboratory", || laboratory(&filter, self.engine.as_deref(), &[]));
        let mut done = vec![alone, together];
        for (engine, more) in OTHER_ENGINES.iter().filter(|_| self.engine.is_none()) {
            let phase = format!("those of them that are run with {engine}, too");
            let tests = [WITH_EVERY_ENGINE, more].concat();
            done.push(phases.run(&phase, || laboratory(&filter, Some(engine), &tests)));
        }
        phases.print();
        let errors: Vec<_> = done.into_iter().filter_map(|done| Some(format!("{:#}", done.err()?))).collect();
        ensure!(errors.is_empty(), "{}", errors.join("; "));
        Ok(())
    }
}

/// Those that need no root and no laboratory.
fn crates(filter: &[String]) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--no-fail-fast"]);
    for package in ["router-common", "router-userspace", "xtask"] {
        cargo.args(["--package", package]);
    }
    run(cargo.args(filter))
}

/// Those that build networks and load programs: one at a time, as they measure what moves. All, if
/// none of them is named.
fn laboratory(filter: &[String], engine: Option<&str>, tests: &[&str]) -> Result<()> {
    let mut cargo = lab::cargo()?;
    if let Some(engine) = engine {
        cargo.env("QUIC_ROUTER_TEST_ENGINE", engine);
    }
    cargo.args(["test", "--no-fail-fast", "--package", "router-tests"]);
    cargo.args(tests.iter().flat_map(|test| ["--test", test])).args(filter);
    run(cargo.args(["--", "--test-threads=1"]))
}

/// Beside `xdp`, and what is run with each but those for all. Without programs in the kernel nothing
/// steers packets between two processes, so there is no upgrade.
const OTHER_ENGINES: [(&str, &[&str]); 3] = [("af_xdp", &["upgrade"]), ("reuseport", &["upgrade"]), ("userspace", &[])];

/// What is run with them, too: how packets get to their workers, and that they do so while workers,
/// configurations and generations come and go.
const WITH_EVERY_ENGINE: &[&str] =
    &["many_clients", "rebinding", "migration", "traps", "drain", "crash", "worker_dies", "stateless_reset", "reload"];
