//! `quic-router doctor`: what on this host is fine for the router, what is not, how to mend it.

use super::{
    client::Client,
    fail::{Exit, Fail},
    options::{Global, Json},
    output,
};
use crate::{
    agent::control::Request,
    config::{Config, StartFlags},
    doctor::{Agent, Finding, Findings, Wanted, examine, examine_cluster},
};

/// Say what on this host is fine, what is not, and how to mend it
///
/// Looks at kernel, privileges, interfaces, sockets and memory, for what the configuration wants
/// if there is one, and at the cluster that it describes. Changes nothing; needs no agent. Exits with 1 if anything fails.
#[derive(clap::Args, Debug)]
pub(super) struct Doctor {
    /// Look at this interface, in place of the configuration's (repeatable)
    #[arg(long, value_name = "IF")]
    interface: Vec<String>,
    #[command(flatten)]
    json: Json,
    #[command(subcommand)]
    only: Option<Only>,
}

/// What is looked at alone.
#[derive(clap::Subcommand, Debug)]
enum Only {
    /// Look at the cluster alone: which nodes hear each other, how long packets between them may be, clocks, addresses
    ///
    /// Of the other nodes the agent that runs is asked; without one, this host alone is looked at.
    Cluster {
        #[command(flatten)]
        json: Json,
    },
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
        let (found, json) = match &self.only {
            None => (look(&wanted), self.json.json),
            Some(Only::Cluster { json }) => {
                let found = match examine_cluster(&wanted, running_agent(&wanted).as_ref()) {
                    None if trouble.is_none() => return Err(no_cluster()),
                    found => found.unwrap_or_default(),
                };
                (found, self.json.json || json.json)
            }
        };
        let findings = Findings::new(trouble.into_iter().chain(found).collect());
        if json {
            output::print_json(&findings)?;
        } else {
            output::print(&findings.text())?;
        }
        Ok(exit(&findings))
    }
}

/// Looks at everything that matters for what is wanted, beside an agent that may run.
pub(super) fn look(wanted: &Wanted) -> Vec<Finding> {
    examine(wanted, running_agent(wanted).as_ref())
}

/// 1 if anything fails.
pub(super) fn exit(findings: &Findings) -> Exit {
    if findings.healthy() { Exit::Done } else { Exit::No }
}

pub(super) fn no_cluster() -> Fail {
    Fail::new(Exit::No, "this host is to be in no cluster: the configuration has no [cluster]")
        .hint("--config FILE, if it is another one")
}

pub(super) fn running_agent(wanted: &Wanted) -> Option<Agent> {
    let client = Client::new(wanted.control()).ok()?;
    let status = client.ask(&Request::Status).ok()?.read().ok()?;
    let cluster = client.ask(&Request::Cluster).ok().and_then(|answer| answer.read().ok());
    Some(Agent { status, cluster })
}
