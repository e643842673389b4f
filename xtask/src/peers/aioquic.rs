//! aioquic, and h2 beside it, in a virtual environment of its own.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    setup,
    shell::{capture, find, run},
};

/// Makes the environment.
pub(super) fn ready() -> Result<()> {
    super::once("aioquic", &PACKAGES.join(" "), || {
        if !has_venv() {
            setup::install(&["python3", "python3-venv"])?;
        }
        let (new, place) = (super::folder().join("aioquic.new"), super::folder().join("aioquic"));
        let python = find("python3").context("no python3 on this machine")?;
        run(Command::new(python).args(["-m", "venv", "--clear"]).arg(&new))?;
        let mut pip = Command::new(new.join("bin/python"));
        run(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES))?;
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        // Only `bin/python` is used from now on, and that may be renamed.
        Ok(fs::rename(new, place)?)
    })
}

/// Debian has Python without what makes an environment, in a package of its own.
fn has_venv() -> bool {
    find("python3").is_some_and(|python| capture(Command::new(python).args(["-c", "import ensurepip, venv"])).is_ok())
}

pub(super) const PACKAGES: [&str; 2] = ["aioquic==1.7.2", "h2==4.4.1"];
