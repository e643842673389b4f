//! quic-go clients, many in one process: `goq`.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::lab::{Namespace, Program};

/// A run of `goq` to be.
#[derive(Clone, Debug)]
pub struct QuicGo<'lab> {
    namespace: &'lab Namespace,
    router: SocketAddr,
    arguments: Vec<String>,
    expected: Expected,
}

/// How many connections and requests (or streams) there will be.
#[derive(Clone, Copy, Debug)]
struct Expected {
    connections: u64,
    per_connection: u64,
}

/// What became of the connections of one run.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Summary {
    /// Connections whose handshake succeeded.
    pub connections_ok: u64,
    /// Connections whose handshake failed.
    pub connections_failed: u64,
    /// Requests, or streams, that got the right answer.
    pub requests_ok: u64,
    /// Requests, or streams, that did not.
    pub requests_failed: u64,
    /// Connections that changed their address.
    pub moved: u64,
    /// Octets of answers.
    pub bytes: u64,
    /// What went wrong, and how often.
    #[serde(default)]
    pub errors: BTreeMap<String, u64>,
    /// Short answers, and how often each came.
    #[serde(default)]
    pub bodies: BTreeMap<String, u64>,
}

impl<'lab> QuicGo<'lab> {
    /// Clients in `namespace` of the router at `router`; one connection, one request.
    pub fn new(namespace: &'lab Namespace, router: SocketAddr) -> Self {
        Self { namespace, router, arguments: Vec::new(), expected: Expected { connections: 1, per_connection: 1 } }
    }

    /// HTTP/3: `GET path`.
    pub fn get(self, path: &str) -> Self {
        let url = format!("https://{}{path}", self.router);
        self.argument("get").option("url", url)
    }

    /// HTTP/3: `POST path` with so many octets.
    pub fn post(self, path: &str, octets: u64) -> Self {
        self.get(path).option("post", octets).flag("bodies")
    }

    /// Raw QUIC: streams of so many octets, which have to come back the same.
    pub fn echo(self, octets: u64) -> Self {
        let router = self.router;
        self.argument("echo").option("addr", router).option("alpn", "echo").option("size", octets)
    }

    /// So many connections, all at once.
    pub fn connections(mut self, count: u64) -> Self {
        self.expected.connections = count;
        self.option("n", count).option("c", count)
    }

    /// So many requests, one after the other, on each connection.
    pub fn requests(mut self, count: u64) -> Self {
        self.expected.per_connection = count;
        self.option("r", count)
    }

    /// So many streams, one after the other, on each connection.
    pub fn streams(mut self, count: u64) -> Self {
        self.expected.per_connection = count;
        self.option("streams", count)
    }

    /// All connections through one UDP socket.
    pub fn one_socket(self) -> Self {
        self.flag("shared")
    }

    /// Each connection gets another local port half-way, without knowing it.
    pub fn rebinding(self) -> Self {
        self.flag("rebind")
    }

    /// The same in the middle of a body, after so many octets of it.
    pub fn rebinding_at(self, octets: u64) -> Self {
        self.flag("rebind").option("rebind-at", octets)
    }

    /// Each connection changes to a new path half-way, knowing it.
    pub fn migrating(self) -> Self {
        self.flag("migrate")
    }

    /// A pause between the requests of a connection.
    pub fn pausing(self, pause: Duration) -> Self {
        self.option("pause", format!("{}ms", pause.as_millis()))
    }

    /// Any other option.
    pub fn option(self, name: &str, value: impl ToString) -> Self {
        self.argument(&format!("-{name}")).argument(&value.to_string())
    }

    /// Starts it, to do something else meanwhile.
    pub fn start(&self) -> Result<Started> {
        let mut command = self.namespace.command(super::find("goq")?);
        command.args(&self.arguments).args(["-json", "-timeout", &format!("{}s", PER_CONNECTION.as_secs())]);
        Ok(Started { program: Program::start("goq", &mut command)?, expected: self.expected })
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Summary> {
        self.start()?.finish()
    }

    /// Runs it to its end; anything that did not succeed is an error.
    pub fn succeed(&self) -> Result<Summary> {
        self.start()?.succeed()
    }

    fn flag(self, name: &str) -> Self {
        self.argument(&format!("-{name}"))
    }

    fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }
}

/// A run of `goq` in progress; killed on drop.
#[derive(Debug)]
pub struct Started {
    program: Program,
    expected: Expected,
}

impl Started {
    /// Waits until it has ended, at most for `patience`, and says whether it has.
    pub fn ends_within(&self, patience: Duration) -> bool {
        self.program.ends_within(patience)
    }

    /// Waits until it has ended.
    pub fn finish(self) -> Result<Summary> {
        let finished = self.program.finish(PER_CONNECTION + Duration::from_secs(15))?;
        let last = finished.stdout.lines().rev().find(|line| line.starts_with('{'));
        let json = last.with_context(|| format!("goq: no summary: {}{}", finished.stdout, finished.stderr))?;
        serde_json::from_str(json).with_context(|| format!("goq: {json}"))
    }

    /// Waits until it has ended; anything that did not succeed is an error.
    pub fn succeed(self) -> Result<Summary> {
        let Expected { connections, per_connection } = self.expected;
        let summary = self.finish()?;
        let all = summary.connections_ok == connections && summary.requests_ok == connections * per_connection;
        ensure!(
            all && summary.errors.is_empty(),
            "{connections} connections by {per_connection} requests: {summary:?}"
        );
        Ok(summary)
    }
}

/// How long a connection may take in all.
const PER_CONNECTION: Duration = Duration::from_secs(45);
