//! Why the agent does not start, and what to do about it.

use std::fmt;

use crate::{config::ConfigError, datapath::DatapathError, worker::udp::OpenError};

/// Why the agent does not start. Nothing of it is left running.
#[derive(Debug)]
pub struct StartError {
    message: String,
    hint: Option<String>,
    exit_code: u8,
}

impl StartError {
    /// The answer is no: exit code 1.
    pub fn refused(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, exit_code: 1 }
    }

    /// The kernel or the system refused: exit code 4.
    pub fn kernel(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, exit_code: 4 }
    }

    /// The same with a way out.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The way out, where there is one.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What the process exits with: 1 or 4.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StartError {}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> Self {
        let hint = error.hint().map(str::to_owned);
        Self { hint, ..Self::refused(error) }
    }
}

impl From<DatapathError> for StartError {
    fn from(error: DatapathError) -> Self {
        let hint = error.hint();
        Self { hint, ..Self::kernel(error) }
    }
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        let hint = error.hint();
        Self { hint, ..Self::kernel(error) }
    }
}
