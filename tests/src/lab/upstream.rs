//! The servers behind the router: `router-test-upstream` in its namespace.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use super::{
    netns::Namespace,
    program::Program,
    topology::{UPSTREAM4, UPSTREAM6},
};

/// A running HTTP server and echo server; killed on drop.
#[derive(Debug)]
pub struct Upstream {
    _program: Program,
}

impl Upstream {
    /// Starts them in `namespace` and waits until they listen.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let http = [format!("{UPSTREAM4}:{HTTP_PORT}"), format!("[{UPSTREAM6}]:{HTTP_PORT}")];
        let echo = format!("{UPSTREAM4}:{ECHO_PORT}");
        Self::listen(namespace, &["--http", &http[0], "--http", &http[1], "--echo", &echo])
    }

    /// Another HTTP server, on another port.
    pub fn http(namespace: &Namespace, port: u16) -> Result<Self> {
        Self::listen(namespace, &["--http", &format!("{UPSTREAM4}:{port}")])
    }

    fn listen(namespace: &Namespace, addresses: &[&str]) -> Result<Self> {
        let mut command = namespace.command(binary()?);
        command.args(addresses);
        let program = Program::start("router-test-upstream", &mut command)?;
        program.await_line("READY", START)?;
        Ok(Self { _program: program })
    }
}

/// How long they may take to listen.
const START: Duration = Duration::from_secs(60);

/// Where the upstream speaks HTTP/1.1.
pub(super) const HTTP_PORT: u16 = 80;

/// Where the upstream echoes what it gets.
pub(super) const ECHO_PORT: u16 = 7;

/// Cargo puts the programs of a package beside each other, and its tests a folder below.
fn binary() -> Result<PathBuf> {
    let us = std::env::current_exe()?;
    let found =
        us.ancestors().skip(1).take(2).map(|folder| folder.join("router-test-upstream")).find(|path| path.exists());
    found.context("router-test-upstream is not built; try: cargo build -p router-tests --bins")
}
