//! curl with HTTP/3, and with what came before.

use std::time::Duration;

use anyhow::Result;

use crate::lab::{Namespace, Program};

/// A run of curl.
#[derive(Clone, Debug)]
pub struct Curl<'lab> {
    namespace: &'lab Namespace,
    arguments: Vec<String>,
}

impl<'lab> Curl<'lab> {
    /// The options of all versions of HTTP, for [`over`](Self::over).
    pub const VERSIONS: [&'static str; 3] = ["--http1.1", "--http2", "--http3-only"];

    /// A transfer of `url` by a client in `namespace`, over HTTP/3 and nothing else. A status of
    /// an error is a failure.
    pub fn new(namespace: &'lab Namespace, url: &str) -> Self {
        Self::over("--http3-only", namespace, url).option("--fail")
    }

    /// The same over another version, `--http1.1` or `--http2`, and whatever the status.
    pub fn over(version: &str, namespace: &'lab Namespace, url: &str) -> Self {
        let fixed = [version, "--insecure", "--silent", "--show-error", "--max-time", "30", url];
        Self { namespace, arguments: fixed.map(str::to_owned).into() }
    }

    /// Prints `format` behind each answer instead of the answer's body (curl's `--write-out`).
    pub fn writing(self, format: &str) -> Self {
        self.option("--output").option("/dev/null").option("--write-out").option(format)
    }

    /// Any other option.
    pub fn option(mut self, option: &str) -> Self {
        self.arguments.push(option.into());
        self
    }

    /// Runs it to its end; failing is an error. The body, which has to be text.
    pub fn succeed(&self) -> Result<String> {
        Ok(self.start()?.finish(PATIENCE)?.succeeded()?.stdout)
    }

    /// Starts it, to do something else meanwhile.
    pub fn start(&self) -> Result<Program> {
        Program::start("curl", self.namespace.command(super::find("curl")?).args(&self.arguments))
    }
}

const PATIENCE: Duration = Duration::from_secs(120);
