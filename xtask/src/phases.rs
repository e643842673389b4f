//! How long each part of a long run takes.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The parts so far.
#[derive(Default)]
pub(crate) struct Phases {
    done: Vec<(String, Duration, bool)>,
}

impl Phases {
    /// Does a part, saying when it begins.
    pub(crate) fn run<T>(&mut self, name: &str, part: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("== {name}");
        let begun = Instant::now();
        let outcome = part();
        self.done.push((name.to_owned(), begun.elapsed(), outcome.is_ok()));
        outcome
    }

    /// Prints a line for each part to standard error.
    pub(crate) fn print(&self) {
        for (name, took, is_well) in &self.done {
            let outcome = if *is_well { "" } else { "  FAILED" };
            eprintln!("== {:>6.1} s  {name}{outcome}", took.as_secs_f64());
        }
    }
}
