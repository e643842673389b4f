//! `cargo xtask build`: what is missing, then the binary.

use anyhow::Result;
use clap::Args;

use crate::{profile_guided, setup, shell::run, workspace};

/// Builds `quic-router`, after installing what the build needs
#[derive(Args)]
pub(crate) struct Build {
    /// Optimised, as it is meant to run (the default)
    #[arg(long, conflicts_with = "dev")]
    release: bool,
    /// With debug assertions and without optimisation
    #[arg(long)]
    dev: bool,
    /// Optimised by what the program was seen to do, for hosts that are busy: two builds, and some
    /// minutes in the laboratory between them (needs root)
    #[arg(long, conflicts_with_all = ["dev", "release"])]
    profile_guided: bool,
}

impl Build {
    pub(crate) fn run(self) -> Result<()> {
        setup::ready()?;
        if self.profile_guided {
            println!("{}", profile_guided::router()?.display());
            return Ok(());
        }
        let profile = if self.dev && !self.release { Profile::Dev } else { Profile::Release };
        let binary = router(profile)?;
        println!("{}", binary.display());
        Ok(())
    }
}

/// How the binary is compiled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// Builds the binary; answers where it lies.
pub(crate) fn router(profile: Profile) -> Result<std::path::PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--package", "router-userspace"]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    run(&mut cargo)?;
    Ok(workspace::binary(profile, "quic-router"))
}
