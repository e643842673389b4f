//! Programs that cargo installs, in `.cache/tools`: each at one version, and nothing of the machine's own is touched.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{shell::run, workspace};

/// A program in cargo's registry.
#[derive(Clone, Copy)]
pub(crate) struct CargoTool {
    /// The package, and the program in it.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// What `cargo install` is told besides.
    pub(crate) options: &'static [&'static str],
}

impl CargoTool {
    /// Where it is once it is installed.
    pub(crate) fn path(self) -> PathBuf {
        folder().join("bin").join(self.name)
    }

    /// For `--dry-run`.
    pub(crate) fn line(self) -> String {
        format!("cargo install {} --version {}, in .cache/tools", self.name, self.version)
    }

    /// Installs it unless it is there at this version.
    pub(crate) fn ready(self) -> Result<()> {
        let stamp = folder().join(format!("{}.version", self.name));
        if self.path().exists() && fs::read_to_string(&stamp).is_ok_and(|version| version == self.version) {
            return Ok(());
        }
        eprintln!("setup: installing {} {} into {}", self.name, self.version, folder().display());
        let mut cargo = workspace::cargo();
        cargo.args(["install", self.name, "--version", self.version, "--locked", "--force"]).args(self.options);
        run(cargo.arg("--root").arg(folder()))?;
        fs::write(stamp, self.version).with_context(|| format!("cannot write down which {} is installed", self.name))
    }
}

/// Where such programs are kept.
pub(crate) fn folder() -> PathBuf {
    workspace::cache("tools")
}
