//! Where things lie: the workspace, its cache, what cargo built.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{build::Profile, shell::capture};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    // Cargo tells a program that it runs where its package lies; the folder may have moved since
    // the build.
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// A file or folder in the cache, which git ignores. Deleting the cache is always safe.
pub(crate) fn cache(name: &str) -> PathBuf {
    root().join(".cache").join(name)
}

/// The folder in which cargo keeps the profiles' folders: this very program lies in one of them.
pub(crate) fn target() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// Where cargo puts a binary of the workspace.
pub(crate) fn binary(profile: Profile, name: &str) -> PathBuf {
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Lab | Profile::Release | Profile::Measuring | Profile::Guided => profile.name(),
    };
    target().join(folder).join(name)
}

/// The cargo that runs this program, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// When the commit was made, in seconds since 1970: the time that all files of packages and images have, so
/// that they are the same whenever they are made.
pub(crate) fn commit_time() -> Result<u64> {
    let time = git(&["log", "--max-count=1", "--format=%ct"])?;
    time.parse().context("git's time of the commit is not a number")
}

/// One line of git's answer.
pub(crate) fn git(arguments: &[&str]) -> Result<String> {
    let answer = capture(Command::new("git").arg("-C").arg(root()).args(arguments))?;
    Ok(answer.trim_end().to_owned())
}
