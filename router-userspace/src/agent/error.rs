//! Why the agent does not do what was asked of it, and the way out.
//!
//! Errors have types of their own, room by room (`DatapathError`, `OpenError`, `ConfigError`; here `StateError`,
//! `TakeoverError`, `SlotError`, `ReloadError` and others). Where one leaves its room it becomes a sentence, a hint and a
//! kind ([`AgentError`]): these travel over the control socket, and between generations, and the kind decides the exit
//! code.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{build_identity::UnfitBuild, config::ConfigError, datapath::DatapathError, worker::udp::OpenError};

/// Why the agent does not do what was asked of it. Whatever was begun has been taken back.
#[derive(Debug)]
pub struct AgentError {
    message: String,
    hint: Option<String>,
    kind: ErrorKind,
}

/// What sort of no it is. It travels over the control socket as the answer's status, and decides the exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The answer is no: exit code 1, on the control socket 409.
    #[default]
    Refused,
    /// The kernel or the system refused: exit code 4, on the control socket 500.
    Kernel,
}

impl AgentError {
    /// The answer is no: exit code 1.
    #[cfg(test)]
    pub fn refused(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, kind: ErrorKind::Refused }
    }

    /// The kernel or the system refused: exit code 4.
    #[cfg(test)]
    pub fn kernel(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, kind: ErrorKind::Kernel }
    }

    /// The same with a way out.
    #[cfg(test)]
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

/// An error with a type of its own: of one room of the agent's, or of a room below.
pub(super) trait RoomError: std::error::Error {
    /// Who says no.
    fn kind(&self) -> ErrorKind;

    /// The way out, where there is one.
    fn hint(&self) -> Option<String>;
}

impl<E: RoomError> From<E> for AgentError {
    fn from(error: E) -> Self {
        Self { message: error.to_string(), hint: error.hint(), kind: error.kind() }
    }
}

impl RoomError for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        self.hint().map(str::to_owned)
    }
}

impl RoomError for UnfitBuild {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        None
    }
}

impl RoomError for DatapathError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        self.hint()
    }
}

impl RoomError for OpenError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        self.hint()
    }
}
