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
    /// A proper `METHOD PATH`, of which all that comes is wanted.
    Whole(Box<Whole>),
}

/// A proper request; the outcome is all that came: statuses, octets of the body and trailers, or how
/// it broke off.
#[derive(Clone, Debug, Serialize)]
pub struct Whole {
    http: u8,
    fields: Vec<(String, String)>,
    body: String,
    trailers: Vec<(String, String)>,
    whole: bool,
    cancel: Option<Cancel>,
    then: Option<String>,
}

/// How a client cancels.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cancel {
    /// `stop`, `reset` or `both`.
    pub by: &'static str,
    /// The error code.
    pub code: u64,
}

impl Whole {
    /// A request over HTTP/`http`, 2 or 3.
    pub fn new(http: u8, method: &str, path: &str) -> Self {
        let fields = [(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { http, fields, body: String::new(), trailers: Vec::new(), whole: true, cancel: None, then: None }
    }

    /// Another field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Its body.
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// A field behind its body.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.into(), value.into()));
        self
    }

    /// Cancelled when something of the response is there; then the same client asks for `then`.
    pub fn cancelled(mut self, cancel: Cancel, then: &str) -> Self {
        (self.cancel, self.then) = (Some(cancel), Some(then.into()));
        self
    }
}

impl From<Whole> for Rude {
    fn from(whole: Whole) -> Self {
        Self::Whole(Box::new(whole))
    }
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
