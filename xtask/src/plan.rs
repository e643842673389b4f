//! What a verb does, as a list of steps: carried out one after the other, or shown by `--dry-run`.
//!
//! The rule this file keeps: a step names what it brings about and what it needs, and a plan in which
//! nothing brings about what a step needs is refused before its first step. A test holds every command
//! that README and docs name against that, so a verb cannot depend on what an earlier verb happened to
//! leave behind.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{build::Profile, peers::Peer};

/// What steps bring about and others need.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Part {
    /// Debian's programs, a toolchain and a linker for the eBPF crate, bpffs.
    Tools,
    /// clippy and rustfmt, for both toolchains.
    Linters,
    /// llvm-profdata.
    ProfileMerger,
    /// A program of somebody else's.
    Peer(Peer),
    /// The binary `quic-router`.
    Router(Profile),
    /// The binary `quic-router-interop`.
    Endpoint,
    /// A program of the package `router-tests`, and the server that it starts.
    Program(&'static str),
    /// The test programs of all crates.
    TestPrograms,
    /// What makes and judges packages.
    PackagingTools,
    /// The Debian package.
    Package,
    /// What makes container images.
    ImageTools,
    /// The program of an image, without shared libraries.
    StaticProgram,
    /// A container image.
    Image,
    /// cargo-fuzz.
    Fuzzer,
    /// cargo-deny.
    Denier,
}

/// One step.
pub(crate) struct Step {
    title: String,
    details: Vec<String>,
    needs: Vec<Part>,
    gives: Vec<Part>,
    act: Box<dyn FnOnce() -> Result<()>>,
}

impl Step {
    pub(crate) fn new(title: impl Into<String>, act: impl FnOnce() -> Result<()> + 'static) -> Self {
        Self { title: title.into(), details: Vec::new(), needs: Vec::new(), gives: Vec::new(), act: Box::new(act) }
    }

    /// A line for `--dry-run`: a command, or what is installed or fetched.
    pub(crate) fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    pub(crate) fn needs(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.needs.extend(parts);
        self
    }

    pub(crate) fn gives(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.gives.extend(parts);
        self
    }
}

/// The steps of a verb, in order.
#[derive(Default)]
pub(crate) struct Plan {
    steps: Vec<Step>,
}

impl Plan {
    /// Adds a step, unless earlier ones already bring about all that it does.
    pub(crate) fn then(mut self, step: Step) -> Self {
        let given: BTreeSet<_> = self.steps.iter().flat_map(|step| &step.gives).collect();
        if step.gives.is_empty() || !step.gives.iter().all(|part| given.contains(part)) {
            self.steps.push(step);
        }
        self
    }

    /// Adds the steps of another plan.
    pub(crate) fn and(self, other: Self) -> Self {
        other.steps.into_iter().fold(self, Self::then)
    }

    /// Makes sure that earlier steps bring about what each step needs.
    ///
    /// # Errors
    /// The step and what it lacks.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(!self.steps.is_empty(), "nothing to do");
        let mut given: BTreeSet<Part> = BTreeSet::new();
        for step in &self.steps {
            let lacking: Vec<_> = step.needs.iter().filter(|part| !given.contains(*part)).collect();
            ensure!(lacking.is_empty(), "`{}` needs {lacking:?}, which no earlier step brings about", step.title);
            given.extend(&step.gives);
        }
        Ok(())
    }

    /// What the steps would do, for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (number, step) in (1..).zip(&self.steps) {
            text += &format!("{number}. {}\n", step.title);
            text.extend(step.details.iter().map(|line| format!("     {line}\n")));
        }
        text
    }

    /// Carries the steps out. After one that fails, those that do not need it are still carried out, so that
    /// one run shows all that is wrong.
    ///
    /// # Errors
    /// All failures, joined.
    pub(crate) fn perform(self) -> Result<()> {
        self.check()?;
        let begun = Instant::now();
        let count = self.steps.len();
        let (mut missing, mut done, mut errors) = (BTreeSet::new(), Vec::new(), Vec::new());
        for (number, step) in (1..).zip(self.steps) {
            let Step { title, needs, gives, act, .. } = step;
            eprintln!("== [{number}/{count}] {title}");
            let since = Instant::now();
            let lacking = needs.into_iter().any(|part| missing.contains(&part));
            let outcome = if lacking { Outcome::LeftOut } else { act().context(title.clone()).into() };
            match &outcome {
                Outcome::Done => eprintln!("== [{number}/{count}] done in {}", seconds(since.elapsed())),
                Outcome::Failed(error) => {
                    eprintln!("== [{number}/{count}] FAILED after {}: {error:#}", seconds(since.elapsed()));
                }
                Outcome::LeftOut => eprintln!("== [{number}/{count}] left out: it needs a step that failed"),
            }
            done.push((title, since.elapsed(), outcome.word()));
            if !matches!(outcome, Outcome::Done) {
                missing.extend(gives);
            }
            if let Outcome::Failed(error) = outcome {
                errors.push(format!("{error:#}"));
            }
        }
        for (title, took, word) in done {
            eprintln!("== {:>8}  {title}{word}", seconds(took));
        }
        eprintln!("== {:>8}  in all", seconds(begun.elapsed()));
        ensure!(errors.is_empty(), "{}", errors.join("; "));
        Ok(())
    }
}

/// How a step ended.
enum Outcome {
    Done,
    Failed(anyhow::Error),
    LeftOut,
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Done => "",
            Self::Failed(_) => "  FAILED",
            Self::LeftOut => "  left out",
        }
    }
}

impl From<Result<()>> for Outcome {
    fn from(result: Result<()>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Done)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    fn ready() -> Step {
        Step::new("tools", || Ok(())).gives([Part::Tools])
    }

    #[test]
    fn a_plan_that_lacks_something_is_refused_before_its_first_step() {
        let begun = Rc::new(RefCell::new(false));
        let first = begun.clone();
        let step = Step::new("first", move || {
            *first.borrow_mut() = true;
            Ok(())
        });
        let plan = Plan::default().then(step).then(Step::new("run", || Ok(())).needs([Part::TestPrograms]));
        let error = plan.perform().expect_err("nothing builds the programs").to_string();
        assert_eq!(error, "`run` needs [TestPrograms], which no earlier step brings about");
        assert!(!*begun.borrow());
    }

    #[test]
    fn what_is_there_already_is_not_brought_about_again() {
        let plan = Plan::default().then(ready()).and(Plan::default().then(ready()));
        assert_eq!(plan.text(), "1. tools\n");
    }

    #[test]
    fn a_failure_leaves_out_only_what_needs_it() {
        let done = Rc::new(RefCell::new(Vec::new()));
        let note = |name: &'static str| {
            let done = done.clone();
            move || {
                done.borrow_mut().push(name);
                Ok(())
            }
        };
        let fails = Step::new("build", || anyhow::bail!("no compiler")).gives([Part::TestPrograms]);
        let plan = Plan::default().then(ready()).then(fails);
        let plan = plan.then(Step::new("tests", note("tests")).needs([Part::TestPrograms]));
        let plan = plan.then(Step::new("format", note("format")).needs([Part::Tools]));
        assert_eq!(plan.perform().expect_err("one step fails").to_string(), "build: no compiler");
        assert_eq!(*done.borrow(), ["format"]);
    }
}
