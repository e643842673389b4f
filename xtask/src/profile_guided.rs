//! The build for busy hosts: compiled twice, the second time by what the first was seen to do.
//!
//! The compiler then knows which ways are taken and which calls are worth inlining: some seven percent
//! less CPU time for small requests. What the first build is shown is `bench training`, in the laboratory,
//! with third-party clients.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    build::{FEATURES, Profile},
    lab::{self, Program},
    peers::Peer,
    plan::{Part, Plan, Step},
    setup::{self, Toolchain},
    shell::{capture, run},
    workspace,
};

/// Both builds and the training between them.
pub(crate) fn plan() -> Plan {
    let merger = Step::new("llvm-profdata", || setup::profile_merger(&host()).map(drop));
    let merger = merger.detail("Debian's llvm, or rustup's component llvm-tools, where it is missing");
    let measuring = Step::new("build the router that writes down what it does", build_measuring);
    let measuring = measuring.detail("cargo build --release --bin quic-router, with -Cprofile-generate");
    let guided = Step::new("build the router by what was seen", build_guided);
    let guided = guided.detail("cargo build --release --bin quic-router, with -Cprofile-use");
    setup::tools()
        .then(merger.needs([Part::Tools]).gives([Part::ProfileMerger]))
        .then(measuring.needs([Part::Tools]).gives([Part::Router(Profile::Measuring)]))
        .and(lab::run(TRAINING, Profile::Measuring, vec!["training".to_owned()]))
        .then(guided.needs([Part::ProfileMerger]).gives([Part::Router(Profile::Guided)]))
}

fn build_measuring() -> Result<()> {
    // Profiles of an earlier program would mislead the compiler.
    if profiles().exists() {
        fs::remove_dir_all(profiles())?;
    }
    fs::create_dir_all(profiles())?;
    compile(&format!("-Cprofile-generate={}", profiles().display()), &folder("measuring"))
}

fn build_guided() -> Result<()> {
    let seen = fs::read_dir(profiles())?.flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    ensure!(!seen.is_empty(), "the router has left no profile in {}", profiles().display());
    let merged = folder("merged.profdata");
    run(Command::new(setup::profile_merger(&host())?).args(["merge", "-o"]).arg(&merged).args(&seen))?;
    compile(&format!("-Cprofile-use={}", merged.display()), &folder("guided"))?;
    println!("{}", built("guided")?.display());
    Ok(())
}

fn compile(flag: &str, folder: &Path) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flag);
    cargo.args(["build", "--release", "--package", "router-userspace", "--bin", "quic-router", "--features", FEATURES]);
    // With a target by name the flag is not for build scripts and macros, which run on this machine.
    run(cargo.args(["--target", &this_machine()?, "--target-dir"]).arg(folder))
}

/// Where a build of this file's lies.
pub(crate) fn built(which: &str) -> Result<PathBuf> {
    Ok(folder(which).join(this_machine()?).join("release/quic-router"))
}

fn folder(name: &str) -> PathBuf {
    workspace::target().join("profile-guided").join(name)
}

fn profiles() -> PathBuf {
    folder("profiles")
}

/// The toolchain that compiles the router.
fn host() -> Toolchain {
    Toolchain::named(&env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned()))
}

/// The target that the compiler compiles for by itself.
fn this_machine() -> Result<String> {
    let said = capture(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

const TRAINING: Program = Program::new("bench", &[Peer::QuicGo, Peer::Curl]);
