//! What is wrong with the operator's list of nodes.

/// What is wrong with the list: the first problem, and how many more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{first}{}", more(.rest))]
pub struct ListError {
    first: Problem,
    rest: Vec<Problem>,
}

/// One thing that is wrong with the list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Problem {
    /// `FILE:LINE`, or the file alone where it is about all of it.
    pub place: String,
    /// The key, and what is wrong with it.
    pub what: String,
    /// The way out.
    pub hint: String,
}

impl ListError {
    /// All of `problems`, in the order of the file; `None` if there are none.
    pub(super) fn of(problems: Vec<Problem>) -> Option<Self> {
        let mut problems = problems.into_iter();
        let first = problems.next()?;
        Some(Self { first, rest: problems.collect() })
    }

    /// The file cannot be read.
    pub(super) fn unreadable(file: &str, why: &std::io::Error) -> Self {
        let hint = "cluster.members names the list of nodes, which each node reads for itself".to_owned();
        Self { first: Problem { place: file.to_owned(), what: why.to_string(), hint }, rest: Vec::new() }
    }

    /// All of them, in the order of the file.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The way out of the first.
    pub fn hint(&self) -> &str {
        &self.first.hint
    }
}

fn more(rest: &[Problem]) -> String {
    match rest.len() {
        0 => String::new(),
        1 => " (and 1 more problem)".to_owned(),
        more => format!(" (and {more} more problems)"),
    }
}
