//! llvm-profdata, which puts together what programs were seen to do.
//!
//! It reads what rustc's LLVM writes, so it must not be older than that.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{packages, toolchain::Toolchain};
use crate::shell::run;

/// The program for what `toolchain` compiles, installed if it is not there.
pub(super) fn merger(toolchain: &Toolchain) -> Result<PathBuf> {
    let wanted = toolchain.llvm()?;
    let known = wanted..=wanted + NEWER;
    let of_debian = |version: u32| Path::new("/usr/lib").join(format!("llvm-{version}/bin/llvm-profdata"));
    let there = || known.clone().map(of_debian).chain(of_rustup(toolchain)).find(|program| program.exists());
    if let Some(program) = there() {
        return Ok(program);
    }
    match known.clone().map(|version| format!("llvm-{version}")).find(|package| packages::is_offered(package)) {
        Some(package) => packages::install(&[&package])?,
        None => {
            eprintln!("setup: adding llvm-tools to toolchain `{}`", toolchain.name());
            run(Command::new("rustup").args(["component", "add", "llvm-tools", "--toolchain", toolchain.name()]))?;
        }
    }
    there().with_context(|| format!("no llvm-profdata for LLVM {wanted}"))
}

/// Where rustup's component llvm-tools has it.
fn of_rustup(toolchain: &Toolchain) -> Option<PathBuf> {
    let targets = std::fs::read_dir(toolchain.folder()?.join("lib/rustlib")).ok()?;
    targets.flatten().map(|target| target.path().join("bin/llvm-profdata")).find(|program| program.exists())
}

/// Versions beyond rustc's own that are looked for.
const NEWER: u32 = 2;
