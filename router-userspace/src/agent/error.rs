//! Why the agent does not do what was asked of it, and the way out.
//!
//! Errors that callers branch on have types of their own (`DatapathError`, `OpenError`, `ConfigError`, `PlanError`). Here
//! each becomes a sentence, a hint and a kind: these travel over the control socket, and the kind decides the exit code.

use std::fmt;

use crate::{config::ConfigError, datapath::DatapathError, worker::udp::OpenError};

/// Why the agent does not do what was asked of it. Whatever was begun has been taken back.
#[derive(Debug)]
pub struct AgentError {
    message: String,
    hint: Option<String>,
    kind: ErrorKind,
}

/// What sort of no it is. It travels over the control socket as the answer's status, and decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The answer is no: exit code 1, on the control socket 409.
    Refused,
    /// The kernel or the system refused: exit code 4, on the control socket 500.
    Kernel,
}

impl AgentError {
    /// The answer is no: exit code 1.
    pub fn refused(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, kind: ErrorKind::Refused }
    }

    /// The kernel or the system refused: exit code 4.
    pub fn kernel(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, kind: ErrorKind::Kernel }
    }

    /// The same with a way out.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The way out, where there is one.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Who said no.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AgentError {}

impl From<ConfigError> for AgentError {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { hint, ..Self::refused(error) }
    }
}

impl From<DatapathError> for AgentError {
    fn from(error: DatapathError) -> Self {
        let hint = error.hint();
        Self { hint, ..Self::kernel(error) }
    }
}

impl From<OpenError> for AgentError {
    fn from(error: OpenError) -> Self {
        let hint = error.hint();
        Self { hint, ..Self::kernel(error) }
    }
}
