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

/// What is made of advisories.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Advisories {
    /// They are checked, or it fails.
    Needed,
    /// They are checked if their database can be fetched.
    IfFetched,
    LeftOut,
}

impl Deny {
    pub(crate) fn plan(self) -> Plan {
        plan(if self.offline { Advisories::LeftOut } else { Advisories::Needed })
    }

    /// As in `ci`, which has to work without the network.
    pub(crate) fn in_ci() -> Plan {
        plan(Advisories::IfFetched)
    }
}

fn plan(advisories: Advisories) -> Plan {
    let install = Step::new("cargo-deny", || CARGO_DENY.ready()).detail(CARGO_DENY.line());
    let fetch = Step::new("sources of dependencies", || run(workspace::cargo().args(["fetch", "--locked"])));
    let fetch = fetch.detail("cargo fetch --locked");
    let line = format!(
        "cargo deny check {}{}",
        CHECKS.join(" "),
        match advisories {
            Advisories::Needed => ", with the newest advisories",
            Advisories::IfFetched => ", advisories if their database can be fetched",
            Advisories::LeftOut => " but advisories",
        }
    );
    let check = Step::new("dependencies", move || {
        let has_advisories = match advisories {
            Advisories::Needed => true,
            Advisories::IfFetched => run(deny().args(["fetch", "db"]))
                .inspect_err(|e| eprintln!("advisories are left out, as their database cannot be fetched: {e}"))
                .is_ok(),
            Advisories::LeftOut => false,
        };
        let mut cargo = deny();
        if advisories != Advisories::Needed {
            cargo.arg("--offline");
        }
        run(cargo.arg("check").args(if has_advisories { &CHECKS } else { &CHECKS[1..] }))
    });
    let check = check.detail(line).needs([Part::Denier]);
    Plan::default().then(install.gives([Part::Denier])).then(fetch).then(check)
}

fn deny() -> Command {
    let mut cargo = Command::new(CARGO_DENY.path());
    cargo.current_dir(workspace::root()).args(["--workspace", "--locked"]);
    cargo
}

const CHECKS: [&str; 4] = ["advisories", "bans", "licenses", "sources"];
const CARGO_DENY: CargoTool = CargoTool { name: "cargo-deny", version: "0.20.2", options: &[] };
