//! What is wrong with a configuration, and where: every problem names its file and line (or its
//! flag), the culprit and, where known, the way out. As many as can be found are found at once.

use std::{fmt, io, ops::Range, string::FromUtf8Error};

/// Why there is no [`Config`](super::Config). One line: the first problem, and how many more.
#[derive(Debug, thiserror::Error)]
#[error("{}", FirstOf(.problems))]
pub struct ConfigError {
    /// At least one, in the order of the file.
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `FILE:LINE`, `FILE`, or the flag.
    place: String,
    /// Culprit and reason.
    what: String,
    hint: Option<String>,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// Octets from the file's beginning.
    Offset(usize),
    /// A flag of the command line, with its dashes.
    Flag(&'static str),
    /// The configuration as a whole: something is absent.
    Whole,
}

/// Collects problems and notices while a configuration is checked.
pub(super) struct Findings<'t> {
    text: &'t str,
    name: &'t str,
    problems: Vec<(Place, Problem)>,
    notices: Vec<(Place, String)>,
}

impl ConfigError {
    /// Everything that is wrong, in the order of the file; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The way out of the first problem, where known.
    pub fn hint(&self) -> Option<&str> {
        self.problems.first().and_then(Problem::hint)
    }

    pub(super) fn unreadable(name: &str, error: &io::Error) -> Self {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "name another file with --config, or start without one: --listen 127.0.0.1:4433",
            io::ErrorKind::PermissionDenied => "run as root, or make the file readable",
            _ => "name a readable file with --config",
        };
        Self::alone(name.to_owned(), format!("cannot be read: {error}"), hint)
    }

    pub(super) fn not_utf8(name: &str, error: &FromUtf8Error) -> Self {
        let valid = error.utf8_error().valid_up_to();
        let line = line_of(&error.as_bytes()[..valid], valid);
        Self::alone(format!("{name}:{line}"), "not UTF-8, which TOML must be".to_owned(), "save the file as UTF-8")
    }

    fn alone(place: String, what: String, hint: &str) -> Self {
        Self { problems: vec![Problem { place, what, hint: Some(hint.to_owned()) }] }
    }
}

impl Problem {
    /// The way out, where known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// `FILE:LINE: what: why`, one line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

struct FirstOf<'p>(&'p [Problem]);

impl fmt::Display for FirstOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, more)) = self.0.split_first() else { return Ok(()) };
        write!(f, "{first}")?;
        if more.is_empty() { Ok(()) } else { write!(f, " (and {} more)", more.len()) }
    }
}

impl<'t> Findings<'t> {
    pub(super) fn new(text: &'t str, name: &'t str) -> Self {
        Self { text, name, problems: Vec::new(), notices: Vec::new() }
    }

    /// Notes that `what` (a key or a thing) is wrong because of `why`. Of a flag, the flag's own
    /// name is what is shown.
    pub(super) fn problem(&mut self, at: Place, what: &str, why: impl fmt::Display) {
        let what = match at {
            Place::Flag(_) => why.to_string(),
            Place::Offset(_) | Place::Whole => format!("{what}: {why}"),
        };
        let problem = Problem { place: self.name_of(at), what: one_line(&what), hint: None };
        self.problems.push((at, problem));
    }

    /// Adds the way out to the problem just noted.
    pub(super) fn hint(&mut self, hint: impl Into<String>) {
        if let Some((_, problem)) = self.problems.last_mut() {
            problem.hint = Some(one_line(&hint.into()));
        }
    }

    /// Notes something that is accepted, but not as might be expected.
    pub(super) fn notice(&mut self, at: Place, sentence: impl fmt::Display) {
        let sentence = one_line(&format!("{}: {sentence}", self.name_of(at)));
        self.notices.push((at, sentence));
    }

    /// The name under which the file is known.
    pub(super) fn name(&self) -> &'t str {
        self.name
    }

    /// The notices, if nothing is wrong.
    pub(super) fn conclude(mut self) -> Result<Vec<String>, ConfigError> {
        if self.problems.is_empty() {
            self.notices.sort_by_key(|(at, _)| *at);
            Ok(self.notices.into_iter().map(|(_, sentence)| sentence).collect())
        } else {
            Err(self.take_error())
        }
    }

    /// How many things are wrong so far.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// All problems; for when it makes no sense to look further.
    pub(super) fn take_error(&mut self) -> ConfigError {
        let mut problems = std::mem::take(&mut self.problems);
        problems.sort_by_key(|(at, _)| *at);
        ConfigError { problems: problems.into_iter().map(|(_, problem)| problem).collect() }
    }

    /// The place of an error that the TOML reader found.
    pub(super) fn place_of(span: Option<Range<usize>>) -> Place {
        span.map_or(Place::Whole, |span| Place::Offset(span.start))
    }

    fn name_of(&self, at: Place) -> String {
        match at {
            Place::Offset(offset) => format!("{}:{}", self.name, line_of(self.text.as_bytes(), offset)),
            Place::Flag(flag) => flag.to_owned(),
            Place::Whole => self.name.to_owned(),
        }
    }
}

/// The line, from 1, in which the octet at `offset` stands.
fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|octet| **octet == b'\n').count()
}

/// Error texts of others may span lines; ours never do.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}
