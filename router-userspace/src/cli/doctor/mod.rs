//! `quic-router doctor`: what on this host is fine for the router, what is not, how to mend it.
//!
//! Each theme is a room of its own that gathers facts and then judges them with a pure function.
//! The rule they keep: nothing is changed, and nothing is claimed that was not looked at.

mod capacity;
mod finding;
mod interface;
mod kernel;
mod link;
mod netfilter;
mod privileges;
mod sockets;
mod tcp;
mod wanted;

pub(super) use self::{
    finding::{Finding, Findings},
    wanted::Wanted,
};
use super::{
    Global, Json,
    client::Client,
    fail::{Exit, Fail},
    output,
};
use crate::{
    agent::api::Status,
    build_identity,
    config::{Config, StartFlags},
};

/// Say what on this host is fine, what is not, and how to mend it
///
/// Looks at kernel, privileges, interfaces, sockets and memory, for what the configuration wants
/// if there is one. Changes nothing; needs no agent. Exits with 1 if anything fails.
#[derive(clap::Args, Debug)]
pub(super) struct Doctor {
    /// Look at this interface, in place of the configuration's (repeatable)
    #[arg(long, value_name = "IF")]
    interface: Vec<String>,
    #[command(flatten)]
    json: Json,
}

impl Doctor {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        let flags = StartFlags { interface: self.interface.clone(), ..StartFlags::default() };
        let (wanted, trouble) = match Config::load(&global.config, &flags, global.control.as_deref()) {
            Ok(config) => (Wanted::by(&config), None),
            Err(_) if !global.config_is_expected() => (Wanted::by_default(&self.interface), None),
            Err(error) => {
                let finding = Finding::fail("config", error.to_string()).hint("quic-router check");
                (Wanted::by_default(&self.interface), Some(finding))
            }
        };
        let wanted = wanted.answered_at(global.control.as_deref());
        let findings = Findings::new(trouble.into_iter().chain(examine(&wanted)).collect());
        if self.json.json {
            output::print_json(&findings)?;
        } else {
            output::print(&findings.text())?;
        }
        Ok(findings.exit())
    }
}

/// Looks at everything that matters for what is wanted.
pub(super) fn examine(wanted: &Wanted) -> Vec<Finding> {
    let agent = running_agent(wanted);
    let mut findings = vec![build()];
    if let Some(status) = &agent {
        findings.push(Finding::ok("agent", format!("process {} runs and answers", status.pid)));
    }
    findings.extend(kernel::judge(&kernel::facts(wanted), wanted));
    findings.extend(privileges::judge(&privileges::facts_of(wanted), wanted));
    findings.extend(netfilter::judge(&netfilter::facts(), wanted));
    for name in &wanted.interfaces {
        let facts = link::facts(name, wanted, agent.as_ref());
        findings.extend(interface::judge(name, facts.as_ref(), wanted));
    }
    findings.extend(sockets::judge(&sockets::facts(agent.as_ref().map(|status| status.pid), wanted), wanted));
    findings.extend(tcp::judge(&tcp::facts(), wanted));
    findings.extend(capacity::judge(&capacity::facts(), wanted));
    findings
}

/// The agent's status, if one runs: its own programs and sockets are no obstacles.
fn running_agent(wanted: &Wanted) -> Option<Status> {
    Client::new(&wanted.control).ok()?.get("/v1/status").ok()?.read().ok()
}

fn build() -> Finding {
    let version = format!("{} {} ({})", build_identity::NAME, env!("CARGO_PKG_VERSION"), build_identity::summary());
    match build_identity::is_test_build() {
        None => Finding::ok("build", version),
        Some(why) => Finding::warn("build", format!("{version}: a test build ({why}), slow, not for production"))
            .hint("cargo build --release"),
    }
}
