//! `quic-router check`: what a start would run, and whether this host lets it; without starting.

use std::{net::SocketAddr, path::Path};

use http::Method;
use serde::Serialize;

use super::{
    doctor::{exit, look},
    fail::{Exit, Fail},
    options::{Global, Json},
    output::{self, Align::Left, Table},
};
use crate::{
    agent::api::SCHEMA,
    config::{
        AccessLog, AccessLogFormat, Action, Certificates, Config, ConfigError, Destination, Engine, HttpRoute,
        Listener, RawRoute, Redirect, Route, Server, StartFlags, Upstream,
    },
    doctor::{Finding, Findings, Wanted},
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
        let findings = Findings::new(look(&Wanted::by(config)));
        if self.json.json {
            output::print_json(&Answer::valid(config, &findings))?;
        } else {
            let source = if file.exists() { file.display().to_string() } else { "the command line".to_owned() };
            output::print(&format!("{source} is valid\n\n{}\n{}", plan(config), findings.text()))?;
        }
        Ok(exit(&findings))
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
        add_listener(&mut table, listener);
    }
    for route in &config.routes {
        table.row(["route", &describe(route)]);
    }
    if config.routes.is_empty() {
        table.row(["route", "every request to the built-in page"]);
    }
    for (name, upstream) in &config.upstreams {
        table.row(["upstream", &format!("{name}: {}", answerers(upstream))]);
    }
    let limits = &config.limits;
    let (node, ip) =
        (output::count(limits.max_connections.into()), output::count(limits.max_connections_per_ip.into()));
    table.row(["limits", &format!("{node} connections, {ip} of one client")]);
    add_what_is_seen(&mut table, config);
    for notice in &config.notices {
        table.row(["notice", notice]);
    }
    table.text()
}

fn add_listener(table: &mut Table, listener: &Listener) {
    let certificates = match &listener.certificates {
        Certificates::SelfSigned => "self-signed certificate".to_owned(),
        Certificates::Files(files) => output::plural(files.len() as u64, "certificate", "certificates"),
    };
    let tcp = if listener.tcp { ", TCP too" } else { "" };
    table.row(["listener", &format!("{}, {certificates}{tcp}", listener.address)]);
    if let Some(from) = listener.redirect_from {
        table.row(["redirect", &format!("http on {from} to https on port {}", listener.address.port())]);
    }
}

fn add_what_is_seen(table: &mut Table, config: &Config) {
    if let Some(admin) = &config.admin {
        table.row(["admin", &format!("metrics on http://{}", admin.address)]);
    }
    if let Some(log) = &config.access_log {
        table.row(["access log", &access_log(log)]);
    }
    if let Some(qlog) = &config.qlog {
        let part = if qlog.sample < 1.0 { format!("{} of connections", qlog.sample) } else { "connections".to_owned() };
        table.row(["qlog", &format!("{part} in {}", qlog.dir.display())]);
    }
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
        Route::Http(route) => {
            let action = match &route.action {
                Action::Upstream(upstream) => format!("to {upstream}"),
                Action::Redirect(Redirect { to, status }) => format!("redirected to {to} ({})", status.as_u16()),
            };
            format!("{} {action}{}", requests(route), from(&route.listeners))
        }
        Route::Raw(RawRoute { alpn, sni, upstream, listeners, .. }) => {
            let sni = sni.as_ref().map(|sni| format!(" for {sni}")).unwrap_or_default();
            format!("every stream of ALPN {alpn}{sni} to {upstream}{}", from(listeners))
        }
    }
}

fn from(listeners: &[SocketAddr]) -> String {
    let addresses: Vec<_> = listeners.iter().map(ToString::to_string).collect();
    if addresses.is_empty() { String::new() } else { format!(", at {} alone", addresses.join(" and ")) }
}

/// Which requests a route takes.
fn requests(HttpRoute { host, path, methods, headers, .. }: &HttpRoute) -> String {
    let host = host.as_ref().map_or_else(|| "any host, ".to_owned(), ToString::to_string);
    let mut text = format!("{host}{path}");
    if !methods.is_empty() {
        text += &format!(", {}", methods.iter().map(Method::as_str).collect::<Vec<_>>().join(" or "));
    }
    for header in headers {
        text += &format!(", with {}", header.name);
        if let Some(value) = &header.value {
            text += &format!(": {}", String::from_utf8_lossy(value.as_bytes()));
        }
    }
    text
}

fn access_log(log: &AccessLog) -> String {
    let format = match log.format {
        AccessLogFormat::Json => "JSON",
        AccessLogFormat::Combined => "combined",
    };
    match &log.to {
        Destination::Stdout => format!("{format} on standard output"),
        Destination::File(path) => format!("{format} in {}", path.display()),
    }
}

fn answerers(upstream: &Upstream) -> String {
    let server = |Server { address, weight }: &Server| match weight {
        1 => address.to_string(),
        weight => format!("{address} (weight {weight})"),
    };
    match upstream {
        Upstream::Servers(servers) => servers.all.iter().map(server).collect::<Vec<_>>().join(", "),
        Upstream::Files(folder) => format!("files:{}", folder.display()),
        Upstream::Respond(status) => format!("respond:{}", status.as_u16()),
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
limits    100,000 connections, 1,000 of one client
notice    test:10: listener 127.0.0.1:4433 has no certificates: a self-signed one is made at start
";
        assert_eq!(plan(&Config::parse(text, "test").unwrap()), expected);
    }

    #[test]
    fn says_what_an_edge_would_run() {
        let text = r#"
            [router]
            workers = 1
            engine = "userspace"
            [admin]
            address = "127.0.0.1:9180"
            [access_log]
            file = "/var/log/access.log"
            [qlog]
            dir = "/var/log/qlog"
            sample = 0.01
            [[listener]]
            address = "127.0.0.1:443"
            tcp = true
            redirect_from = "127.0.0.1:80"
            [[route]]
            host = "*.example.com"
            path = "/old/"
            redirect = "https://example.com{path}"
            redirect_status = 301
            [[route]]
            methods = ["GET", "HEAD"]
            headers = { x-beta = "1", x-any = true }
            upstream = "api"
            [[route]]
            upstream = "none"
            [upstream.api]
            servers = [{ url = "https://a", weight = 2 }, "unix:/run/b"]
            [upstream.none]
            servers = ["respond:404"]
        "#;
        let expected = "\
node        1, 1 worker, engine userspace
listener    127.0.0.1:443, self-signed certificate, TCP too
redirect    http on 127.0.0.1:80 to https on port 443
route       *.example.com/old/ redirected to https://example.com{path} (301)
route       any host, /, GET or HEAD, with x-any, with x-beta: 1 to api
route       any host, / to none
upstream    api: https://a:443 (weight 2), unix:/run/b
upstream    none: respond:404
limits      100,000 connections, 1,000 of one client
admin       metrics on http://127.0.0.1:9180
access log  JSON in /var/log/access.log
qlog        0.01 of connections in /var/log/qlog
notice      test:13: listener 127.0.0.1:443 has no certificates: a self-signed one is made at start
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
