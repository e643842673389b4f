//! `check` and `doctor`: what the configuration asks for, and whether the host can give it.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{
    Output, Places,
    doctor::{self, Finding, Level, Subject},
    fail::{Failed, load_config, print},
    text::to_json,
};
use crate::{
    agent::api::SCHEMA,
    config::{Config, Engine, StartFlags},
};

#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    flags: StartFlags,
    #[command(flatten)]
    output: Output,
}

#[derive(Args, Debug)]
pub(super) struct Doctor {
    /// Examine these interfaces, in place of the configuration's (repeatable)
    #[arg(long, value_name = "IF")]
    interface: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// What both print as JSON.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    ok: bool,
    notices: &'a [String],
    findings: &'a [Finding],
}

impl Check {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        let config = load_config(places, &self.flags)?;
        report(self.output, &config.notices, &doctor::examine(&subject(&config)), &summary(&config))
    }
}

impl Doctor {
    pub(super) fn carry_out(&self, places: &Places) -> Result<ExitCode, Failed> {
        // The doctor is there also when the configuration is not, or is ill.
        let config = Config::load(&places.config, &StartFlags::default(), places.control.as_deref());
        let mut subject = config.as_ref().map_or_else(|_| Subject::default(), subject);
        if !self.interface.is_empty() {
            subject.interfaces.clone_from(&self.interface);
        }
        report(self.output, &[], &doctor::examine(&subject), "")
    }
}

fn report(output: Output, notices: &[String], findings: &[Finding], summary: &str) -> Result<ExitCode, Failed> {
    let ok = !findings.iter().any(|finding| finding.level == Level::Fail);
    if output.json {
        print(&to_json(&Report { schema: SCHEMA, ok, notices, findings })?)?;
    } else {
        let notices: String = notices.iter().map(|notice| format!("note: {notice}\n")).collect();
        print(&format!("{summary}{notices}{}", doctor::render(findings)))?;
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn subject(config: &Config) -> Subject {
    Subject {
        interfaces: config.router.interfaces.clone(),
        workers: config.router.workers.get(),
        max_connections: config.limits.max_connections,
        bpf_dir: config.router.bpf_dir.clone(),
        listeners: config.listeners.iter().map(|listener| listener.address).collect(),
        needs_bpf: config.router.engine != Engine::Userspace,
    }
}

fn summary(config: &Config) -> String {
    let listeners: Vec<_> = config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    format!(
        "the configuration is valid: node {}, {} workers, listening on {}, {} routes, {} upstreams\n",
        config.router.node_id,
        config.router.workers,
        listeners.join(", "),
        config.routes.len(),
        config.upstreams.len()
    )
}
