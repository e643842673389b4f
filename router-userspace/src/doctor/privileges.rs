//! What this process may do. The agent is started with the privileges of the process that starts it, so
//! the doctor speaks of its own.

use std::fs;

use super::{
    finding::Finding,
    wanted::{Need, Wanted},
};
use crate::{
    datapath::{
        self,
        capabilities::{Capabilities, IPC_LOCK, NET_ADMIN, NET_BIND_SERVICE, NET_RAW},
    },
    text,
};

/// What this process may do.
#[derive(Debug)]
pub(super) struct Facts {
    capabilities: Capabilities,
    /// The lowest port that needs no capability to be bound.
    unprivileged_port: u16,
    /// Octets of memory that may be locked; none: any number.
    locked_memory: Option<u64>,
    /// Why the kernel has refused to load the programs, if they were tried and it has.
    refused: Option<String>,
    /// Its capabilities are those of a user namespace, which count for nothing in BPF.
    in_user_namespace: bool,
}

impl Facts {
    /// Whether receive buffers may be larger than the system's limit (`SO_RCVBUFFORCE`).
    pub(super) fn may_administer_network(&self) -> bool {
        self.capabilities.has(&NET_ADMIN)
    }
}

/// Looks; and tries to load the programs, if that is wanted and nothing says yet that it is in vain.
pub(super) fn facts_of(wanted: &Wanted) -> Facts {
    let facts = facts();
    let is_worth_it = wanted.bpf() != Need::Unused && facts.capabilities.missing_for_bpf().is_empty();
    let refused = is_worth_it.then(datapath::try_programs).and_then(Result::err).map(|e| e.to_string());
    Facts { refused, ..facts }
}

/// Looks.
pub(super) fn facts() -> Facts {
    let port = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    Facts {
        capabilities: Capabilities::effective(),
        unprivileged_port: port.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1_024),
        locked_memory: fs::read_to_string("/proc/self/limits").ok().and_then(|text| locked_memory_limit(&text)),
        refused: None,
        in_user_namespace: fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_initial(&map)),
    }
}

/// Judges.
pub(super) fn judge(facts: &Facts, wanted: &Wanted) -> Vec<Finding> {
    let mut findings = Vec::new();
    let missing = facts.capabilities.missing_for_bpf();
    findings.push(if let Some(why) = &facts.refused {
        let finding = format!("the kernel refuses to load the BPF programs: {why}");
        let finding = match facts.in_user_namespace {
            true => format!("{finding}; this process is in a user namespace, whose root may load no BPF programs"),
            false => finding,
        };
        let way_out = match facts.in_user_namespace {
            true => "a container without a user namespace of its own, or engine = \"userspace\"",
            false => "quic-router check, which says what is missing; or engine = \"userspace\"",
        };
        wanted.bpf().missing("privileges", finding).hint(way_out)
    } else if missing.is_empty() {
        Finding::ok("privileges", "this user may load and attach BPF programs")
    } else {
        let finding = format!("this user may not load and attach BPF programs: {} missing", missing.join(" and "));
        wanted.bpf().missing("privileges", finding).hint("sudo, or AmbientCapabilities= of a systemd unit")
    });
    if wanted.af_xdp() != Need::Unused {
        findings.push(match facts.capabilities.has(&NET_RAW) {
            true => Finding::ok("privileges", "this user may open AF_XDP sockets"),
            false => {
                let finding = format!("this user may not open AF_XDP sockets: {} missing", NET_RAW.name);
                wanted.af_xdp().missing("privileges", finding).hint("sudo, or AmbientCapabilities= of a systemd unit")
            }
        });
        findings.push(locked_memory(facts, wanted));
    }
    let low = wanted.listeners.iter().find(|listener| listener.port() < facts.unprivileged_port);
    if let Some(listener) = low.filter(|_| !facts.capabilities.has(&NET_BIND_SERVICE)) {
        let finding = format!("this user may not bind {listener}: {} missing", NET_BIND_SERVICE.name);
        findings.push(
            Finding::fail("privileges", finding).hint(format!("sudo, or a port from {} on", facts.unprivileged_port)),
        );
    }
    findings
}

/// Frames of AF_XDP sockets are in memory that stays where it is.
fn locked_memory(facts: &Facts, wanted: &Wanted) -> Finding {
    let limit = if facts.capabilities.has(&IPC_LOCK) { None } else { facts.locked_memory };
    match limit {
        Some(limit) if limit < wanted.af_xdp_memory => {
            let finding = format!(
                "only {} of memory may be locked, less than af_xdp.memory, {}",
                text::bytes(limit),
                text::bytes(wanted.af_xdp_memory)
            );
            wanted.af_xdp().missing("privileges", finding).hint("LimitMEMLOCK= of a systemd unit, or CAP_IPC_LOCK")
        }
        _ => Finding::ok("privileges", "the memory of AF_XDP sockets may be locked"),
    }
}

/// Whether a map of user IDs is the initial namespace's: each ID is itself.
fn is_initial(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The limit of locked memory in octets, of a process' limits; none if there is none.
fn locked_memory_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Engine;

    fn with(capabilities: &[u32]) -> Facts {
        let capabilities = Capabilities::of(capabilities);
        let (refused, in_user_namespace) = (None, false);
        Facts { capabilities, unprivileged_port: 1_024, locked_memory: Some(8 << 20), refused, in_user_namespace }
    }

    #[test]
    fn the_bpf_capabilities_or_sys_admin_in_their_place() {
        let fine = [Finding::ok("privileges", "this user may load and attach BPF programs")];
        assert_eq!(judge(&with(&[10, 12, 38, 39]), &Wanted::sample(Engine::Xdp)), fine);
        assert_eq!(judge(&with(&[10, 12, 21]), &Wanted::sample(Engine::Xdp)), fine);
    }

    /// docker-nginx#841: the capabilities were there, of a user namespace, and the doctor content.
    #[test]
    fn what_was_tried_and_refused_counts_more_than_capabilities() {
        assert!(is_initial("         0          0 4294967295\n") && !is_initial("         0     100000      65536\n"));
        let facts = Facts { refused: Some("EPERM".to_owned()), in_user_namespace: true, ..with(&[10, 12, 38, 39]) };
        let text = "the kernel refuses to load the BPF programs: EPERM; this process is in a user namespace, whose root \
                    may load no BPF programs";
        let hint = "a container without a user namespace of its own, or engine = \"userspace\"";
        assert_eq!(judge(&facts, &Wanted::sample(Engine::Xdp)), [Finding::fail("privileges", text).hint(hint)]);
    }

    #[test]
    fn af_xdp_needs_more() {
        let text = |capabilities: &[u32]| {
            let findings = judge(&with(capabilities), &Wanted::sample(Engine::AfXdp));
            super::super::finding::Findings::new(findings).text()
        };
        let fine = text(&[10, 12, 13, 14, 38, 39]);
        assert!(fine.contains("ok  privileges  this user may open AF_XDP sockets"), "{fine}");
        assert!(fine.contains("the memory of AF_XDP sockets may be locked"), "{fine}");
        let lacking = text(&[10, 12, 38, 39]);
        assert!(lacking.contains("this user may not open AF_XDP sockets: CAP_NET_RAW missing"), "{lacking}");
        assert!(lacking.contains("only 8.0 MiB of memory may be locked, less than af_xdp.memory, 64"), "{lacking}");
        let limits =
            "Limit    Soft Limit  Hard Limit  Units\nMax locked memory         8388608      8388608    bytes\n";
        assert_eq!(locked_memory_limit(limits), Some(8 << 20));
        assert_eq!(locked_memory_limit("Max locked memory         unlimited      unlimited    bytes\n"), None);
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
