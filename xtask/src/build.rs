//! `cargo xtask build`: what is missing, then the binary. Also the ways in which it is compiled.

use std::path::PathBuf;

use clap::Args;

use crate::{
    plan::{Part, Plan, Step},
    profile_guided, setup,
    shell::run,
    workspace,
};

/// Builds `quic-router`, after installing what the build needs
#[derive(Args)]
pub(crate) struct Build {
    /// Optimised, as it is meant to run (the default)
    #[arg(long, conflicts_with = "dev")]
    release: bool,
    /// With debug assertions and without optimisation
    #[arg(long)]
    dev: bool,
    /// Optimised by what the program was seen to do, for busy hosts: two builds, and some minutes in the
    /// laboratory between them (needs root)
    #[arg(long, conflicts_with_all = ["dev", "release"])]
    profile_guided: bool,
}

impl Build {
    pub(crate) fn plan(self) -> Plan {
        if self.profile_guided {
            return profile_guided::plan();
        }
        router(if self.dev && !self.release { Profile::Dev } else { Profile::Release })
    }
}

/// How the router is compiled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Profile {
    /// With debug assertions; it refuses to be taken for the real one.
    Dev,
    /// As the release, but for optimisations across crates: what the demo and the tests run.
    Lab,
    /// What is shipped.
    Release,
    /// A release that writes down what it does.
    Measuring,
    /// A release compiled by what [`Profile::Measuring`] wrote down.
    Guided,
}

impl Profile {
    /// Cargo's name of it. Programs of the laboratory are compiled with it, too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Lab => "lab",
            Self::Release | Self::Measuring | Self::Guided => "release",
        }
    }

    /// Where the router compiled so lies.
    pub(crate) fn router(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Dev | Self::Lab | Self::Release => Ok(workspace::binary(self, "quic-router")),
            Self::Measuring => profile_guided::built("measuring"),
            Self::Guided => profile_guided::built("guided"),
        }
    }
}

/// What every router has that is built here, beside what is on by itself: each of these takes a tool that a plain `cargo
/// build` does not want.
pub(crate) const FEATURES: &str = "router-userspace/etcd";

/// The tools, then the binary.
pub(crate) fn router(profile: Profile) -> Plan {
    let what = ["build", "--package", "router-userspace", "--bin", "quic-router", "--features", FEATURES];
    let words = [&what[..], &["--profile", profile.name()]].concat();
    let line = format!("cargo {}", words.join(" "));
    let step = Step::new(format!("build the router ({})", profile.name()), move || {
        run(workspace::cargo().args(&words))?;
        println!("{}", profile.router()?.display());
        Ok(())
    });
    let step = step.detail(line).needs([Part::Tools]);
    setup::tools().then(step.gives([Part::Router(profile)]))
}
