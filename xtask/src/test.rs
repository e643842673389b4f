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
        let mut done = vec![alone];
        match &self.engine {
            Some(engine) => {
                done.push(phases.run("tests in the laboratory", || laboratory(&filter, Some(engine), &[])));
            }
            None => {
                done.push(phases.run("tests in the laboratory", || laboratory(&filter, None, &[])));
                for (engine, tests) in MATRIX {
                    let phase = format!("those of them that are run with {engine}, too");
                    done.push(phases.run(&phase, || laboratory(&filter, Some(engine), tests)));
                }
            }
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

/// What is run with other engines, too: how packets get to their workers, and that they do so while
/// workers, configurations and generations come and go.
const MATRIX: &[(&str, &[&str])] = &[
    (
        "af_xdp",
        &[
            "many_clients",
            "rebinding",
            "migration",
            "traps",
            "drain",
            "crash",
            "worker_dies",
            "stateless_reset",
            "reload",
            "upgrade",
        ],
    ),
    ("reuseport", &["many_clients", "rebinding", "migration", "drain", "crash", "worker_dies", "stateless_reset"]),
    ("userspace", &["many_clients", "rebinding", "migration", "drain", "crash", "worker_dies", "stateless_reset"]),
];
