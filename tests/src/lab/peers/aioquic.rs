//! aioquic clients, many in one process: `aioq`.

use std::time::Duration;

use anyhow::Result;

use super::{Clients, Load, Summary};
use crate::lab::{Namespace, Program};

/// A run of `aioq` to be.
#[derive(Clone, Debug)]
pub struct Aioquic<'lab> {
    namespace: &'lab Namespace,
    arguments: Vec<String>,
    load: Load,
}

impl<'lab> Aioquic<'lab> {
    /// Clients in `namespace` that fetch `url`; one connection, one request.
    pub fn new(namespace: &'lab Namespace, url: &str) -> Self {
        let load = Load { connections: 1, per_connection: 1, moving: false, until_told: false };
        Self { namespace, arguments: vec![url.into()], load }
    }

    /// So many connections, all at once.
    pub fn connections(mut self, count: u64) -> Self {
        self.load.connections = count;
        self
    }

    /// So many requests, one after the other, on each connection.
    pub fn requests(mut self, count: u64) -> Self {
        self.load.per_connection = count;
        self
    }

    /// Each connection gets another local port after so many octets of answers.
    pub fn rebinding_at(mut self, octets: u64) -> Self {
        self.load.moving = true;
        self.option("--rebind").option("--rebind-at").option(&octets.to_string())
    }

    /// Each connection goes on half-way with the next connection ID that the router gave it.
    pub fn changing_id(mut self) -> Self {
        self.load.moving = true;
        self.option("--cid")
    }

    /// Each connection goes on half-way with the next keys (RFC 9001 section 6).
    pub fn updating_keys(mut self) -> Self {
        self.load.moving = true;
        self.option("--keyupdate")
    }

    /// Any other option.
    pub fn option(mut self, option: &str) -> Self {
        self.arguments.push(option.into());
        self
    }

    /// The client-chosen connection ID of its first flight.
    pub fn beginning_with(self, cid: &[u8]) -> Self {
        self.option("--dcid").option(&crate::content::hex(cid))
    }

    /// So long nothing happens on a connection between two requests.
    pub fn pausing(self, time: Duration) -> Self {
        self.option("--pause").option(&time.as_secs_f32().to_string())
    }

    /// Runs it to its end; anything that did not succeed is an error.
    pub fn succeed(&self) -> Result<Summary> {
        self.start()?.succeed()
    }

    /// Starts it, to do something else meanwhile.
    pub fn start(&self) -> Result<Clients> {
        let Load { connections, per_connection, .. } = self.load;
        let mut command = self.namespace.command(super::find("aioq")?);
        command.args(&self.arguments).args(["--conns", &connections.to_string(), "-n", &per_connection.to_string()]);
        command.args(["--json", "--timeout", "20"]);
        let program = Program::start("aioq", &mut command)?;
        Ok(Clients { program, load: self.load, patience: PATIENCE })
    }
}

const PATIENCE: Duration = Duration::from_secs(120);
