//! Requests that no well-meaning client sends: `rude`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::lab::{PORT, Program, Running};

/// What `rude` is to send, on a connection of its own.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Rude {
    /// Octets over TLS, as HTTP/1.1.
    Text {
        /// 1.
        http: u8,
        /// Each character is an octet.
        text: String,
    },
    /// A field section and a body.
    Fields {
        /// 2 or 3.
        http: u8,
        /// Names and values; each character is an octet.
        fields: Vec<(String, String)>,
        /// Likewise; empty: the fields end the stream.
        body: String,
    },
}

impl Rude {
    /// What came of each: a status (over HTTP/1.1, those of all answers), or how the stream or the
    /// connection ended.
    pub fn ask(lab: &Running, cases: &[Self]) -> Result<Vec<String>> {
        let file = lab.home().write("cases.json", &serde_json::to_string(cases)?)?;
        let mut command = lab.wire().namespace().command(super::find("rude")?);
        command.arg(lab.wire().router4().to_string()).arg(PORT.to_string()).arg(file);
        let said = Program::start("rude", &mut command)?.finish(PATIENCE)?.succeeded()?.stdout;
        let outcomes: Vec<String> = serde_json::from_str(&said).with_context(|| said.clone())?;
        ensure!(outcomes.len() == cases.len(), "{} outcomes of {} cases", outcomes.len(), cases.len());
        Ok(outcomes)
    }
}

const PATIENCE: Duration = Duration::from_secs(120);
