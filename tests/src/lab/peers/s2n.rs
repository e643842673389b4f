//! s2n-quic clients, many in one process: `s2nq`.

use std::time::Duration;

use anyhow::Result;

use super::{Clients, Load, Summary};
use crate::lab::{Namespace, Program};

/// A run of `s2nq` to be.
#[derive(Clone, Debug)]
pub struct S2n<'lab> {
    namespace: &'lab Namespace,
    arguments: Vec<String>,
    load: Load,
}

impl<'lab> S2n<'lab> {
    /// Clients in `namespace` that fetch `url`, whose host is an address; one connection, one request.
    pub fn new(namespace: &'lab Namespace, url: &str) -> Self {
        let load = Load { connections: 1, per_connection: 1, moving: false, until_told: false };
        Self { namespace, arguments: vec!["get".into(), "-url".into(), url.into()], load }
    }

    /// So many connections, all at once, each on a socket of its own.
    pub fn connections(mut self, count: u64) -> Self {
        self.load.connections = count;
        self
    }

    /// So many requests, one after the other, on each connection.
    pub fn requests(mut self, count: u64) -> Self {
        self.load.per_connection = count;
        self
    }

    /// They begin with a post-quantum key share, which s2n-quic by itself does not: the ClientHello takes two Initials.
    pub fn hybrid(self) -> Self {
        self.option("-hybrid")
    }

    /// So long nothing happens on a connection between two requests.
    pub fn pausing(self, time: Duration) -> Self {
        self.option("-pause").option(&format!("{}ms", time.as_millis()))
    }

    /// After so long a silence each connection sends a PING.
    pub fn keeping_alive(self, silence: Duration) -> Self {
        self.option("-keepalive").option(&format!("{}ms", silence.as_millis()))
    }

    /// Any other option.
    pub fn option(mut self, option: &str) -> Self {
        self.arguments.push(option.into());
        self
    }

    /// Runs it to its end; anything that did not succeed is an error.
    pub fn succeed(&self) -> Result<Summary> {
        self.start()?.succeed()
    }

    /// Starts it, to do something else meanwhile.
    pub fn start(&self) -> Result<Clients> {
        let Load { connections, per_connection, .. } = self.load;
        let (connections, each) = (connections.to_string(), per_connection.to_string());
        let mut command = self.namespace.command(super::find("s2nq")?);
        command.args(&self.arguments).args(["-n", &connections, "-c", &connections, "-r", &each]);
        command.args(["-json", "-timeout", "45s"]);
        Ok(Clients { program: Program::start("s2nq", &mut command)?, load: self.load, patience: PATIENCE })
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
