//! What makes and judges packages.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    plan::{Part, Plan, Step},
    setup::{self, CargoTool, tools_folder},
    shell::{find, run},
};

/// Installs what is missing.
pub(super) fn plan() -> Plan {
    let step = Step::new("tools that make packages", || {
        let packages: Vec<&str> = PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|p| p.1).collect();
        setup::install(&packages)?;
        fetch_promtool()?;
        CARGO_DEB.ready()
    });
    let step = PROGRAMS.iter().fold(step, |step, (_, package)| step.detail(format!("apt-get install {package}")));
    let step = step.detail("unpack promtool of Debian's package prometheus, without installing it");
    let step = step.detail(CARGO_DEB.line());
    setup::tools().then(step.needs([Part::Tools]).gives([Part::PackagingTools]))
}

pub(super) fn cargo_deb() -> PathBuf {
    CARGO_DEB.path()
}

pub(super) fn promtool() -> PathBuf {
    find("promtool").unwrap_or_else(|| tools_folder().join("prometheus/usr/bin/promtool"))
}

/// Installed, the package would start a server.
fn fetch_promtool() -> Result<()> {
    if promtool().exists() {
        return Ok(());
    }
    eprintln!("setup: fetching promtool");
    let fetched = tools_folder().join("fetched");
    if fetched.exists() {
        fs::remove_dir_all(&fetched)?;
    }
    fs::create_dir_all(&fetched)?;
    let download = || run(Command::new("apt-get").args(["download", "prometheus"]).current_dir(&fetched));
    if download().is_err() {
        setup::update_lists()?;
        download()?;
    }
    let package = fs::read_dir(&fetched)?.next().context("apt-get has downloaded nothing")??.path();
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(tools_folder().join("prometheus")))?;
    Ok(fs::remove_dir_all(fetched)?)
}

/// xz is a program here anyway; the library would have to be compiled.
const CARGO_DEB: CargoTool = CargoTool { name: "cargo-deb", version: "3.8.0", options: &["--no-default-features"] };

/// A program, and the package that brings it.
const PROGRAMS: &[(&str, &str)] =
    &[("lintian", "lintian"), ("dpkg-shlibdeps", "dpkg-dev"), ("xz", "xz-utils"), ("debootstrap", "debootstrap")];
