//! Whether CPUs and memory suffice for the workers and the flow table.

use std::{fs, thread};

use router_common::maps::FLOWS_PER_CONNECTION;

use super::{
    finding::Finding,
    wanted::{Need, Wanted},
};
use crate::{datapath, text};

/// What there is.
#[derive(Debug)]
pub(super) struct Facts {
    /// CPUs that this process may use.
    cpus: u64,
    /// Bytes that could be had without swapping.
    memory: Option<u64>,
}

/// Looks.
pub(super) fn facts() -> Facts {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Facts { cpus: thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64), memory: available(&meminfo) }
}

/// Judges.
pub(super) fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = vec![cpus(facts.cpus, wanted.workers.into())];
    if wanted.bpf() != Need::Unused {
        findings.push(flow_table(facts.memory, wanted.max_connections));
    }
    findings
}

fn cpus(cpus: u64, workers: u64) -> Finding {
    let text = format!("{} on {}", text::plural(workers, "worker", "workers"), text::plural(cpus, "CPU", "CPUs"));
    if workers > cpus {
        Finding::warn("cpus", format!("{text}: workers that share a CPU take turns"))
            .hint("[router] workers = \"auto\", which is one for each CPU")
    } else {
        Finding::ok("cpus", text)
    }
}

fn flow_table(memory: Option<u64>, max_connections: u32) -> Finding {
    let needed = flow_table_bytes(max_connections);
    let text = format!(
        "the flow table takes up to {} of kernel memory at max_connections = {}",
        text::bytes(needed),
        text::count(max_connections.into())
    );
    match memory {
        Some(memory) if needed > memory / 2 => {
            Finding::warn("memory", format!("{text}, of {} available", text::bytes(memory)))
                .hint("a smaller max_connections under [limits]")
        }
        Some(_) | None => Finding::ok("memory", text),
    }
}

/// Kernel memory of a full flow table, in bytes.
fn flow_table_bytes(max_connections: u32) -> u64 {
    datapath::flow_table_bytes(max_connections.saturating_mul(FLOWS_PER_CONNECTION))
}

/// `MemAvailable` of /proc/meminfo, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;

    #[test]
    fn enough_of_both() {
        let facts = Facts { cpus: 4, memory: Some(64 << 30) };
        let needed = text::bytes(flow_table_bytes(100_000));
        let memory = format!("the flow table takes up to {needed} of kernel memory at max_connections = 100,000");
        let expected = [Finding::ok("cpus", "2 workers on 4 CPUs"), Finding::ok("memory", memory)];
        assert_eq!(judge(&facts, &Wanted::sample(Engine::Xdp)), expected);
        assert_eq!(judge(&facts, &Wanted::sample(Engine::Userspace)), expected[..1]);
    }

    #[test]
    fn too_little_of_both() {
        let facts = Facts { cpus: 1, memory: Some(flow_table_bytes(100_000)) };
        let findings = judge(&facts, &Wanted::sample(Engine::Xdp));
        let shared = Finding::warn("cpus", "2 workers on 1 CPU: workers that share a CPU take turns");
        assert_eq!(findings[0], shared.hint("[router] workers = \"auto\", which is one for each CPU"));
        assert_ne!(findings[1], flow_table(None, 100_000));
    }

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(available("MemTotal:  100 kB\nMemAvailable:     42 kB\n"), Some(42 << 10));
        assert_eq!(available("MemTotal:  100 kB\n"), None);
    }
}
