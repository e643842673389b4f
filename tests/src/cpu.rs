//! Which CPU a measurement runs on.

use anyhow::Result;
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};

/// Pins the calling thread to the CPU that it runs on; answers its number.
pub fn stay_on_this_one() -> Result<u32> {
    let cpu = sched_getcpu()?;
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(u32::try_from(cpu)?)
}
