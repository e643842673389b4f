//! A minimal Debian, of the release that this machine has: what packages are tried in.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    peers,
    plan::{Part, Step},
    shell::{as_root, run},
    workspace,
};

/// Makes it once.
pub(super) fn step() -> Step {
    Step::new("a minimal Debian", ready)
        .detail("debootstrap --variant=minbase, from the machine's own mirror, in .cache/debian")
        .needs([Part::PackagingTools])
}

pub(super) fn folder() -> PathBuf {
    workspace::cache("debian")
}

fn ready() -> Result<()> {
    if folder().exists() {
        return Ok(());
    }
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release = release.context("/etc/os-release names no VERSION_CODENAME: this is no Debian")?;
    // Renamed when it is whole, so that an interrupted run leaves nothing that looks like it.
    let new = folder().with_extension("new");
    run(&mut as_root("rm", ["-rf".as_ref(), new.as_os_str()])?)?;
    let arguments = ["--variant=minbase", release].map(str::to_owned);
    let place = [new.display().to_string(), peers::debian_mirror()?];
    run(&mut as_root("debootstrap", arguments.into_iter().chain(place))?)?;
    run(&mut as_root("mv", [new, folder()])?)
}
