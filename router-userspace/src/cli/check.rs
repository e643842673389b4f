//! `quic-router check`: what a start would run, and whether this host lets it; without starting.

use std::path::Path;

use serde::Serialize;

use super::{
    Global, Json,
    doctor::{Finding, Findings, Wanted, examine},
    fail::{Exit, Fail},
    output::{self, Align::Left, Table},
};
use crate::{
    agent::api::SCHEMA,
    config::{Certificates, Config, ConfigError, Engine, Route, Server, StartFlags},
};

/// Read the configuration, probe the host, change nothing
///
/// Takes the flags of run, and says what that would run. Exits with 1 if the configuration is
/// invalid or something that it needs fails.
#[derive(clap::Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    start: StartFlags,
    #[command(flatten)]
    json: Json,
}

impl Check {
    pub(super) fn execute(&self, global: &Global) -> Result<Exit, Fail> {
        match Config::load(&global.config, &self.start, global.control.as_deref()) {
            Ok(config) => self.tell(&config, &global.config),
            Err(error) if self.json.json => {
                output::print_json(&Answer::invalid(&error))?;
                Ok(Exit::No)
            }
            Err(error) => Err(Fail::every_problem(&error)),
        }
    }

    fn tell(&self, config: &Config, file: &Path) -> Result<Exit, Fail> {
        let findings = Findings::new(examine(&Wanted::by(config)));
        if self.json.json {
            output::print_json(&Answer::valid(config, &findings))?;
        } else {
            let source = if file.exists() { file.display().to_string() } else { "the command line".to_owned() };
            output::print(&format!("{source} is valid\n\n{}\n{}", plan(config), findings.text()))?;
        }
        Ok(findings.exit())
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    schema: u32,
    valid: bool,
    problems: Vec<Problem>,
    notices: &'a [String],
    healthy: bool,
    findings: &'a [Finding],
}

/// Something wrong in the configuration.
#[derive(Serialize)]
struct Problem {
    problem: String,
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl<'a> Answer<'a> {
    fn invalid(error: &ConfigError) -> Self {
        let each = error.problems().iter();
        let problems =
            each.map(|problem| Problem { problem: problem.to_string(), hint: problem.hint().map(str::to_owned) });
        Self { schema: SCHEMA, valid: false, problems: problems.collect(), notices: &[], healthy: false, findings: &[] }
    }

    fn valid(config: &'a Config, findings: &'a Findings) -> Self {
        Self {
            schema: SCHEMA,
            valid: true,
            problems: Vec::new(),
            notices: &config.notices,
            healthy: findings.healthy(),
            findings: findings.all(),
        }
    }
}

/// What a start would run, for people.
fn plan(config: &Config) -> String {
    let router = &config.router;
    let mut table = Table::new(0, &[Left, Left]);
    let on = if router.interfaces.is_empty() { String::new() } else { format!(" on {}", router.interfaces.join(", ")) };
    let workers = output::plural(router.workers.get().into(), "worker", "workers");
    table.row(["node", &format!("{}, {workers}, engine {}{on}", router.node_id, engine_name(router.engine))]);
    for listener in &config.listeners {
        let certificates = match &listener.certificates {
            Certificates::SelfSigned => "self-signed certificate".to_owned(),
            Certificates::Files(files) => output::plural(files.len() as u64, "certificate", "certificates"),
        };
        table.row(["listener", &format!("{}, {certificates}", listener.address)]);
    }
    for route in &config.routes {
        table.row(["route", &describe(route)]);
    }
    if config.routes.is_empty() {
        table.row(["route", "every request to the built-in page"]);
    }
    for (name, upstream) in &config.upstreams {
        let servers: Vec<String> = upstream.servers.iter().map(url).collect();
        table.row(["upstream", &format!("{name}: {}", servers.join(", "))]);
    }
    let limits = &config.limits;
    let (node, ip) =
        (output::count(limits.max_connections.into()), output::count(limits.max_connections_per_ip.into()));
    table.row(["limits", &format!("{node} connections, {ip} of one address")]);
    for notice in &config.notices {
        table.row(["notice", notice]);
    }
    table.text()
}

fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Auto => "auto",
        Engine::AfXdp => "af_xdp",
        Engine::Xdp => "xdp",
        Engine::Reuseport => "reuseport",
        Engine::Userspace => "userspace",
    }
}

fn describe(route: &Route) -> String {
    match route {
        Route::Http { host, path, upstream } => {
            format!("{}{path} to {upstream}", host.as_deref().unwrap_or("any host, "))
        }
        Route::Raw { alpn, sni, upstream } => {
            let sni = sni.as_ref().map(|sni| format!(" for {sni}")).unwrap_or_default();
            format!("every stream of ALPN {alpn}{sni} to {upstream}")
        }
    }
}

fn url(server: &Server) -> String {
    let (scheme, authority) = match server {
        Server::Http(authority) => ("http", authority),
        Server::Tcp(authority) => ("tcp", authority),
    };
    if authority.host.contains(':') {
        format!("{scheme}://[{}]:{}", authority.host, authority.port)
    } else {
        format!("{scheme}://{}:{}", authority.host, authority.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_would_run() {
        let text = r#"
            [router]
            node_id = 7
            workers = 4
            engine = "xdp"
            interfaces = ["eth0", "eth1"]
            [connection_id]
            encryption = "none"
            [[listener]]
            address = "127.0.0.1:4433"
            [[route]]
            host = "example.com"
            path = "/api/"
            upstream = "api"
            [[route]]
            alpn = "echo"
            upstream = "tcp-echo"
            [upstream.api]
            servers = ["http://127.0.0.1:8080", "http://[::1]:8080"]
            [upstream.tcp-echo]
            servers = ["tcp://127.0.0.1:7"]
        "#;
        let expected = "\
node      7, 4 workers, engine xdp on eth0, eth1
listener  127.0.0.1:4433, self-signed certificate
route     example.com/api/ to api
route     every stream of ALPN echo to tcp-echo
upstream  api: http://127.0.0.1:8080, http://[::1]:8080
upstream  tcp-echo: tcp://127.0.0.1:7
limits    100,000 connections, 1,000 of one address
notice    test:10: listener 127.0.0.1:4433 has no certificates: a self-signed one is made at start
";
        assert_eq!(plan(&Config::parse(text, "test").unwrap()), expected);
    }

    #[test]
    fn without_routes_there_is_the_built_in_page() {
        let flags = StartFlags { listen: vec!["127.0.0.1:4433".to_owned()], ..StartFlags::default() };
        let config = Config::from_flags(&flags, None).unwrap();
        assert!(plan(&config).contains("route     every request to the built-in page\n"));
    }

    #[test]
    fn every_problem_is_in_the_json() {
        let error = Config::parse("[router]\nnode_id = 70000\nengine = \"warp\"\n", "test").unwrap_err();
        let answer = Answer::invalid(&error);
        assert_eq!(answer.problems.len(), error.problems().len());
        assert!(answer.problems.len() > 1 && !answer.valid);
    }
}
