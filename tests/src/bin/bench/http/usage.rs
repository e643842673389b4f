//! Processor time and memory of a server, and the time of others on its core.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// Up to a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    at: Instant,
    /// Of the server's processes.
    server: Duration,
    /// Of all on the first core.
    core: Duration,
}

/// Between two moments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) server: Duration,
    /// Of others, and of interrupts while the server was idle: their share of the server's core.
    pub(super) others: f64,
}

impl Usage {
    /// Of a process and those below it, and of the kernel threads that take packets from XDP to
    /// another core: only the router has such, and what they do others leave to the interrupt.
    pub(super) fn of(root: i32) -> Result<Self> {
        let all = processes();
        let family = family(root, &all);
        let counts = |process: &&Process| family.contains(&process.pid) || process.name.starts_with("cpumap/");
        let server = all.iter().filter(counts).map(|process| process.ticks).sum();
        let stat = fs::read_to_string("/proc/stat")?;
        let core = core(&stat).context("/proc/stat has no line of the first core")?;
        Ok(Self { at: Instant::now(), server: time(server)?, core: time(core)? })
    }

    pub(super) fn since(self, before: &Self) -> Used {
        let server = self.server.saturating_sub(before.server);
        let others = self.core.saturating_sub(before.core).saturating_sub(server);
        Used { server, others: others.as_secs_f64() / (self.at - before.at).as_secs_f64() }
    }
}

/// Octets that a process and those below it have for themselves: what only they have, and their part of what they
/// share (Pss of proc_pid_smaps_rollup(5)). The kernel's own for their sockets and maps is not in it.
pub(super) fn memory(root: i32) -> Result<u64> {
    let mut octets = 0;
    for pid in family(root, &processes()) {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has no Pss")?;
        octets += 1024 * line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(octets)
}

/// A process and all below it.
fn family(root: i32, all: &[Process]) -> BTreeSet<i32> {
    let mut family = BTreeSet::from([root]);
    loop {
        let children = all.iter().filter(|process| family.contains(&process.parent)).map(|process| process.pid);
        let grown = family.union(&children.collect()).copied().collect();
        if grown == family {
            return family;
        }
        family = grown;
    }
}

fn time(ticks: u64) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the kernel has no clock tick")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Of the first core in /proc/stat (proc_stat(5)), all but idleness and waiting for disks, and
/// with what the machine below took.
fn core(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu0 "))?;
    let fields: Vec<u64> = line.split(' ').map_while(|field| field.parse().ok()).collect();
    Some(fields.get(..3)?.iter().chain(fields.get(5..8)?).sum())
}

/// A line of /proc/PID/stat, in part.
struct Process {
    pid: i32,
    name: String,
    parent: i32,
    /// In user and kernel mode.
    ticks: u64,
}

/// Those that end meanwhile are left out.
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter_map(|stat| parse(&stat)).collect()
}

/// proc_pid_stat(5). The name may have spaces and brackets in it.
fn parse(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        name: name.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idleness_is_nobodys() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 20 300 7 7 4000 50000 600000 7 7\ncpu1 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(core(stat), Some(654_321));
    }

    #[test]
    fn a_name_may_look_like_fields() {
        let process = parse("12 (a) S 1 (b) R 34 1 1 0 -1 0 1 2 3 4 50 60 7 8 20 0 1 0 9").unwrap();
        assert_eq!((process.pid, &*process.name, process.parent, process.ticks), (12, "a) S 1 (b", 34, 110));
    }
}
