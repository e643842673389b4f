//! A program, run with a deadline: what it printed, how it ended, and that it surely ended.

use std::{
    fs::File,
    io::{BufRead, BufReader, PipeReader, Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A running program whose output is being read; killed on drop.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdout: Arc<Lines>,
    stderr: Arc<Lines>,
}

/// A program that ended.
#[derive(Debug)]
pub struct Finished {
    /// What it was.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// All it said.
    pub stdout: String,
    /// All it complained.
    pub stderr: String,
}

impl Program {
    /// Starts `command`; `name` is what failures call it.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        Self::start_copying(name, command, [None, None])
    }

    /// The same, and what it reads comes from `input`.
    pub fn start_fed(name: &str, command: &mut Command, input: PipeReader) -> Result<Self> {
        Self::spawn(name, command.stdin(input), [None, None])
    }

    /// The same, and appends what it says to the file `log`, too.
    pub fn start_logged(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let files = [open()?, open()?].map(Some);
        Self::start_copying(name, command, files)
    }

    fn start_copying(name: &str, command: &mut Command, copies: [Option<File>; 2]) -> Result<Self> {
        Self::spawn(name, command.stdin(Stdio::null()), copies)
    }

    fn spawn(name: &str, command: &mut Command, [to_out, to_err]: [Option<File>; 2]) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {name}: {command:?}"))?;
        let stdout = Lines::of(child.stdout.take().context("no standard output")?, to_out);
        let stderr = Lines::of(child.stderr.take().context("no standard error")?, to_err);
        Ok(Self { name: name.into(), child, stdout, stderr })
    }

    /// Waits until it has printed a line that begins with `beginning`, and returns that.
    pub fn await_line(&self, beginning: &str, deadline: Duration) -> Result<String> {
        let found =
            self.stdout.await_that(deadline, |lines| lines.iter().find(|line| line.starts_with(beginning)).cloned());
        found.with_context(|| format!("{} never printed {beginning:?}, but: {}", self.name, self.said()))
    }

    /// Waits until it has ended, at most for `patience`, and says whether it has.
    pub fn ends_within(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        [&self.stdout, &self.stderr].iter().all(|lines| lines.await_end(end.saturating_duration_since(Instant::now())))
    }

    /// What it has said and complained so far.
    pub fn said(&self) -> String {
        self.stdout.text() + &self.stderr.text()
    }

    /// Its process.
    pub fn pid(&self) -> Result<i32> {
        Ok(i32::try_from(self.child.id())?)
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid()?), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until it has ended; past `deadline` that is an error, and it is killed.
    pub fn finish(mut self, deadline: Duration) -> Result<Finished> {
        if !self.ends_within(deadline) {
            bail!("{} has not ended after {deadline:?}; it said: {}", self.name, self.said());
        }
        let status = self.child.wait()?;
        Ok(Finished { name: self.name.clone(), status, stdout: self.stdout.text(), stderr: self.stderr.text() })
    }
}

impl Finished {
    /// Itself, if it ended with exit code 0.
    pub fn succeeded(self) -> Result<Self> {
        if !self.status.success() {
            bail!("{}: {}: {}{}", self.name, self.status, self.stdout, self.stderr);
        }
        Ok(self)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program prints, line by line, as it prints it.
#[derive(Debug, Default)]
struct Lines {
    seen: Mutex<Seen>,
    grew: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn of(source: impl Read + Send + 'static, mut copy: Option<File>) -> Arc<Self> {
        let lines = Arc::new(Self::default());
        let reader = lines.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(source.read_until(b'\n', &mut line), Ok(1..)) {
                if let Some(file) = &mut copy {
                    // Losing a copy of the log is no reason to stop reading from the program.
                    let _ = file.write_all(&line);
                }
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                line.clear();
                reader.grow(|seen| seen.lines.push(text));
            }
            reader.grow(|seen| seen.ended = true);
        });
        lines
    }

    fn grow(&self, by: impl FnOnce(&mut Seen)) {
        by(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        self.grew.notify_all();
    }

    fn await_that<T>(&self, deadline: Duration, find: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let still_hoping = |seen: &mut Seen| !seen.ended && find(&seen.lines).is_none();
        let (seen, _) =
            self.grew.wait_timeout_while(seen, deadline, still_hoping).unwrap_or_else(PoisonError::into_inner);
        find(&seen.lines)
    }

    fn await_end(&self, deadline: Duration) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, _) =
            self.grew.wait_timeout_while(seen, deadline, |seen| !seen.ended).unwrap_or_else(PoisonError::into_inner);
        seen.ended
    }

    fn text(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
