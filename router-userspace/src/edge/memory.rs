//! What requests make the node hold, within a bound: the budget of `limits.memory`, of all workers together.
//!
//! Each limit of a connection or a stream bounds what that one holds, and many of them are more than a host has. So what
//! is held for requests is counted here as well: a flat part for each that is open, what is read of files and of servers'
//! responses before the client takes it. When the budget is used up new requests are refused, so that those there are can
//! end; nothing that was begun is broken off for it.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tracing::warn;

/// The budget, and what of it is used.
#[derive(Debug)]
pub struct Memory {
    budget: AtomicU64,
    held: AtomicU64,
    refused: AtomicU64,
    said: Mutex<Option<Instant>>,
}

/// A part of the budget, used until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    memory: Arc<Memory>,
    octets: u64,
}

/// Octets for an open request: its task, its fields, and the buffers that it is read by and written to.
pub(super) const REQUEST: u64 = 16 * 1024;

/// The part of the host's memory that is the default.
const PART: u64 = 4;

/// What the default is where the host does not say how much it has.
const UNKNOWN: u64 = 256 << 20;

/// The default is never less.
const LEAST: u64 = 64 << 20;

/// How long it is not said again that the budget is used up.
const QUIET: Duration = Duration::from_secs(10);

impl Memory {
    /// Nothing used of `budget`, or of what fits the host.
    pub(super) fn new(budget: Option<u64>) -> Arc<Self> {
        let memory = Self {
            budget: AtomicU64::new(0),
            held: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            said: Mutex::new(None),
        };
        memory.set_budget(budget);
        Arc::new(memory)
    }

    /// Changes it. What is held beyond it stays.
    pub(super) fn set_budget(&self, budget: Option<u64>) {
        self.budget.store(budget.unwrap_or_else(usual), Relaxed);
    }

    /// Octets that may be held.
    pub fn budget(&self) -> u64 {
        self.budget.load(Relaxed)
    }

    /// Octets that are held.
    pub fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// Requests that were refused for want of it.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// A new request's part; none, and counted, if there is no room for it.
    pub(super) fn admit(self: &Arc<Self>) -> Option<Held> {
        self.hold_or_refuse(REQUEST)
    }

    /// What the answer to a request needs; none, and counted as the request's refusal, if there is no room for it.
    pub(super) fn hold_or_refuse(self: &Arc<Self>, octets: u64) -> Option<Held> {
        let held = self.hold(octets);
        if held.is_none() {
            self.refuse();
        }
        held
    }

    /// What a request can do without. None if there is no room for it.
    pub(super) fn hold(self: &Arc<Self>, octets: u64) -> Option<Held> {
        let budget = self.budget();
        let more = |held: u64| held.checked_add(octets).filter(|held| *held <= budget);
        self.held.fetch_update(Relaxed, Relaxed, more).is_ok().then(|| Held { memory: Arc::clone(self), octets })
    }

    fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|last| now.duration_since(last) >= QUIET) {
            *said = Some(now);
            let (held, budget) = (self.held(), self.budget());
            warn!(held, budget, "requests are refused: limits.memory is used up; try: a higher one, or more hosts");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.held.fetch_sub(self.octets, Relaxed);
    }
}

/// A quarter of what there is.
fn usual() -> u64 {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let there_is = [host, group()].into_iter().flatten().min();
    there_is.map_or(UNKNOWN, |octets| (octets / PART).max(LEAST))
}

/// The host's memory, as `/proc/meminfo` says it.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least that the control groups allow that this process is in.
fn group() -> Option<u64> {
    let all = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = all.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let limit = |folder: &Path| -> io::Result<Option<u64>> {
        // `max` where there is none.
        Ok(fs::read_to_string(folder.join("memory.max"))?.trim().parse().ok())
    };
    let folder = root.join(group);
    folder.ancestors().take_while(|above| above.starts_with(root)).filter_map(|above| limit(above).ok()?).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_held_beyond_the_budget() {
        let memory = Memory::new(Some(3 * REQUEST));
        let [first, second] = [memory.admit().unwrap(), memory.admit().unwrap()];
        let more = memory.hold(REQUEST).unwrap();
        assert_eq!(memory.held(), 3 * REQUEST);
        assert!(memory.admit().is_none() && memory.hold(1).is_none());
        assert_eq!(memory.refused(), 1, "what is begun goes on without");
        drop(more);
        assert!(memory.hold_or_refuse(REQUEST + 1).is_none());
        assert_eq!(memory.refused(), 2);
        memory.set_budget(Some(REQUEST));
        drop(first);
        assert!(memory.admit().is_none(), "one is held still");
        drop(second);
        assert!(memory.admit().is_some());
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn the_default_is_a_quarter_of_what_there_is() {
        assert_eq!(total("MemTotal:       16318408 kB\nMemFree: 1 kB\n"), Some(16_318_408 * 1024));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert!(usual() >= LEAST);
    }
}
