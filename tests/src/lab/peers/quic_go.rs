//! quic-go clients, many in one process: `goq`.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use super::{Clients, Load, Summary};
use crate::lab::{Namespace, Program};

/// A run of `goq` to be.
#[derive(Clone, Debug)]
pub struct QuicGo<'lab> {
    namespace: &'lab Namespace,
    router: SocketAddr,
    arguments: Vec<String>,
    load: Load,
    at_once: Option<u64>,
    time: Duration,
    in_all: Option<Duration>,
}

impl<'lab> QuicGo<'lab> {
    /// Clients in `namespace` of the router at `router`; one connection, one request.
    pub fn new(namespace: &'lab Namespace, router: SocketAddr) -> Self {
        let load = Load { connections: 1, per_connection: 1, moving: false, until_told: false };
        Self { namespace, router, arguments: Vec::new(), load, at_once: None, time: PER_CONNECTION, in_all: None }
    }

    /// HTTP/3: `GET path`.
    pub fn get(self, path: &str) -> Self {
        let url = format!("https://{}{path}", self.router);
        self.argument("get").option("url", url)
    }

    /// HTTP/3: `POST path` with so many octets of the pattern. The answer has to be those, or
    /// their size and SHA-256.
    pub fn post(self, path: &str, octets: u64) -> Self {
        self.get(path).option("post", octets).flag("check-post")
    }

    /// Raw QUIC: streams of so many octets, which have to come back the same.
    pub fn echo(self, octets: u64) -> Self {
        let router = self.router;
        self.argument("echo").option("addr", router).option("alpn", "echo").option("size", octets)
    }

    /// So many connections, all at once unless [`at_once`](Self::at_once) says otherwise.
    pub fn connections(mut self, count: u64) -> Self {
        self.load.connections = count;
        self
    }

    /// So many of the connections at a time: when one ends, the next begins.
    pub fn at_once(mut self, count: u64) -> Self {
        self.at_once = Some(count);
        self
    }

    /// The connections begin so far apart, however long those before them take.
    pub fn every(self, time: Duration) -> Self {
        self.option("every", format!("{}us", time.as_micros()))
    }

    /// The summary has the time of each handshake.
    pub fn timing_each(self) -> Self {
        self.flag("times")
    }

    /// A connection may take so long in all.
    pub fn within(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// All of them may take so long, one after the other. Otherwise it is a little longer than one
    /// may take.
    pub fn in_all(mut self, time: Duration) -> Self {
        self.in_all = Some(time);
        self
    }

    /// So long nothing happens on a connection between two requests.
    pub fn pausing(self, time: Duration) -> Self {
        self.option("pause", format!("{}ms", time.as_millis()))
    }

    /// So many requests (or streams), one after the other, on each connection.
    pub fn requests(mut self, count: u64) -> Self {
        self.load.per_connection = count;
        self
    }

    /// At least so many requests as [`requests`](Self::requests) says, on until [`Clients::finish`] is
    /// called, and one more: these clients are there as long as the test needs them, however slow the
    /// machine.
    pub fn until_told(mut self) -> Self {
        self.load.until_told = true;
        self.time = UNTIL_TOLD;
        self.flag("until-told")
    }

    /// All connections through one UDP socket.
    pub fn one_socket(self) -> Self {
        self.flag("shared")
    }

    /// Each connection gets another local port after so many octets of bodies, without
    /// knowing it.
    pub fn rebinding_at(mut self, octets: u64) -> Self {
        self.load.moving = true;
        self.flag("rebind").option("rebind-at", octets)
    }

    /// Each connection changes to a new path after so many octets of bodies, knowing it.
    pub fn migrating_at(mut self, octets: u64) -> Self {
        self.load.moving = true;
        self.flag("migrate").option("rebind-at", octets)
    }

    /// When the router asks for it (GOAWAY), each goes on with another connection.
    pub fn following(self) -> Self {
        self.flag("follow")
    }

    /// After so long a silence each connection sends a PING: a client that only waits would not
    /// notice that its server is gone.
    pub fn keeping_alive(self, silence: Duration) -> Self {
        self.option("keepalive", format!("{}ms", silence.as_millis()))
    }

    /// After its last request each connection stays open so long.
    pub fn holding(self, time: Duration) -> Self {
        self.option("hold", format!("{}ms", time.as_millis()))
    }

    /// Any other flag.
    pub fn flag(self, name: &str) -> Self {
        self.argument(&format!("-{name}"))
    }

    /// Any other option.
    pub fn option(self, name: &str, value: impl ToString) -> Self {
        self.flag(name).argument(&value.to_string())
    }

    /// Starts it, to do something else meanwhile.
    pub fn start(&self) -> Result<Clients> {
        let Load { connections, per_connection, .. } = self.load;
        let at_once = self.at_once.unwrap_or(connections).to_string();
        let (connections, each) = (connections.to_string(), per_connection.to_string());
        let mut command = self.namespace.command(super::find("goq")?);
        command.args(&self.arguments).args(["-n", &connections, "-c", &at_once, "-r", &each, "-streams", &each]);
        // Go goes by the age of a module, and would leave post-quantum key shares out.
        command.env("GODEBUG", "tlsmlkem=1");
        command.args(["-json", "-timeout", &format!("{}s", self.time.as_secs())]);
        let patience = self.in_all.unwrap_or(self.time + Duration::from_secs(15));
        Ok(Clients { program: Program::start("goq", &mut command)?, load: self.load, patience })
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Summary> {
        self.start()?.finish()
    }

    /// Runs it to its end; anything that did not succeed is an error.
    pub fn succeed(&self) -> Result<Summary> {
        self.start()?.succeed()
    }

    fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.into());
        self
    }
}

/// How long a connection may take in all, unless a test says otherwise.
const PER_CONNECTION: Duration = Duration::from_secs(45);

/// How long one may take that a test tells when to end.
const UNTIL_TOLD: Duration = Duration::from_secs(240);
