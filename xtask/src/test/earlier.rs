//! An earlier version of the router, checked out of git and compiled: what tests of upgrades begin with.
//!
//! The rule this file keeps: the repository is only read, and nothing is shared with what is compiled of other sources:
//! cargo would take one's objects for the other's, as it goes by the times of files. So a commit has a folder of its own in
//! the cache. The sources there are a clone, so that the binary knows its commit, and git misses nothing when the cache is
//! deleted. When the binary is whole, it is all that is kept.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    build::{FEATURES, Profile},
    plan::{Part, Step},
    setup,
    shell::{capture, run},
    workspace,
};

/// Compiles the router of a revision, unless that was done before.
pub(super) fn step(revision: &str) -> Step {
    let name = revision.to_owned();
    let step = Step::new(format!("the router of {revision}"), move || {
        let commit = commit(&name)?;
        make(&commit).with_context(|| format!("revision `{name}` ({commit}) does not give a router"))
    });
    let step = step.detail(format!("git clone --shared, git checkout {revision}, into {}", folder().display()));
    step.detail(format!("cargo {}", words().join(" "))).needs([Part::Tools]).gives([Part::EarlierRouter])
}

/// Where the router of a revision lies, once it is compiled.
///
/// # Errors
/// If git knows no such revision.
pub(super) fn router(revision: &str) -> Result<PathBuf> {
    commit(revision).map(|commit| binary(&commit))
}

/// The whole name of a commit.
fn commit(revision: &str) -> Result<String> {
    let object = format!("{revision}^{{commit}}");
    let found = workspace::git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &object]);
    found.with_context(|| {
        format!(
            "git knows no revision `{revision}` here; `git tag` and `git log` list them, `git fetch --tags` brings more"
        )
    })
}

fn make(commit: &str) -> Result<()> {
    let (binary, build) = (binary(commit), folder().join(commit).join("build"));
    if binary.exists() {
        eprintln!("{} is there already", binary.display());
        return Ok(());
    }
    let (sources, target) = (build.join("sources"), build.join("target"));
    check_out(commit, &sources)?;
    let toolchain = setup::ready()?;
    let mut cargo = workspace::cargo();
    cargo.current_dir(&sources).args(words()).arg("--target-dir").arg(&target);
    run(cargo.env("QUIC_ROUTER_EBPF_TOOLCHAIN", toolchain.name()))?;
    let built = target.join(Profile::Lab.name()).join(ROUTER);
    put(&binary, |next| fs::copy(&built, next).map(drop).with_context(|| format!("cannot copy {}", built.display())))?;
    fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
}

fn check_out(commit: &str, sources: &Path) -> Result<()> {
    if sources.exists() {
        return Ok(());
    }
    put(sources, |next| {
        let clone = ["clone", "--quiet", "--shared", "--no-checkout"];
        capture(Command::new("git").args(clone).arg(workspace::root()).arg(next))?;
        capture(Command::new("git").arg("-C").arg(next).args(["checkout", "--quiet", "--detach", commit])).map(drop)
    })
}

/// Makes a file or folder under another name, and gives it its own when it is whole.
fn put(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let next = path.with_extension("next");
    if next.is_dir() {
        fs::remove_dir_all(&next).with_context(|| format!("cannot remove {}", next.display()))?;
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    make(&next)?;
    fs::rename(&next, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Cargo's words for it.
fn words() -> Vec<&'static str> {
    let package = ["build", "--locked", "--package", "router-userspace", "--bin", ROUTER];
    [&package[..], &["--profile", Profile::Lab.name(), "--features", FEATURES]].concat()
}

fn binary(commit: &str) -> PathBuf {
    folder().join(commit).join(ROUTER)
}

fn folder() -> PathBuf {
    workspace::cache("earlier")
}

const ROUTER: &str = "quic-router";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_that_is_not_there_is_named() {
        for wrong in ["no-such-revision", "--all", "HEAD:Cargo.toml"] {
            let error = router(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("git knows no revision `{wrong}` here")), "{error}");
        }
    }
}
