//! Waiting for what can be asked about but is not announced. Between two looks there is a pause, so
//! that the process that is waited for has the processor; what does not come in time is an error that
//! says what was seen.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use router_userspace::agent::api::{Flow, Status};

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
            ensure!(!self.ends_within(BETWEEN_LOOKS), "the clients ended too soon");
        }
        Ok(())
    }
}

/// What a connection has had that is busy.
const PACKETS: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(90);
/// What passes between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
