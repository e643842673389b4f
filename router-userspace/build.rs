//! Builds the eBPF object with the toolchain that `cargo xtask setup` chose, and tells the
//! binary how it was built.
//!
//! The rule this file keeps: the compiler's unstable features are unlocked for the eBPF build
//! alone. `RUSTC_BOOTSTRAP` is set for a second run of this very script, which does nothing
//! but that build, and never for the crates around it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya_build::{Package, Toolchain};

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    if let Ok(toolchain) = env::var(SECOND_RUN) {
        return build_objects(&root, &toolchain);
    }
    watch(&root);
    describe_build(&root)?;
    let toolchain = ebpf_toolchain(&root)?;
    let mut second_run = Command::new(env::current_exe()?);
    second_run.env(SECOND_RUN, &toolchain);
    // What the inner cargo says reaches the terminal as warnings of this package.
    second_run.env("CARGO_TERM_QUIET", "true");
    // The objects are the same in every profile of this package: compile them once for all.
    if let Some(target) = Path::new(&variable("OUT_DIR")?).ancestors().nth(4) {
        second_run.env("CARGO_BUILD_BUILD_DIR", target.join("ebpf"));
    }
    if !toolchain.starts_with("nightly") {
        second_run.env("RUSTC_BOOTSTRAP", "1");
    }
    let status = second_run.status()?;
    ensure!(
        status.success(),
        "the eBPF crate does not build with toolchain `{toolchain}`; if the toolchain is at fault: cargo xtask setup"
    );
    Ok(())
}

/// Builds `quic-router-bpf-log`, which logs per packet, and `quic-router-bpf`, which does not,
/// into `OUT_DIR`.
fn build_objects(root: &Path, toolchain: &str) -> Result<()> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let package = root.join("router-ebpf");
    let root_dir = package.to_str().context("the path of this workspace is not UTF-8")?;
    for (features, object) in [(&["log"][..], "quic-router-bpf-log"), (&[][..], "quic-router-bpf")] {
        let package = Package { name: "router-ebpf", root_dir, features, ..Package::default() };
        aya_build::build_ebpf([package], Toolchain::Custom(toolchain))?;
        if object != "quic-router-bpf" {
            fs::rename(out.join("quic-router-bpf"), out.join(object))?;
        }
    }
    Ok(())
}

/// Which toolchain compiles for the kernel: what the environment says, else what setup wrote
/// down, else what is there.
fn ebpf_toolchain(root: &Path) -> Result<String> {
    if let Ok(name) = env::var("QUIC_ROUTER_EBPF_TOOLCHAIN") {
        return Ok(name);
    }
    if let Ok(name) = fs::read_to_string(root.join(CHOSEN)) {
        return Ok(name.trim().to_owned());
    }
    for name in ["nightly", "debian"] {
        if has_library_sources(name) {
            return Ok(name.to_owned());
        }
    }
    bail!("no Rust toolchain here has the library sources that the eBPF build needs; try: cargo xtask setup")
}

/// Whether the toolchain exists and brings the sources from which `core` is built for the kernel.
fn has_library_sources(toolchain: &str) -> bool {
    let asked = Command::new("rustup").args(["run", toolchain, "rustc", "--print", "sysroot"]).output();
    asked.is_ok_and(|answer| {
        let sysroot = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        answer.status.success() && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir()
    })
}

/// Names what the objects and the build's description follow from. Files that do not exist are
/// left out: cargo would run this script each time.
fn watch(root: &Path) {
    let mut files = vec![PathBuf::from("build.rs")];
    files.extend(["router-ebpf", "router-common", "Cargo.toml", "Cargo.lock", CHOSEN].map(|file| root.join(file)));
    files.extend(commit_files(root));
    for file in files.iter().filter(|file| file.exists()) {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    for variable in ["QUIC_ROUTER_EBPF_TOOLCHAIN", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
}

/// The files that git writes when another commit is made or checked out.
fn commit_files(root: &Path) -> Vec<PathBuf> {
    let files = ["HEAD", "logs/HEAD"].into_iter();
    files.filter_map(|file| git(root, &["rev-parse", "--git-path", file])).map(|file| root.join(file)).collect()
}

/// Exports what `quic-router version --build` prints. A value that is not known, or a sanitizer
/// that is not in use, is not exported: read these with `option_env!`.
fn describe_build(root: &Path) -> Result<()> {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let guided = if flags.contains("profile-use=") { ", profile-guided" } else { "" };
    export("QUIC_ROUTER_PROFILE", &format!("{} (opt-level {}){guided}", profile()?, variable("OPT_LEVEL")?));
    if flags.contains("profile-generate=") {
        export("QUIC_ROUTER_MEASURES", "itself");
    }
    let rustc = Command::new(variable("RUSTC")?).arg("--version").output().context("cannot run rustc --version")?;
    export("QUIC_ROUTER_RUSTC", String::from_utf8_lossy(&rustc.stdout).trim());
    if let Some(sanitizer) = sanitizer(&flags) {
        export("QUIC_ROUTER_SANITIZER", sanitizer);
    }
    if let Some(commit) = git(root, &["rev-parse", "--short=12", "HEAD"]) {
        export("QUIC_ROUTER_COMMIT", &commit);
    }
    Ok(())
}

/// Cargo's profile. For one of our own it says to build scripts which of its own that inherits from; the
/// folder has the name.
fn profile() -> Result<String> {
    let (based_on, out) = (variable("PROFILE")?, PathBuf::from(variable("OUT_DIR")?));
    // target/PROFILE/build/PACKAGE-HASH/out
    let folder = out.ancestors().nth(3).and_then(Path::file_name).and_then(|name| name.to_str());
    Ok(match folder {
        Some(name) if name != based_on => format!("{name}, based on {based_on}"),
        _ => based_on,
    })
}

/// The sanitizer that the compiler's flags ask for, written `-Zsanitizer=NAME` or `-Z sanitizer=NAME`.
fn sanitizer(flags: &str) -> Option<&str> {
    flags.split('\x1f').find_map(|flag| flag.trim_start_matches("-Z").strip_prefix("sanitizer="))
}

/// One line of git's answer; nothing outside a repository or without git.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let answer = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let line = String::from_utf8(answer.stdout).ok()?.trim().to_owned();
    (answer.status.success() && !line.is_empty()).then_some(line)
}

fn export(name: &str, value: &str) {
    println!("cargo:rustc-env={name}={value}");
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("cargo did not set {name}"))
}

/// Where `cargo xtask setup` writes the toolchain's name, from the workspace's root.
const CHOSEN: &str = ".cache/ebpf-toolchain";

/// Set, to the toolchain's name, for the second run.
const SECOND_RUN: &str = "QUIC_ROUTER_BUILD_OBJECTS_WITH";
