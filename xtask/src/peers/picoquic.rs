//! picoquic by its Python package, a wheel for a newer Python than the machine may have: fetched by the
//! machine's pip, unpacked, never installed.

use std::{env::consts::ARCH, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::aioquic;
use crate::shell::run;

/// Unpacks the wheel. It needs the environment of aioquic, which has a pip.
pub(super) fn ready() -> Result<()> {
    aioquic::ready()?;
    super::once("picoquic-wheel", PACKAGE, || {
        let new = super::folder().join("picoquic.new");
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        let python = super::folder().join("aioquic/bin/python");
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        // What it requires is a Python that runs it, and not this one.
        pip.args([
            "--ignore-requires-python",
            "--only-binary",
            ":all:",
            "--implementation",
            "cp",
            "--python-version",
            "3.13",
        ]);
        pip.args(["--platform", &format!("manylinux_2_34_{ARCH}"), "--target"]).arg(&new).arg(PACKAGE);
        run(&mut pip)?;
        if wheel().exists() {
            fs::remove_dir_all(wheel())?;
        }
        fs::rename(&new, wheel()).with_context(|| format!("cannot rename {}", new.display()))
    })
}

/// Where the wheel is unpacked.
pub(super) fn wheel() -> PathBuf {
    super::folder().join("picoquic")
}

pub(super) const PACKAGE: &str = "aiopquic==0.6.1";
