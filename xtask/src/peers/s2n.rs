//! `s2nq`, built by the toolchain that builds this workspace, and of crates that its own `Cargo.lock` names.

use std::fs;

use anyhow::Result;

use crate::{shell::run, workspace};

/// Builds it if its sources have changed.
pub(super) fn ready() -> Result<()> {
    let sources = workspace::root().join("tests/peers/s2n-client");
    super::once(PROGRAM, &super::recipe(&sources)?, || {
        let target = super::folder().join("s2n-target");
        let mut cargo = workspace::cargo();
        cargo.current_dir(&sources).args(["build", "--release", "--locked", "--target-dir"]);
        run(cargo.arg(&target))?;
        let new = super::folder().join(format!("{PROGRAM}.new"));
        fs::copy(target.join("release").join(PROGRAM), &new)?;
        Ok(fs::rename(new, super::folder().join("bin").join(PROGRAM))?)
    })
}

/// For `--dry-run`.
pub(super) const LINE: &str = "cargo build --release --locked s2nq";

const PROGRAM: &str = "s2nq";
