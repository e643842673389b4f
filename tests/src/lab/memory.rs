//! How much memory the agent takes.

use std::fs;

use anyhow::{Context, Result};

use super::Running;

/// The most memory that the agent has had resident since some moment.
#[derive(Debug)]
pub struct Peak {
    pid: i32,
    before: u64,
}

impl Peak {
    /// From now on.
    pub fn begin(lab: &Running) -> Result<Self> {
        let pid = lab.agent()?.pid()?;
        // proc_pid_clear_refs(5): the peak begins anew.
        fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
        Ok(Self { pid, before: resident(pid, "VmRSS:")? })
    }

    /// How much more it was, in octets, than at that moment.
    pub fn grown(&self) -> Result<u64> {
        Ok(resident(self.pid, "VmHWM:")?.saturating_sub(self.before))
    }
}

fn resident(pid: i32, which: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}
