//! `quic-router status`: the whole agent at a glance, its health first.

mod counts;
mod parts;

use std::time::Duration;

use self::{
    counts::{flow_table, memory_held, totals},
    parts::{certificates, generations, interfaces, listeners, queues, servers},
};
use super::{
    cid,
    fail::{Exit, Fail},
    nodes,
    options::{Global, Json},
    output::{self, Table},
    watch::Watch,
};
use crate::agent::{api, control::Request};

/// Show health, the engine of each interface and why, listeners, totals
///
/// Exits with 1 if the agent is not healthy.
#[derive(clap::Args, Debug)]
pub(super) struct Status {
    /// Print nothing, not even errors: the exit code is the answer, for health checks
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    quiet: bool,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    json: Json,
}

impl Status {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        if self.quiet {
            return Ok(health_of_agent(global).unwrap_or_else(|fail| fail.exit()));
        }
        let client = global.client()?;
        self.watch.print(|| {
            let answer = client.ask(&Request::Status)?;
            let status: api::Status = answer.read()?;
            let text = if self.json.json { answer.json() + "\n" } else { text(&status) };
            Ok((text, exit(&status)))
        })
    }
}

fn health_of_agent(global: &Global) -> Result<Exit, Fail> {
    Ok(exit(&global.client()?.ask(&Request::Status)?.read()?))
}

fn exit(status: &api::Status) -> Exit {
    if status.healthy { Exit::Done } else { Exit::No }
}

fn text(status: &api::Status) -> String {
    let sections = [
        health(status),
        section("generations", &generations(&status.generations)),
        section("interfaces", &interfaces(&status.interfaces)),
        section("receive queues (AF_XDP)", &queues(&status.interfaces)),
        section("listeners", &listeners(&status.listeners)),
        section("totals of all workers", &totals(&status.totals)),
        status.flow_table.as_ref().map(|table| section("flow table", &flow_table(table))).unwrap_or_default(),
        status.memory.as_ref().map(|memory| section("memory", &memory_held(memory))).unwrap_or_default(),
        section("connection IDs", &cid::configurations(&status.connection_ids, 2)),
        section("servers", &servers(&status.upstreams)),
        section("certificates", &certificates(&status.certificates)),
    ];
    sections.into_iter().filter(|section| !section.is_empty()).collect::<Vec<_>>().join("\n")
}

fn health(status: &api::Status) -> String {
    let mut text = if status.healthy { "healthy\n".to_owned() } else { "NOT HEALTHY\n".to_owned() };
    for problem in &status.problems {
        text += &format!("  {problem}\n");
    }
    text + &format!(
        "node {}, generation {}, process {}, up {}\nquic-router {} ({})\n",
        status.node_id,
        status.generation,
        status.pid,
        output::span(Duration::from_secs(status.uptime_seconds)),
        status.version,
        status.build,
    ) + &status.announced.iter().map(|one| format!("announced: {}\n", nodes::announced(one))).collect::<String>()
}

fn section(title: &str, table: &Table) -> String {
    match table.text() {
        lines if lines.is_empty() => String::new(),
        lines => format!("{title}\n{lines}"),
    }
}

#[cfg(test)]
mod tests;
