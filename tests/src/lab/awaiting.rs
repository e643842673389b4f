//! Waiting for what can be asked about but is not announced. Between two looks there is a pause, so
//! that the process that is waited for has the processor; what does not come in time is an error that
//! says what was seen.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_userspace::agent::api::{Flow, Status};
use serde_json::Value;

use super::{Running, checks::is_userspace, peers::Clients};

/// Looks again and again until what is seen `is_so`, and gives that.
pub fn until<T: Debug>(look: impl Fn() -> Result<T>, is_so: impl Fn(&T) -> bool) -> Result<T> {
    let begun = Instant::now();
    loop {
        let seen = look()?;
        if is_so(&seen) {
            return Ok(seen);
        }
        ensure!(begun.elapsed() < PATIENCE, "not after {PATIENCE:?}: {seen:#?}");
        thread::sleep(BETWEEN_LOOKS);
    }
}

impl Running {
    /// Waits until the agent's status is so, and gives that.
    pub fn await_status(&self, is_so: impl Fn(&Status) -> bool) -> Result<Status> {
        until(|| self.control().status(), is_so)
    }

    /// Waits until a line of the agent's log has these words.
    pub fn await_log(&self, words: &str) -> Result<()> {
        let has_words = |log: &String| log.contains(words);
        until(|| Ok(self.home().log()), has_words).with_context(|| format!("no {words:?} in the log")).map(drop)
    }

    /// Waits until the lines of `access.log` in the laboratory's home are so, and gives them.
    pub fn await_access_log(&self, are_so: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        let read = || {
            let text = std::fs::read_to_string(self.home().path("access.log")).unwrap_or_default();
            // The last line may be half written.
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
        };
        until(read, |lines: &Vec<_>| are_so(lines))
    }

    /// Waits until the process `pid` answers on the control socket.
    pub fn await_service_by(&self, pid: u32) -> Result<()> {
        until(|| Ok(self.control().status().map_or(0, |status| status.pid)), |serving| *serving == pid).map(drop)
    }

    /// Waits until so many connections have come up in all, some of them by `clients`.
    pub fn await_accepted(&self, clients: &Clients, count: u64) -> Result<()> {
        clients.run_until(|| Ok(self.control().status()?.totals.accepted >= count))
    }

    /// Waits until so many connections of the newest generation have exchanged some packets: a
    /// client whose handshake is not confirmed sends nothing that a stateless reset may answer. The
    /// engine `userspace` has no flow table: there they have done so on average.
    pub fn await_busy(&self, clients: &Clients, count: usize) -> Result<()> {
        let status = self.control().status()?;
        if is_userspace(&status) {
            let enough = status.totals.datagrams_own + count as u64 * (PACKETS + 1) * 2;
            return clients.run_until(|| Ok(self.control().status()?.totals.datagrams_own >= enough));
        }
        let slots = status.generations[0].slots.clone();
        let is_busy = |flow: &Flow| slots.contains(&flow.slot) && flow.packets > PACKETS;
        clients.run_until(|| Ok(self.control().flows()?.flows.into_iter().filter(is_busy).count() >= count))
    }
}

impl Clients {
    /// Waits until something is so, which has to come before they have ended.
    pub fn run_until(&self, is_so: impl Fn() -> Result<bool>) -> Result<()> {
        while !is_so()? {
            ensure!(!self.ends_within(BETWEEN_LOOKS), "the clients ended too soon: {}", self.said());
        }
        Ok(())
    }
}

/// What a connection has had that is busy.
const PACKETS: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(90);
/// What passes between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
