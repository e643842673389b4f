//! `goq` and `netq`, built statically with the newer Debian's Go from its packages of sources.

use std::{fs, process::Command};

use anyhow::Result;

use super::debian::GO;
use crate::{shell::run, workspace};

/// Builds a program of `tests/peers` if its sources have changed.
pub(super) fn ready(name: &str, folder: &str) -> Result<()> {
    let sources = workspace::root().join("tests/peers").join(folder);
    super::once(name, &super::recipe(&sources)?, || {
        let new = super::folder().join(format!("{name}.new"));
        run(go().current_dir(&sources).args(["build", "-v", "-trimpath", "-o"]).arg(&new).arg("."))?;
        Ok(fs::rename(new, super::folder().join("bin").join(name))?)
    })
}

/// Go as it was before modules: it fetches nothing, and takes the libraries from the packages.
fn go() -> Command {
    let root = GO.root();
    let go_root = root.join("usr/lib/go-1.24");
    let mut go = Command::new(go_root.join("bin/go"));
    go.env("GOROOT", go_root).env("GOPATH", root.join("usr/share/gocode"));
    go.env("GOCACHE", super::folder().join("go-cache")).env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    go.env("GO111MODULE", "off").env("CGO_ENABLED", "0");
    go
}
