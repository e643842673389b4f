//! ngtcp2's example client: `gtlsclient`.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};

use crate::lab::{Namespace, Program};

/// A run of `gtlsclient`.
#[derive(Clone, Debug)]
pub struct Ngtcp2<'lab> {
    namespace: &'lab Namespace,
    options: Vec<String>,
    target: [String; 3],
}

impl<'lab> Ngtcp2<'lab> {
    /// A client in `namespace` that fetches `path` from `router`.
    pub fn new(namespace: &'lab Namespace, router: SocketAddr, path: &str) -> Self {
        let target = [router.ip().to_string(), router.port().to_string(), format!("https://{router}{path}")];
        let options = vec!["--exit-on-all-streams-close".into(), "--timeout=20s".into(), "--no-quic-dump".into()];
        Self { namespace, options, target }
    }

    /// Any other option, such as `--change-local-addr=500ms`.
    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.into());
        self
    }

    /// Runs it to its end.
    pub fn succeed(&self) -> Result<()> {
        Self::finish(self.start()?).map(drop)
    }

    /// Starts it, to do something else meanwhile.
    pub fn start(&self) -> Result<Program> {
        let mut command = self.namespace.command(super::find("gtlsclient")?);
        Program::start("gtlsclient", command.args(&self.options).args(&self.target))
    }

    /// Waits until one has ended; what it printed. It exits with 0 even when it timed out, so a status of 200 has to stand
    /// in that.
    pub fn finish(client: Program) -> Result<String> {
        let finished = client.finish(PATIENCE)?.succeeded()?;
        let said = finished.stdout + &finished.stderr;
        ensure!(said.contains("[:status: 200]"), "gtlsclient: no answer: {said}");
        Ok(said)
    }
}

const PATIENCE: Duration = Duration::from_secs(120);
