//! What a verb does, as a list of steps: carried out one after the other, or shown by `--dry-run`.
//!
//! The rule this file keeps: a step names what it brings about and what it needs, and a plan in which
//! nothing brings about what a step needs is refused before its first step. A test holds every command
//! that README and docs name against that, so a verb cannot depend on what an earlier verb happened to
//! leave behind.

use std::{
    collections::BTreeSet,
    mem, panic,
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
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
    /// A third-party program.
    Peer(Peer),
    /// The binary `quic-router`.
    Router(Profile),
    /// The same of an earlier revision.
    EarlierRouter,
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
    is_aside: bool,
    act: Box<dyn FnOnce() -> Result<()> + Send>,
}

impl Step {
    pub(crate) fn new(title: impl Into<String>, act: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        let (title, act) = (title.into(), Box::new(act));
        Self { title, details: Vec::new(), needs: Vec::new(), gives: Vec::new(), is_aside: false, act }
    }

    /// It mostly waits for a network: the steps behind it begin meanwhile, up to the first that needs it. Steps aside
    /// take turns.
    pub(crate) fn aside(mut self) -> Self {
        self.is_aside = true;
        self
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
        let mut run = Run { count: self.steps.len(), ..Run::default() };
        for (number, step) in (1..).zip(self.steps) {
            run.join(|given| step.needs.contains(given));
            run.carry_out(number, step);
        }
        run.join(|_| true);
        run.done.sort_by_key(|done| done.number);
        for Done { title, took, outcome, .. } in &run.done {
            eprintln!("== {:>8}  {title}{}", seconds(*took), outcome.word());
        }
        eprintln!("== {:>8}  in all", seconds(begun.elapsed()));
        let errors: Vec<_> = run.done.iter().filter_map(|done| done.outcome.error()).collect();
        ensure!(errors.is_empty(), "{}", errors.join("; "));
        Ok(())
    }
}

/// A plan that is being carried out.
#[derive(Default)]
struct Run {
    count: usize,
    missing: BTreeSet<Part>,
    aside: Vec<(Vec<Part>, JoinHandle<Done>)>,
    done: Vec<Done>,
}

/// A step that has ended.
struct Done {
    number: usize,
    title: String,
    gives: Vec<Part>,
    took: Duration,
    outcome: Outcome,
}

impl Run {
    fn carry_out(&mut self, number: usize, step: Step) {
        let count = self.count;
        eprintln!("== [{number}/{count}] {}", step.title);
        if step.needs.iter().any(|part| self.missing.contains(part)) {
            eprintln!("== [{number}/{count}] left out: it needs a step that failed");
            let Step { title, gives, .. } = step;
            self.end(Done { number, title, gives, took: Duration::ZERO, outcome: Outcome::LeftOut });
        } else if step.is_aside {
            let gives = step.gives.clone();
            self.aside.push((gives, thread::spawn(move || step.carry_out_aside(number, count))));
        } else {
            self.end(step.carry_out(number, count));
        }
    }

    /// Waits for the steps aside that give a part of these.
    fn join(&mut self, wanted: impl Fn(&Part) -> bool) {
        let (wanted, others) = mem::take(&mut self.aside).into_iter().partition(|(gives, _)| gives.iter().any(&wanted));
        self.aside = others;
        for (_, step) in wanted {
            let done = step.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
            self.end(done);
        }
    }

    fn end(&mut self, done: Done) {
        if !matches!(done.outcome, Outcome::Done) {
            self.missing.extend(&done.gives);
        }
        self.done.push(done);
    }
}

impl Step {
    /// One at a time: they may share what they fetch.
    fn carry_out_aside(self, number: usize, count: usize) -> Done {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        self.carry_out(number, count)
    }

    fn carry_out(self, number: usize, count: usize) -> Done {
        let Self { title, gives, act, .. } = self;
        let since = Instant::now();
        let outcome = Outcome::from(act().context(title.clone()));
        let took = since.elapsed();
        match &outcome {
            Outcome::Failed(error) => eprintln!("== [{number}/{count}] FAILED after {}: {error:#}", seconds(took)),
            _ => eprintln!("== [{number}/{count}] done in {}", seconds(took)),
        }
        Done { number, title, gives, took, outcome }
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

    fn error(&self) -> Option<String> {
        match self {
            Self::Failed(error) => Some(format!("{error:#}")),
            Self::Done | Self::LeftOut => None,
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
    use std::sync::{Arc, mpsc};

    use super::*;

    fn ready() -> Step {
        Step::new("tools", || Ok(())).gives([Part::Tools])
    }

    #[test]
    fn a_plan_that_lacks_something_is_refused_before_its_first_step() {
        let begun = Arc::new(Mutex::new(false));
        let first = begun.clone();
        let step = Step::new("first", move || {
            *first.lock().unwrap() = true;
            Ok(())
        });
        let plan = Plan::default().then(step).then(Step::new("run", || Ok(())).needs([Part::TestPrograms]));
        let error = plan.perform().expect_err("nothing builds the programs").to_string();
        assert_eq!(error, "`run` needs [TestPrograms], which no earlier step brings about");
        assert!(!*begun.lock().unwrap());
    }

    #[test]
    fn what_is_there_already_is_not_brought_about_again() {
        let plan = Plan::default().then(ready()).and(Plan::default().then(ready()));
        assert_eq!(plan.text(), "1. tools\n");
    }

    #[test]
    fn a_failure_leaves_out_only_what_needs_it() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let done = done.clone();
            move || {
                done.lock().unwrap().push(name);
                Ok(())
            }
        };
        let fails = Step::new("build", || anyhow::bail!("no compiler")).gives([Part::TestPrograms]);
        let plan = Plan::default().then(ready()).then(fails);
        let plan = plan.then(Step::new("tests", note("tests")).needs([Part::TestPrograms]));
        let plan = plan.then(Step::new("format", note("format")).needs([Part::Tools]));
        assert_eq!(plan.perform().expect_err("one step fails").to_string(), "build: no compiler");
        assert_eq!(*done.lock().unwrap(), ["format"]);
    }

    #[test]
    fn what_is_aside_ends_before_a_step_that_needs_it() {
        let (begin, begun) = mpsc::channel();
        let done = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let done = done.clone();
            move || {
                done.lock().unwrap().push(name);
                Ok(())
            }
        };
        let fetched = note("fetched");
        // It ends only when the step behind it has begun.
        let fetch = Step::new("fetch", move || begun.recv().map_err(Into::into).and_then(|()| fetched()));
        let plan = Plan::default().then(fetch.aside().gives([Part::Tools]));
        let plan = plan.then(Step::new("build", move || Ok(begin.send(())?)));
        plan.then(Step::new("run", note("run")).needs([Part::Tools])).perform().expect("nothing fails");
        assert_eq!(*done.lock().unwrap(), ["fetched", "run"]);
    }

    #[test]
    fn a_failure_aside_leaves_out_what_needs_it() {
        let fetch = Step::new("fetch", || anyhow::bail!("no network")).aside().gives([Part::Tools]);
        let run = Step::new("run", || panic!("it has nothing to run with")).needs([Part::Tools]);
        let failed = Plan::default().then(fetch).then(run).perform().expect_err("nothing is fetched");
        assert_eq!(failed.to_string(), "fetch: no network");
    }
}
