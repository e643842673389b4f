//! aioquic clients: `aioq`.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::lab::{Namespace, Program};

/// A run of `aioq`.
#[derive(Clone, Debug)]
pub struct Aioquic<'lab> {
    namespace: &'lab Namespace,
    arguments: Vec<String>,
    connections: usize,
}

impl<'lab> Aioquic<'lab> {
    /// Clients in `namespace` that fetch `url` six times, on one connection.
    pub fn new(namespace: &'lab Namespace, url: &str) -> Self {
        Self { namespace, arguments: vec![url.into()], connections: 1 }
    }

    /// So many connections, all at once.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self.option("--conns").option(&count.to_string())
    }

    /// Any other option.
    pub fn option(mut self, option: &str) -> Self {
        self.arguments.push(option.into());
        self
    }

    /// Runs it to its end; anything that did not succeed is an error. What it printed, a
    /// line for each connection.
    pub fn succeed(&self) -> Result<Vec<String>> {
        let mut command = self.namespace.command(super::find("aioq")?);
        let finished = Program::start("aioq", command.args(&self.arguments))?.finish(PATIENCE)?.succeeded()?;
        let lines: Vec<_> = finished.stdout.lines().filter(|line| line.contains("ok 6/6")).map(str::to_owned).collect();
        ensure!(lines.len() == self.connections, "{} connections: {}", self.connections, finished.stdout);
        Ok(lines)
    }
}

const PATIENCE: Duration = Duration::from_secs(40);
