//! A Rust toolchain that can compile for the kernel.
//!
//! There is no prebuilt `core` for BPF: it is built from the library sources, which must be those
//! of exactly the compiler in use.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::packages;
use crate::{
    shell::{capture, find, run, run_within},
    workspace,
};

/// A toolchain that rustup knows by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Toolchain {
    name: String,
}

impl Toolchain {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the toolchain is installed, with the sources of its library. Costs no process.
    pub(super) fn has_sources(&self) -> bool {
        self.folder().is_some_and(|folder| folder.join("lib/rustlib/src/rust/library/core").is_dir())
    }

    /// Whether the toolchain brings a program, such as `cargo-clippy`. Costs no process.
    pub(super) fn has_program(&self, program: &str) -> bool {
        self.folder().is_some_and(|folder| folder.join("bin").join(program).exists())
    }

    /// Whether the compiler must be told to accept unstable features, as only nightlies do by
    /// themselves.
    pub(super) fn is_stable(&self) -> bool {
        !self.name.starts_with("nightly")
    }

    /// A program of this toolchain, with what it takes to compile for the kernel.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("rustup");
        command.args(["run", &self.name, program]);
        // What cargo sets for the programs that it runs speaks of the toolchain outside.
        for variable in ["CARGO", "RUSTC", "RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN"] {
            command.env_remove(variable);
        }
        if self.is_stable() {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }

    /// The major version of the LLVM that the compiler writes its bitcode with.
    pub(super) fn llvm(&self) -> Result<u32> {
        let answer = capture(self.command("rustc").arg("-vV"))?;
        llvm_major(&answer)
            .with_context(|| format!("toolchain `{}` does not say which LLVM it has:\n{answer}", self.name))
    }

    /// Where it lies: a folder that rustup names after the toolchain and, but for linked ones, the
    /// host.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        let home = env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".rustup")))?;
        let folders = fs::read_dir(home.join("toolchains")).ok()?.flatten().map(|entry| entry.path());
        let is_ours =
            |folder: &PathBuf| folder.file_name().is_some_and(|file| self.is_folder_name(&file.to_string_lossy()));
        folders.filter(is_ours).min()
    }

    fn is_folder_name(&self, folder: &str) -> bool {
        let host = folder.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-'));
        folder == self.name || host.is_some_and(|host| host.starts_with(env::consts::ARCH))
    }
}

/// A nightly with the library sources, if there is one or one can be had. A refusal is remembered:
/// a machine that cannot reach rustup's servers is not made to wait for them each time.
pub(super) fn nightly() -> Option<Toolchain> {
    let nightly = Toolchain::named("nightly");
    let refusal = workspace::cache("nightly-refused");
    if nightly.has_sources() {
        return Some(nightly);
    }
    if refusal.exists() {
        return None;
    }
    let fetched = fetch_nightly(nightly.folder().is_some());
    match fetched {
        Ok(()) if nightly.has_sources() => Some(nightly),
        Ok(()) => None,
        Err(error) => {
            eprintln!("setup: no nightly with rust-src: {error:#}");
            eprintln!("setup: not trying again until {} is deleted", refusal.display());
            // If this cannot be written, the next setup tries again: no harm.
            drop(fs::write(&refusal, format!("{error:#}\n")));
            None
        }
    }
}

fn fetch_nightly(is_installed: bool) -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup.env("RUST_BACKTRACE", "0");
    if is_installed {
        eprintln!("setup: adding rust-src to the nightly toolchain");
        return run_within(
            Duration::from_secs(60),
            rustup.args(["component", "add", "rust-src", "--toolchain", "nightly"]),
        );
    }
    eprintln!("setup: installing a nightly toolchain with rust-src");
    rustup.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
    run_within(Duration::from_secs(300), rustup.arg("--no-self-update"))
}

/// Debian's compiler with its matching sources, which needs no server but Debian's.
pub(super) fn debian() -> Result<Toolchain> {
    let debian = Toolchain::named("debian");
    if debian.has_sources() {
        return Ok(debian);
    }
    if !Path::new("/usr/lib/rustlib/src/rust/library/core").is_dir() {
        let packages = ["rustc-web", "cargo-web", "rust-web-src"];
        if !packages.iter().all(|package| packages::is_offered(package)) {
            bail!("Debian's compiler with its sources ({}) is not offered here", packages.join(" "));
        }
        packages::install(&packages)?;
    }
    eprintln!("setup: linking Debian's compiler as rustup toolchain `debian`");
    run(Command::new("rustup").args(["toolchain", "link", "debian", "/usr"]))?;
    Ok(debian)
}

/// What the chosen toolchain and the compiler of the workspace need for `cargo clippy` and
/// `cargo fmt`.
pub(super) fn linters(ebpf: &Toolchain) -> Result<()> {
    let host = env::var("RUSTUP_TOOLCHAIN").unwrap_or_else(|_| "stable".to_owned());
    let host = Toolchain::named(&host);
    for (toolchain, program, component) in
        [(&host, "cargo-clippy", "clippy"), (&host, "cargo-fmt", "rustfmt"), (ebpf, "cargo-clippy", "clippy")]
    {
        if toolchain.has_program(program) {
            continue;
        }
        eprintln!("setup: adding {component} to toolchain `{}`", toolchain.name());
        if toolchain.name() == "debian" {
            packages::install(&["rust-web-clippy"])?;
        } else {
            run(Command::new("rustup").args(["component", "add", component, "--toolchain", toolchain.name()]))?;
        }
    }
    Ok(())
}

/// Without rustup there are no toolchains to speak of.
pub(super) fn require_rustup() -> Result<()> {
    find("rustup").context("rustup is missing; install it as https://rustup.rs says, or from your distribution")?;
    Ok(())
}

/// `LLVM version: 22.1.4` gives 22.
fn llvm_major(rustc_version: &str) -> Option<u32> {
    let version = rustc_version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_llvm_is_read_from_what_rustc_says() {
        assert_eq!(llvm_major("rustc 1.97.0-nightly\nrelease: 1.97.0\nLLVM version: 22.1.4\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.97.0-nightly\n"), None);
    }

    #[test]
    fn a_toolchain_is_not_taken_for_another_whose_name_begins_alike() {
        let nightly = Toolchain::named("nightly");
        assert!(nightly.is_folder_name(&format!("nightly-{}-unknown-linux-gnu", env::consts::ARCH)));
        assert!(!nightly.is_folder_name(&format!("nightly-2026-01-01-{}-unknown-linux-gnu", env::consts::ARCH)));
        assert!(Toolchain::named("debian").is_folder_name("debian"));
    }
}
