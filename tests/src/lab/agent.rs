//! The real agent, run as an operator runs it.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use router_userspace::agent::api::Upgraded;

use super::{
    config::AgentConfig,
    control::Control,
    home::Home,
    netns::Namespace,
    program::{Finished, Program},
};

/// A running agent; ended on drop, politely first.
#[derive(Debug)]
pub struct Agent {
    /// The first generation; what later ones say comes from it too.
    program: Option<Program>,
    control: Control,
}

impl Agent {
    /// Starts the agent in `namespace` with the configuration `config`, and waits until it answers on its control socket.
    pub(super) fn start(namespace: &Namespace, home: &Home, config: &AgentConfig) -> Result<Self> {
        let mut command = command(namespace, home, &config.text(home), &words(&config.under, config.binary()?))?;
        command.envs(config.environment.iter().map(|(name, value)| (name, value)));
        let program = Program::start_logged("quic-router", &mut command, &home.log_path())?;
        let control = Control::at(&home.control());
        let agent = Self { program: Some(program), control };
        agent.await_ready()?;
        Ok(agent)
    }

    /// Its control socket.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Replaces it by the next generation: its own binary, or another one.
    pub fn upgrade(&self, binary: Option<&Path>) -> Result<Upgraded> {
        self.control.upgrade(binary)
    }

    /// The process of the newest generation: the one that answers on the control socket, whoever had it take over. It is
    /// what is signalled; the first one ends when all of them have.
    pub fn pid(&self) -> Result<i32> {
        self.control.process().map_or_else(|| self.program().pid(), Ok)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.pid()?), signal)?)
    }

    /// SIGHUP: it reads its configuration again.
    pub fn hang_up(&self) -> Result<()> {
        self.signal(Signal::SIGHUP)
    }

    /// SIGKILL: it gets no chance to clean up.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let program = self.program.take().context("it runs")?;
        program.finish(TO_END).map(drop)
    }

    /// SIGTERM: it closes its connections, detaches, and ends.
    pub fn terminate(mut self) -> Result<Finished> {
        self.signal(Signal::SIGTERM)?;
        let program = self.program.take().context("it runs")?;
        program.finish(TO_END)
    }

    fn program(&self) -> &Program {
        self.program.as_ref().expect("only the methods that take the agent take its program")
    }

    fn await_ready(&self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let Err(not_yet) = self.control.status() else { return Ok(()) };
            if self.program().ends_within(BETWEEN_LOOKS) {
                bail!("the agent ended: {}", self.program().said());
            }
            if Instant::now() > deadline {
                return Err(
                    not_yet.context(format!("the agent is not ready after {START:?}: {}", self.program().said()))
                );
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.program.is_none() {
            return;
        }
        let _ = self.signal(Signal::SIGTERM);
        let Some(program) = self.program.take() else { return };
        if thread::panicking() {
            eprintln!("--- what the agent said ---\n{}---", program.said());
        }
        // Past its deadline it is killed, and what it has left goes with the namespace.
        let _ = program.finish(TO_END);
    }
}

/// Runs the agent with a configuration that it should refuse, until it ends; by way of the
/// program and arguments `under`, if there are any.
pub(super) fn run_to_end(namespace: &Namespace, home: &Home, config: &str, under: &[&str]) -> Result<Finished> {
    Program::start("quic-router run", &mut command(namespace, home, config, &words(under, binary()?))?)?.finish(START)
}

/// A command of the agent's binary in `namespace`, such as `["status", "--json"]`.
pub fn cli(namespace: &Namespace, arguments: &[&str]) -> Result<Finished> {
    cli_of(&binary()?, namespace, arguments)
}

/// The same of another binary.
pub(super) fn cli_of(binary: &Path, namespace: &Namespace, arguments: &[&str]) -> Result<Finished> {
    Program::start("quic-router", namespace.command(binary).args(arguments))?.finish(START)
}

/// Sends `signal` to one generation's process, whose number is in its status.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(pid)?), signal).with_context(|| format!("cannot send {signal} to {pid}"))
}

/// The agent's binary: `$QUIC_ROUTER_BIN`, or the release build in the folder this program was built into.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("QUIC_ROUTER_BIN") {
        return Ok(path.into());
    }
    let us = std::env::current_exe()?;
    // target/PROFILE/demo or target/PROFILE/deps/TEST-HASH
    let found = us.ancestors().map(|folder| folder.join("release/quic-router")).find(|path| path.exists());
    found.context("no release build of quic-router; try: cargo build --release, or set QUIC_ROUTER_BIN")
}

/// The version that is replaced in tests of upgrades: `$QUIC_ROUTER_BIN_BEFORE`, which `cargo xtask test --upgrade-from`
/// sets, or the same as [`binary`].
pub fn binary_before() -> Result<PathBuf> {
    std::env::var_os("QUIC_ROUTER_BIN_BEFORE").map_or_else(binary, |path| Ok(path.into()))
}

/// The debug build: `$QUIC_ROUTER_DEV_BIN`, which `cargo xtask test` sets.
pub fn debug_binary() -> Result<PathBuf> {
    let path = std::env::var_os("QUIC_ROUTER_DEV_BIN").map(PathBuf::from);
    path.context("QUIC_ROUTER_DEV_BIN does not say where the debug build is; try: cargo xtask test")
}

/// A binary, by way of the program and arguments `under`, if there are any.
fn words<S: AsRef<OsStr>>(under: &[S], binary: PathBuf) -> Vec<OsString> {
    under.iter().map(OsString::from).chain([binary.into()]).collect()
}

/// An agent with a configuration, by these words: its binary, and what it runs under.
fn command(namespace: &Namespace, home: &Home, config: &str, words: &[OsString]) -> Result<Command> {
    let file = home.write(CONFIG, config)?;
    let mut command = namespace.command(&words[0]);
    // A debug build listens only where it was allowed to, and here it may.
    command.args(&words[1..]).args(["run", "--allow-test-build", "--config"]).arg(file);
    Ok(command)
}

/// The configuration's file in a laboratory's home.
pub(super) const CONFIG: &str = "config.toml";
/// How long the agent may take to be ready.
const START: Duration = Duration::from_secs(60);
/// How long it may take to end when asked to.
const TO_END: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
