//! What makes and judges packages.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    plan::{Part, Plan, Step},
    setup,
    shell::{find, run},
    workspace,
};

/// Installs what is missing.
pub(super) fn plan() -> Plan {
    let step = Step::new("tools that make packages", || {
        let packages: Vec<&str> = PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|p| p.1).collect();
        setup::install(&packages)?;
        fetch_promtool()?;
        install_cargo_deb()
    });
    let step = PROGRAMS.iter().fold(step, |step, (_, package)| step.detail(format!("apt-get install {package}")));
    let step = step.detail("unpack promtool of Debian's package prometheus, without installing it");
    let step = step.detail(format!("cargo install cargo-deb --version {CARGO_DEB}, in .cache/tools"));
    setup::tools().then(step.needs([Part::Tools]).gives([Part::PackagingTools]))
}

pub(super) fn cargo_deb() -> PathBuf {
    folder().join("bin/cargo-deb")
}

pub(super) fn promtool() -> PathBuf {
    find("promtool").unwrap_or_else(|| folder().join("prometheus/usr/bin/promtool"))
}

fn install_cargo_deb() -> Result<()> {
    let stamp = folder().join("cargo-deb.version");
    if cargo_deb().exists() && fs::read_to_string(&stamp).is_ok_and(|version| version == CARGO_DEB) {
        return Ok(());
    }
    eprintln!("setup: installing cargo-deb {CARGO_DEB} into {}", folder().display());
    let mut cargo = workspace::cargo();
    // xz is a program here anyway; the library would have to be compiled.
    cargo.args(["install", "cargo-deb", "--version", CARGO_DEB, "--locked", "--force", "--no-default-features"]);
    run(cargo.arg("--root").arg(folder()))?;
    fs::write(stamp, CARGO_DEB).context("cannot write down which cargo-deb is installed")
}

/// Installed, the package would start a server.
fn fetch_promtool() -> Result<()> {
    if promtool().exists() {
        return Ok(());
    }
    eprintln!("setup: fetching promtool");
    let fetched = folder().join("fetched");
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
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder().join("prometheus")))?;
    Ok(fs::remove_dir_all(fetched)?)
}

fn folder() -> PathBuf {
    workspace::cache("tools")
}

const CARGO_DEB: &str = "3.8.0";

/// A program, and the package that brings it.
const PROGRAMS: &[(&str, &str)] =
    &[("lintian", "lintian"), ("dpkg-shlibdeps", "dpkg-dev"), ("xz", "xz-utils"), ("debootstrap", "debootstrap")];
