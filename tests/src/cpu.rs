//! Which CPU a measurement runs on, and what that is.

use std::fs;

use anyhow::Result;
use nix::{
    sched::{CpuSet, sched_getcpu, sched_setaffinity},
    unistd::Pid,
};
use router_common::identifiers::CpuId;

/// Pins the calling thread to the CPU that it runs on; answers its number.
pub fn stay_on_this_one() -> Result<CpuId> {
    let cpu = sched_getcpu()?;
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(CpuId::new(u32::try_from(cpu)?))
}

/// The machine's processors and the caches of the first, in one line: what figures are told with.
pub fn described() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(value);
    let count = info.lines().filter(|line| line.starts_with("processor")).count();
    let caches: Vec<_> = (0..8).map_while(cache).collect();
    let caches = if caches.is_empty() { "caches unknown".to_owned() } else { caches.join(", ") };
    format!("{} ({count} processors; {caches})", model.unwrap_or_else(|| "unknown processor".to_owned()))
}

/// A cache of the first processor, as the kernel tells it: `L1d 32K`.
fn cache(index: u32) -> Option<String> {
    let field = |name: &str| fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}"));
    let [level, kind, size] = [field("level").ok()?, field("type").ok()?, field("size").ok()?];
    let kind = match kind.trim() {
        "Data" => "d",
        "Instruction" => "i",
        _ => "",
    };
    Some(format!("L{}{kind} {}", level.trim(), size.trim()))
}
