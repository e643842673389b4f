//! How a command ends: exit codes, and the one printer for everything that goes wrong.
//!
//! The rule this room keeps: an error is one line on standard error, `quic-router: what failed:
//! why`, and where the way out is known a second, `try: ...`.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use crate::{
    agent::{AgentError, ErrorKind, api},
    build_identity::NAME,
    config::ConfigError,
};

/// What the process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// It was done, or the answer is yes.
    Done = 0,
    /// The answer is no: unhealthy, invalid, not there.
    No = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// No agent answers on the control socket.
    NoAgent = 3,
    /// The kernel or the system refused.
    Kernel = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fail {
    exit: Exit,
    errors: Vec<Error>,
}

#[derive(Debug, PartialEq, Eq)]
struct Error {
    message: String,
    hint: Option<String>,
}

impl Fail {
    /// `message` is `what failed: why`.
    pub(super) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, errors: vec![Error { message: one_line(&message.to_string()), hint: None }] }
    }

    /// Says what to try after the error said last.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(last) = self.errors.last_mut() {
            last.hint = Some(one_line(&hint.into()));
        }
        self
    }

    /// The reader of our output has gone: end without a word, as other programs in a pipe do.
    pub(super) fn reader_gone() -> Self {
        Self { exit: Exit::Done, errors: Vec::new() }
    }

    /// All that is wrong with a configuration, not just the first thing.
    pub(super) fn every_problem(error: &ConfigError) -> Self {
        let each = error.problems().iter();
        let errors =
            each.map(|problem| Error { message: problem.to_string(), hint: problem.hint().map(str::to_owned) });
        Self { exit: Exit::No, errors: errors.collect() }
    }

    /// What the agent said on its control socket.
    pub(super) fn told(exit: Exit, failure: api::Failure) -> Self {
        let fail = Self::new(exit, failure.error);
        match failure.hint {
            Some(hint) => fail.hint(hint),
            None => fail,
        }
    }

    /// What the process exits with.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// Prints it to standard error.
    pub(super) fn print(&self) {
        // Where standard error is closed, the exit code has to speak for itself.
        let _ = io::stderr().write_all(self.to_string().as_bytes());
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Error { message, hint } in &self.errors {
            writeln!(f, "{NAME}: {message}")?;
            if let Some(hint) = hint {
                writeln!(f, "try: {hint}")?;
            }
        }
        Ok(())
    }
}

impl From<ConfigError> for Fail {
    fn from(error: ConfigError) -> Self {
        let fail = Self::new(Exit::No, &error);
        match error.hint() {
            Some(hint) => fail.hint(hint),
            None => fail,
        }
    }
}

/// What the agent itself could not do.
impl From<AgentError> for Fail {
    fn from(error: AgentError) -> Self {
        let exit = match error.kind() {
            ErrorKind::Refused => Exit::No,
            ErrorKind::Kernel => Exit::Kernel,
        };
        let fail = Self::new(exit, &error);
        match error.hint() {
            Some(hint) => fail.hint(hint),
            None => fail,
        }
    }
}

/// What clap found wrong with the command line, in our one line; its tip is what to try.
impl From<&clap::Error> for Fail {
    fn from(error: &clap::Error) -> Self {
        let text = error.to_string();
        let mut paragraphs = text.trim_start_matches("error: ").split("\n\n");
        let fail = Self::new(Exit::Usage, paragraphs.next().unwrap_or("the command line cannot be understood"));
        let tip = text.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
        let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
        match tip.or(usage) {
            Some(hint) => fail.hint(hint),
            None => fail.hint(format!("{NAME} --help")),
        }
    }
}

/// Messages of others may span lines; ours never do.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::command_line::Cli;

    #[test]
    fn an_error_is_one_line_and_its_way_out_another() {
        let fail = Fail::new(Exit::NoAgent, "control socket /run/x:\n  no answer").hint("quic-router run");
        assert_eq!(fail.to_string(), "quic-router: control socket /run/x: no answer\ntry: quic-router run\n");
        assert_eq!(Fail::reader_gone().to_string(), "");
    }

    #[test]
    fn the_agents_own_errors_keep_exit_code_and_hint() {
        let refused = AgentError::refused("port in use").with_hint("another");
        assert_eq!(Fail::from(refused), Fail::new(Exit::No, "port in use").hint("another"));
        let kernel = AgentError::kernel("no BPF");
        assert_eq!(Fail::from(kernel), Fail::new(Exit::Kernel, "no BPF"));
    }

    #[test]
    fn wrong_usage_is_one_line_with_a_tip() {
        for (line, message, hint) in [
            (&["status", "--jsn"][..], "unexpected argument '--jsn' found", "a similar argument exists: '--json'"),
            (&["stat"][..], "unrecognized subcommand 'stat'", "a similar subcommand exists: 'status'"),
            (
                &["explain"][..],
                "the following required arguments were not provided: <HEX|FILE|->",
                "quic-router explain",
            ),
        ] {
            let error = Cli::command().try_get_matches_from([&["quic-router"], line].concat()).unwrap_err();
            let fail = Fail::from(&error);
            assert_eq!(fail.exit(), Exit::Usage);
            let text = fail.to_string();
            assert!(text.starts_with(&format!("quic-router: {message}")), "{text}");
            assert!(text.contains(&format!("\ntry: {hint}")), "{text}");
            assert_eq!(text.lines().count(), 2, "{text}");
        }
    }
}
