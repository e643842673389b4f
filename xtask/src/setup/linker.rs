//! bpf-linker, which makes one BPF object of what rustc compiled.
//!
//! It reads rustc's bitcode, so its LLVM must not be older than rustc's.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::{packages, toolchain::Toolchain};
use crate::{
    shell::{find, run},
    workspace,
};

/// Whether there is any bpf-linker. Whether it suits a compiler, only a build can tell.
pub(super) fn is_installed() -> bool {
    find("bpf-linker").is_some()
}

/// Builds bpf-linker against an LLVM that can read what the toolchain writes.
pub(super) fn install(toolchain: &Toolchain) -> Result<()> {
    let wanted = toolchain.llvm()?;
    let version = (wanted..=*KNOWN_LLVM.end()).filter(|version| KNOWN_LLVM.contains(version)).find(|version| {
        llvm_folder(*version).join("include/llvm-c").is_dir() || packages::is_offered(&format!("llvm-{version}-dev"))
    });
    let Some(version) = version else { return fetch_built(wanted) };
    if !llvm_folder(version).join("include/llvm-c").is_dir() {
        let (llvm, polly) = (format!("llvm-{version}-dev"), format!("libpolly-{version}-dev"));
        packages::install(&[&llvm, &polly, "zlib1g-dev", "libzstd-dev"])?;
    }
    eprintln!("setup: building bpf-linker with LLVM {version} (a minute or two)");
    let mut cargo = workspace::cargo();
    cargo.env("LLVM_PREFIX", llvm_folder(version));
    cargo.args(["install", "bpf-linker", "--version", LINKER, "--force", "--no-default-features"]);
    run(cargo.args(["--features", &format!("llvm-{version}")]))
}

/// Without an LLVM that is new enough: the linker's authors publish built ones, which
/// cargo-binstall fetches.
fn fetch_built(llvm: u32) -> Result<()> {
    find("cargo-binstall").with_context(|| {
        format!("bpf-linker needs LLVM {llvm} or newer and apt offers none; try: cargo install cargo-binstall")
    })?;
    eprintln!("setup: fetching bpf-linker");
    run(Command::new("cargo").args(["binstall", "--no-confirm", "--force", &format!("bpf-linker@{LINKER}")]))
}

/// Where Debian's packages put a version of LLVM.
fn llvm_folder(version: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{version}"))
}

const LINKER: &str = "^0.13";

/// The versions of LLVM that this bpf-linker can be built with.
const KNOWN_LLVM: std::ops::RangeInclusive<u32> = 21..=23;
