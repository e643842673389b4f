//! The one printer of errors, and what the process exits with.

use std::{fmt, process::ExitCode};

use crate::{
    agent::StartError,
    config::{Config, ConfigError, StartFlags},
};

use super::Places;

/// Why a verb was not carried out.
#[derive(Debug)]
pub(super) struct Failed {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

/// Exit codes, as promised.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exit {
    /// The answer is no: unhealthy, invalid.
    No = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No agent answers.
    NoAgent = 3,
    /// The kernel refused.
    Kernel = 4,
}

impl Failed {
    pub(super) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    pub(super) fn with_hint(self, hint: Option<impl Into<String>>) -> Self {
        Self { hint: hint.map(Into::into), ..self }
    }

    /// One line on standard error, and the way out where one is known.
    pub(super) fn print(&self) -> ExitCode {
        eprintln!("quic-router: {}", self.message);
        match &self.hint {
            Some(question) if question.ends_with('?') => eprintln!("{question}"),
            Some(hint) => eprintln!("try: {hint}"),
            None => {}
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::No, &error).with_hint(error.hint())
    }
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        let exit = if error.exit_code() == 1 { Exit::No } else { Exit::Kernel };
        Self::new(exit, &error).with_hint(error.hint())
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<StartError>() {
            Ok(error) => error.into(),
            Err(error) => Self::new(Exit::Kernel, format!("{error:#}")),
        }
    }
}

/// Reads the configuration that `places` and `flags` name.
pub(super) fn load_config(places: &Places, flags: &StartFlags) -> Result<Config, Failed> {
    Ok(Config::load(&places.config, flags, places.control.as_deref())?)
}

/// Prints to standard output; a reader that has gone away is no error of ours.
pub(super) fn print(text: &str) -> Result<(), Failed> {
    use std::io::{ErrorKind, Write as _};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Failed::new(Exit::No, format!("standard output: {e}"))),
        _ => Ok(()),
    }
}
