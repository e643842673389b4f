//! `cargo xtask deny`: what is known against the crates that we depend on: advisories, licences, sources.

use std::process::Command;

use clap::Args;

use crate::{
    plan::{Part, Plan, Step},
    setup::CargoTool,
    shell::run,
    workspace,
};

/// Checks dependencies by deny.toml: advisories, licences, sources, bans
#[derive(Args)]
pub(crate) struct Deny {
    /// Leave out advisories, whose database has to be fetched
    #[arg(long)]
    offline: bool,
}

impl Deny {
    /// Without advisories.
    pub(crate) const OFFLINE: Self = Self { offline: true };

    pub(crate) fn plan(self) -> Plan {
        let install = Step::new("cargo-deny", || CARGO_DENY.ready()).detail(CARGO_DENY.line());
        let fetch = Step::new("sources of dependencies", || run(workspace::cargo().args(["fetch", "--locked"])));
        let fetch = fetch.detail("cargo fetch --locked");
        let (options, checks): (&'static [&'static str], &'static [&'static str]) =
            if self.offline { (&["--offline"], &CHECKS[1..]) } else { (&[], &CHECKS) };
        let line = format!("cargo deny {} check {}", options.join(" "), checks.join(" "));
        let check = Step::new("dependencies", move || {
            let mut cargo = Command::new(CARGO_DENY.path());
            cargo.current_dir(workspace::root()).args(["--workspace", "--locked"]).args(options);
            run(cargo.arg("check").args(checks))
        });
        let check = check.detail(line).needs([Part::Denier]);
        Plan::default().then(install.gives([Part::Denier])).then(fetch).then(check)
    }
}

const CHECKS: [&str; 4] = ["advisories", "bans", "licenses", "sources"];
const CARGO_DENY: CargoTool = CargoTool { name: "cargo-deny", version: "0.20.2", options: &[] };
