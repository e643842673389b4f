//! `cargo xtask test`: everything, including the kernel's part in network namespaces.

use anyhow::{Result, bail};
use clap::Args;

use crate::{lab, phases::Phases, shell::run, workspace};

/// Runs all tests, those of the kernel programs in network namespaces included (needs root)
#[derive(Args, Default)]
pub(crate) struct Test {
    /// Only the tests whose names have this in them
    filter: Option<String>,
    /// The engine of the laboratory's tests that say nothing of it: af_xdp, xdp, reuseport or userspace
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
        let together = phases.run("tests in the laboratory", || laboratory(&filter, self.engine.as_deref()));
        phases.print();
        match (alone, together) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) | (Ok(()), Err(error)) => Err(error),
            (Err(one), Err(other)) => bail!("{one:#}; {other:#}"),
        }
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

/// Those that build networks and load programs: one at a time, as they measure what moves.
fn laboratory(filter: &[String], engine: Option<&str>) -> Result<()> {
    let mut cargo = lab::cargo()?;
    if let Some(engine) = engine {
        cargo.env("QUIC_ROUTER_TEST_ENGINE", engine);
    }
    cargo.args(["test", "--no-fail-fast", "--package", "router-tests"]).args(filter);
    run(cargo.args(["--", "--test-threads=1"]))
}
