//! `cargo xtask package`: the Debian package, as people install it.
//!
//! The rule this file keeps: what a package says of the program (manual pages, completions, changelog) is
//! made by the program that is packed, or from the commit, never kept in a second copy.

mod debian;
mod documents;
#[cfg(test)]
mod metrics;
mod tools;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    build::{self, Profile},
    lab::{self, Program},
    peers::Peer,
    plan::{Part, Plan, Step},
    shell::run,
    workspace,
};

/// Makes the Debian package; lintian and promtool judge what is in it
#[derive(Args)]
pub(crate) struct Package {
    /// Also install, upgrade under load, remove and purge it in a minimal Debian (needs root)
    #[arg(long)]
    verify: bool,
}

impl Package {
    pub(crate) fn plan(self) -> Plan {
        let plan = build::router(Profile::Release).and(tools::plan());
        let plan = plan.then(documents()).then(package()).then(lintian()).then(rules());
        if self.verify { plan.then(package_before()).then(debian::step()).and(verify()) } else { plan }
    }
}

fn documents() -> Step {
    let step = Step::new("manual pages, completions, changelog", || {
        documents::write(&Profile::Release.router()?, &workspace::target().join("release/package"))
    });
    step.detail("quic-router man, quic-router completions").needs([Part::Router(Profile::Release)])
}

fn package() -> Step {
    let step = Step::new("the Debian package", || cargo_deb(&version(), &folder()));
    step.detail("cargo deb, by the metadata in router-userspace/Cargo.toml")
        .needs([Part::Router(Profile::Release), Part::PackagingTools])
        .gives([Part::Package])
}

/// The same program under the version that comes before: what is upgraded from.
fn package_before() -> Step {
    Step::new("a package of the version before", || cargo_deb(&version_before(), &folder().join("before")))
        .detail(format!("cargo deb --deb-version {}", version_before()))
        .needs([Part::Router(Profile::Release), Part::PackagingTools, Part::Package])
}

fn lintian() -> Step {
    let step = Step::new("lintian", || {
        let mut lintian = Command::new("lintian");
        lintian.args(["--fail-on", "error,warning", "--display-info", "--tag-display-limit", "0", "--allow-root"]);
        run(lintian.arg(deb(&folder(), &version())))
    });
    step.detail("lintian --fail-on error,warning").needs([Part::Package, Part::PackagingTools])
}

fn rules() -> Step {
    let step = Step::new("the rules for Prometheus", || {
        let folder = workspace::root().join("packaging/prometheus");
        let promtool = || {
            let mut command = Command::new(tools::promtool());
            command.current_dir(&folder);
            command
        };
        run(promtool().args(["check", "rules", "rules.yml"]))?;
        run(promtool().args(["test", "rules", "rules_test.yml"]))
    });
    step.detail("promtool check rules; promtool test rules").needs([Part::PackagingTools])
}

fn verify() -> Plan {
    let paths = [deb(&folder().join("before"), &version_before()), deb(&folder(), &version())];
    let paths = std::iter::once(debian::folder()).chain(paths);
    let arguments = paths.map(|path| path.display().to_string()).collect();
    lab::run(VERIFY, Profile::Lab, arguments)
}

/// Installs, upgrades, removes and purges packages.
const VERIFY: Program = Program::new("verify-package", &[Peer::QuicGo]);

/// Packs what is built already.
fn cargo_deb(version: &str, into: &Path) -> Result<()> {
    std::fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    let mut command = Command::new(tools::cargo_deb());
    command.current_dir(workspace::root()).env("SOURCE_DATE_EPOCH", workspace::commit_time()?.to_string());
    command.args([
        "deb",
        "--package",
        "router-userspace",
        "--no-build",
        "--strip",
        "--deb-version",
        version,
        "--output",
    ]);
    run(command.arg(into.join("")))
}

fn deb(folder: &Path, version: &str) -> PathBuf {
    folder.join(format!("quic-router_{version}_{}.deb", architecture()))
}

/// Debian's name of the architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn version() -> String {
    format!("{}-1", env!("CARGO_PKG_VERSION"))
}

/// In the order of Debian's versions, a tilde comes before everything.
fn version_before() -> String {
    format!("{}~before-1", env!("CARGO_PKG_VERSION"))
}

fn folder() -> PathBuf {
    workspace::target().join("package")
}
