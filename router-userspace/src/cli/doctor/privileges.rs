//! What this process may do. The agent is started with the privileges of whoever starts it, so
//! the doctor speaks of its own.

use std::fs;

use super::{finding::Finding, wanted::Wanted};

/// What this process may do.
#[derive(Debug)]
pub(super) struct Facts {
    /// A bit for each effective capability.
    capabilities: u64,
    /// The lowest port that anybody may bind.
    unprivileged_port: u16,
}

impl Facts {
    /// Whether receive buffers may be larger than the system's limit (`SO_RCVBUFFORCE`).
    pub(super) fn may_administer_network(&self) -> bool {
        self.has(&NET_ADMIN)
    }

    /// Whether the capability is there, or `CAP_SYS_ADMIN` which stands for the BPF ones.
    fn has(&self, capability: &Capability) -> bool {
        let bit = |number: u32| self.capabilities & (1 << number) != 0;
        bit(capability.number) || (capability.part_of_sys_admin && bit(SYS_ADMIN))
    }
}

/// Looks.
pub(super) fn facts() -> Facts {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let port = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    Facts {
        capabilities: effective(&status).unwrap_or(0),
        unprivileged_port: port.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1_024),
    }
}

/// Judges.
pub(super) fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = Vec::new();
    let missing: Vec<&str> =
        FOR_BPF.iter().filter(|capability| !facts.has(capability)).map(|capability| capability.name).collect();
    findings.push(if missing.is_empty() {
        Finding::ok("privileges", "this user may load and attach BPF programs")
    } else {
        let finding = format!("this user may not load and attach BPF programs: {} missing", missing.join(" and "));
        wanted.bpf().missing("privileges", finding).hint("sudo, or AmbientCapabilities= of a systemd unit")
    });
    let low = wanted.listeners.iter().find(|listener| listener.port() < facts.unprivileged_port);
    if let Some(listener) = low.filter(|_| !facts.has(&NET_BIND_SERVICE)) {
        let finding = format!("this user may not bind {listener}: {} missing", NET_BIND_SERVICE.name);
        findings.push(
            Finding::fail("privileges", finding).hint(format!("sudo, or a port from {} on", facts.unprivileged_port)),
        );
    }
    findings
}

/// `CapEff` of a process' status, in hex.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// A capability, see capabilities(7).
struct Capability {
    name: &'static str,
    number: u32,
    part_of_sys_admin: bool,
}

const FOR_BPF: [Capability; 3] = [
    Capability { name: "CAP_BPF", number: 39, part_of_sys_admin: true },
    Capability { name: "CAP_PERFMON", number: 38, part_of_sys_admin: true },
    NET_ADMIN,
];

const NET_ADMIN: Capability = Capability { name: "CAP_NET_ADMIN", number: 12, part_of_sys_admin: false };

const NET_BIND_SERVICE: Capability = Capability { name: "CAP_NET_BIND_SERVICE", number: 10, part_of_sys_admin: false };

const SYS_ADMIN: u32 = 21;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;

    fn with(capabilities: &[u32]) -> Facts {
        let capabilities = capabilities.iter().fold(0, |bits, number| bits | 1 << number);
        Facts { capabilities, unprivileged_port: 1_024 }
    }

    #[test]
    fn reads_the_effective_set() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n";
        assert_eq!(effective(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn the_bpf_capabilities_or_sys_admin_in_their_place() {
        let fine = [Finding::ok("privileges", "this user may load and attach BPF programs")];
        assert_eq!(judge(&with(&[10, 12, 38, 39]), &Wanted::sample(Engine::Xdp)), fine);
        assert_eq!(judge(&with(&[10, 12, 21]), &Wanted::sample(Engine::Xdp)), fine);
    }

    #[test]
    fn what_is_missing_is_named() {
        let findings = judge(&with(&[38]), &Wanted::sample(Engine::Xdp));
        let bpf = "this user may not load and attach BPF programs: CAP_BPF and CAP_NET_ADMIN missing";
        let port = "this user may not bind 192.0.2.1:443: CAP_NET_BIND_SERVICE missing";
        assert_eq!(
            findings,
            [
                Finding::fail("privileges", bpf).hint("sudo, or AmbientCapabilities= of a systemd unit"),
                Finding::fail("privileges", port).hint("sudo, or a port from 1024 on"),
            ]
        );
    }
}
