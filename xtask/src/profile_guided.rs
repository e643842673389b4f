//! The build for hosts that are busy: compiled twice, the second time by what the first was seen to do.
//!
//! The compiler then knows which ways are taken and which calls are worth having in place: some seven
//! percent less of the processor's time for small requests. What the first build is shown is
//! `bench training`, in the laboratory, with clients of others.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    lab,
    setup::{self, Toolchain},
    shell::{capture, run},
    workspace,
};

/// Builds the binary; answers where it lies.
pub(crate) fn router() -> Result<PathBuf> {
    let host = Toolchain::named(&env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned()));
    let merger = setup::profile_merger(&host)?;
    let folder = workspace::target().join("profile-guided");
    let profiles = folder.join("profiles");
    // Those of an earlier program would lead the compiler astray.
    if profiles.exists() {
        fs::remove_dir_all(&profiles)?;
    }
    fs::create_dir_all(&profiles)?;

    let measuring = compile(&format!("-Cprofile-generate={}", profiles.display()), &folder.join("measuring"))?;
    lab::program_with(&measuring, "bench", &["training".to_owned()])?;
    let seen = fs::read_dir(&profiles)?.flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    ensure!(!seen.is_empty(), "the router has left no profile in {}", profiles.display());
    let merged = folder.join("merged.profdata");
    run(Command::new(merger).args(["merge", "-o"]).arg(&merged).args(&seen))?;
    compile(&format!("-Cprofile-use={}", merged.display()), &folder.join("guided"))
}

/// Where [`router`] puts what it builds.
pub(crate) fn binary() -> Result<PathBuf> {
    let binary = built_in(&workspace::target().join("profile-guided/guided"))?;
    ensure!(binary.exists(), "there is no profile-guided build yet; try: cargo xtask build --profile-guided");
    Ok(binary)
}

fn compile(flag: &str, folder: &Path) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flag);
    cargo.args(["build", "--release", "--package", "router-userspace", "--bin", "quic-router"]);
    // With a target by name the flag is not for build scripts and macros, which run on this machine.
    run(cargo.args(["--target", &this_machine()?, "--target-dir"]).arg(folder))?;
    built_in(folder)
}

fn built_in(folder: &Path) -> Result<PathBuf> {
    Ok(folder.join(this_machine()?).join("release/quic-router"))
}

/// The target that the compiler compiles for by itself.
fn this_machine() -> Result<String> {
    let said = capture(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}
