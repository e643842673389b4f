//! Runs tests as processes, several at a time, and says what became of each.
//!
//! The rule this file keeps: what a test printed is shown if it failed, whole and in one piece; every
//! test ends, if need be by SIGKILL; the last line is the sum.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::workspace;

/// A process that runs one test, or all of a program.
pub(super) struct Case {
    name: String,
    command: Command,
    whole_program: bool,
    load: Load,
}

/// What a case leaves for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Load {
    /// It mostly waits.
    Light,
    /// It keeps the CPUs busy: one such runs at a time, beside light ones.
    Full,
    /// It measures time, memory or the machine as a whole: nothing else runs meanwhile.
    Alone,
}

impl Case {
    /// One test of a program.
    pub(super) fn test(name: String, command: Command) -> Self {
        Self { name, command, whole_program: false, load: Load::Light }
    }

    /// All tests of a program.
    pub(super) fn program(name: String, command: Command) -> Self {
        Self { name, command, whole_program: true, load: Load::Light }
    }

    pub(super) fn with_load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    /// With an environment variable besides.
    pub(super) fn with_environment(mut self, name: &str, value: &Path) -> Self {
        self.command.env(name, value);
        self
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the test `PROGRAM::TEST`, with whichever engine.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.split(' ').next() == Some(name)
    }

    pub(super) fn is_whole_program(&self) -> bool {
        self.whole_program
    }

    /// Of a whole program, only the tests whose names contain `filter`.
    pub(super) fn only(&mut self, filter: &str) {
        self.command.arg(filter);
    }

    fn run(self) -> Done {
        let begun = Instant::now();
        let mut limited = Command::new("timeout");
        limited.args(["--kill-after=5", LIMIT]).arg(self.command.get_program()).args(self.command.get_args());
        limited.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = self.command.get_current_dir() {
            limited.current_dir(folder);
        }
        let output = limited.stdin(Stdio::null()).output();
        let (status, text) = match output {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                (Some(output.status), String::from_utf8_lossy(&text).into_owned())
            }
            Err(error) => (None, format!("cannot run it: {error}\n")),
        };
        Done { name: self.name, took: begun.elapsed(), tally: Tally::of(status, &text), text }
    }
}

/// A case that has ended.
struct Done {
    name: String,
    took: Duration,
    tally: Tally,
    text: String,
}

/// How many tests passed and failed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// By a program's own last line; a program that did not get that far is one failure.
    fn of(status: Option<ExitStatus>, text: &str) -> Self {
        let said = text.lines().rev().find_map(Self::said).unwrap_or_default();
        let is_well = status.is_some_and(|status| status.success());
        Self { failed: if is_well { said.failed } else { said.failed.max(1) }, ..said }
    }

    /// `test result: ok. 3 passed; 0 failed; ...`
    fn said(line: &str) -> Option<Self> {
        let words = line.strip_prefix("test result: ")?;
        let number = |what: &str| {
            let before = words.split(what).next()?;
            before.trim_end().rsplit(' ').next()?.parse().ok()
        };
        Some(Self { passed: number(" passed;")?, failed: number(" failed;")? })
    }
}

/// The cases that wait, the longest last.
struct Waiting {
    state: Mutex<State>,
    ended: Condvar,
    has_room: fn() -> bool,
}

struct State {
    cases: Vec<Case>,
    /// How many run.
    running: usize,
    /// Whether one of them takes all of the CPUs.
    is_full: bool,
}

impl Waiting {
    /// `has_room` says whether the CPUs have time for one more beside those that run; it may take its time for that.
    fn new(cases: Vec<Case>, has_room: fn() -> bool) -> Self {
        let state = State { cases, running: 0, is_full: false };
        Self { state: Mutex::new(state), ended: Condvar::new(), has_room }
    }

    /// The next case that may run now; waits for one, if there are any left. Beside others it begins only while the CPUs
    /// are not busy: one that waits for them longer than its own deadlines allow would fail, and none would end sooner.
    fn next(&self) -> Option<Case> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.cases.is_empty() {
            let is_full = state.is_full;
            let next = state.cases.iter().rposition(|case| case.load == Load::Light || !is_full);
            if let Some(index) = next.filter(|_| state.running == 0 || (self.has_room)()) {
                let case = state.cases.remove(index);
                state.is_full |= case.load == Load::Full;
                state.running += 1;
                return Some(case);
            }
            state = self.ended.wait_timeout(state, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    fn end(&self, load: Load) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running -= 1;
        state.is_full &= load != Load::Full;
        self.ended.notify_all();
    }
}

/// Whether the CPUs were idle for some of the last moments. True where that cannot be told.
fn cpus_have_room() -> bool {
    let before = CpuTime::now();
    thread::sleep(MOMENT);
    let (Some(before), Some(after)) = (before, CpuTime::now()) else { return true };
    let (all, idle) = (after.all.saturating_sub(before.all), after.idle.saturating_sub(before.idle));
    idle * 100 >= all * IDLE_PERCENT
}

/// What the CPUs have done since the start, in the kernel's ticks.
struct CpuTime {
    all: u64,
    idle: u64,
}

impl CpuTime {
    fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The line of all CPUs (proc_stat(5)): user, nice, system, idle, iowait and more.
    fn read(stat: &str) -> Option<Self> {
        let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<u64> = ticks.map(|number| number.parse().ok()).collect::<Option<_>>()?;
        Some(Self { all: ticks.iter().take(8).sum(), idle: ticks.get(3)? + ticks.get(4)? })
    }
}

/// Runs cases, `jobs` at a time; those that want to be alone first.
///
/// # Errors
/// If a test failed, or there was none.
pub(super) fn run(cases: Vec<Case>, jobs: usize) -> Result<()> {
    let begun = Instant::now();
    let took_before = Durations::read();
    let (alone, mut together): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.load == Load::Alone);
    // The longest first, so that no long one is left for the end.
    together.sort_by_key(|case| took_before.of(&case.name));
    let mut done = Vec::new();
    done.extend(alone.into_iter().map(|case| told(case.run())));
    let waiting = Waiting::new(together, cpus_have_room);
    let finished = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(case) = waiting.next() {
                    let load = case.load;
                    let case = told(case.run());
                    waiting.end(load);
                    finished.lock().unwrap_or_else(PoisonError::into_inner).push(case);
                }
            });
        }
    });
    done.extend(finished.into_inner().unwrap_or_else(PoisonError::into_inner));
    took_before.write(&done)?;
    sum_up(done, begun.elapsed())
}

/// Half as many again as there are CPUs: most of a laboratory's time is waiting.
pub(super) fn usual_jobs() -> usize {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    cpus + cpus.div_ceil(2)
}

/// Says how a case ended.
fn told(done: Done) -> Done {
    let Done { name, took, tally, text } = &done;
    let took = took.as_secs_f64();
    if tally.failed == 0 {
        let count = if tally.passed == 1 { String::new() } else { format!("  ({} tests)", tally.passed) };
        eprintln!("ok      {took:>6.1} s  {name}{count}");
    } else {
        eprintln!("FAILED  {took:>6.1} s  {name}\n{text}");
    }
    done
}

fn sum_up(mut done: Vec<Done>, took: Duration) -> Result<()> {
    let spent: Duration = done.iter().map(|done| done.took).sum();
    done.sort_by_key(|done| std::cmp::Reverse(done.took));
    eprintln!("the slowest:");
    for Done { name, took, .. } in done.iter().take(SLOWEST) {
        eprintln!("        {:>6.1} s  {name}", took.as_secs_f64());
    }
    eprintln!("{:.1} s of tests in {:.1} s", spent.as_secs_f64(), took.as_secs_f64());
    let (passed, failed) =
        done.iter().fold((0, 0), |(passed, failed), done| (passed + done.tally.passed, failed + done.tally.failed));
    let failed_ones: Vec<_> = done.iter().filter(|done| done.tally.failed > 0).collect();
    let failures: Vec<_> = failed_ones.iter().map(|done| done.name.as_str()).collect();
    println!("{passed} passed, {failed} failed");
    // Once more at the end: of a long output, that is what is kept.
    for done in failed_ones {
        eprintln!("FAILED  {}: {}", done.name, why(&done.text));
    }
    ensure!(failures.is_empty(), "failed: {}", failures.join(", "));
    ensure!(passed > 0, "no test has this in its name");
    Ok(())
}

/// What a test that failed said first: its error, or where it panicked and with what.
fn why(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("Error: ") && !line.contains("panicked at "));
    let said: Vec<_> = lines.by_ref().take(WHY_LINES).take_while(|line| !line.is_empty()).collect();
    if said.is_empty() { text.lines().last().unwrap_or_default().to_owned() } else { said.join("\n        ") }
}

/// How long cases took the last time, in a file of the cache.
struct Durations(BTreeMap<String, u64>);

impl Durations {
    fn read() -> Self {
        let text = fs::read_to_string(workspace::cache(DURATIONS)).unwrap_or_default();
        let entry = |line: &str| {
            let (milliseconds, name) = line.split_once(' ')?;
            Some((name.to_owned(), milliseconds.parse().ok()?))
        };
        Self(text.lines().filter_map(entry).collect())
    }

    /// Of a case that never ran: 0.
    fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    fn write(mut self, done: &[Done]) -> Result<()> {
        let milliseconds = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.0.extend(done.iter().map(|done| (done.name.clone(), milliseconds(done.took))));
        let text: String = self.0.iter().map(|(name, took)| format!("{took} {name}\n")).collect();
        let file = workspace::cache(DURATIONS);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// In the cache.
const DURATIONS: &str = "test-durations";

/// Of what a failed test said, repeated at the end.
const WHY_LINES: usize = 4;

/// How long the CPUs are looked at before a case begins beside others. Long enough for the one before to be at work.
const MOMENT: Duration = Duration::from_millis(300);
/// Between two looks, if no case ends meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Of the CPUs' time that has to be idle for one more.
const IDLE_PERCENT: u64 = 15;

/// How many of the slowest are named.
const SLOWEST: usize = 20;

/// A test that takes longer hangs. In seconds; the slowest takes a minute on two busy cores.
const LIMIT: &str = "900";

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, script: &str) -> Case {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Case::test(name.to_owned(), command)
    }

    #[test]
    fn what_a_program_says_of_itself_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::said(line), Some(Tally { passed: 12, failed: 3 }));
        assert_eq!(Tally::said("running 3 tests"), None);
    }

    #[test]
    fn a_program_that_ends_early_has_failed() {
        let done = case("early", "echo half way; exit 101").run();
        assert_eq!(done.tally, Tally { passed: 0, failed: 1 });
        assert_eq!(done.text, "half way\n");
        let said_well = case("liar", "echo 'test result: ok. 2 passed; 0 failed;'; exit 1").run();
        assert_eq!(said_well.tally, Tally { passed: 2, failed: 1 });
    }

    #[test]
    fn one_case_at_a_time_has_the_cpus() {
        let full = |name| case(name, "true").with_load(Load::Full);
        let waiting = Waiting::new(vec![case("light", "true"), full("second"), full("first")], || true);
        let next = || waiting.next().map(|case| case.name);
        assert_eq!(next().as_deref(), Some("first"));
        assert_eq!(next().as_deref(), Some("light"), "the second waits for the first");
        waiting.end(Load::Full);
        waiting.end(Load::Light);
        assert_eq!(next().as_deref(), Some("second"));
        assert_eq!(next(), None);
    }

    #[test]
    fn without_room_one_runs_at_a_time() {
        let waiting = Waiting::new(vec![case("second", "true"), case("first", "true")], || false);
        assert_eq!(waiting.next().map(|case| case.name).as_deref(), Some("first"));
        thread::scope(|scope| {
            let second = scope.spawn(|| waiting.next().map(|case| case.name));
            assert!(!second.is_finished());
            waiting.end(Load::Light);
            assert_eq!(second.join().unwrap().as_deref(), Some("second"));
        });
    }

    #[test]
    fn idle_time_is_read_as_the_kernel_writes_it() {
        let time = CpuTime::read("cpu  10 1 20 300 9 0 2 3 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n").unwrap();
        assert_eq!((time.all, time.idle), (345, 309));
        assert!(CpuTime::read("intr 1").is_none());
    }

    #[test]
    fn what_a_test_said_first_is_why_it_failed() {
        let text = "running 1 test\n---- x stdout ----\nError: not after 90s\n\nStack backtrace:\n   0: msg\n";
        assert_eq!(why(text), "Error: not after 90s");
        let text = "thread 'x' panicked at tests/x.rs:5:9:\nassertion failed\n  left: 1\n right: 2\nnote: run\n";
        assert!(why(text).ends_with("left: 1\n         right: 2"), "{}", why(text));
        assert_eq!(why("a\nterminated"), "terminated");
    }

    #[test]
    fn a_program_that_cannot_be_run_has_failed() {
        let done = Case::test("none".to_owned(), Command::new("/no/such/program")).run();
        assert_eq!(done.tally.failed, 1);
    }
}
