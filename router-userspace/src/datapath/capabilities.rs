//! What the kernel lets this process do: its effective capabilities, see capabilities(7).
//!
//! The rule this file keeps: what is refused for lack of a capability names it. The kernel itself answers
//! `Operation not permitted`, or, without CAP_PERFMON, with the verifier's opinion of a program.

use std::fs;

/// A set of capabilities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities(u64);

impl Capabilities {
    /// Those of this process.
    pub(crate) fn effective() -> Self {
        Self(fs::read_to_string("/proc/self/status").ok().and_then(|status| effective(&status)).unwrap_or(0))
    }

    /// By their numbers.
    #[cfg(test)]
    pub(crate) fn of(numbers: &[u32]) -> Self {
        Self(numbers.iter().fold(0, |bits, number| bits | 1 << number))
    }

    /// Whether the capability is there, or `CAP_SYS_ADMIN`, which stands for the BPF ones.
    pub(crate) fn has(self, capability: &Capability) -> bool {
        let bit = |number: u32| self.0 & (1 << number) != 0;
        bit(capability.number) || (capability.part_of_sys_admin && bit(SYS_ADMIN))
    }

    /// What is missing to load and attach BPF programs.
    pub(crate) fn missing_for_bpf(self) -> Vec<&'static str> {
        FOR_BPF.iter().filter(|capability| !self.has(capability)).map(|capability| capability.name).collect()
    }
}

/// A capability.
pub(crate) struct Capability {
    pub(crate) name: &'static str,
    number: u32,
    part_of_sys_admin: bool,
}

pub(crate) const NET_ADMIN: Capability = Capability { name: "CAP_NET_ADMIN", number: 12, part_of_sys_admin: false };
pub(crate) const NET_BIND_SERVICE: Capability =
    Capability { name: "CAP_NET_BIND_SERVICE", number: 10, part_of_sys_admin: false };
pub(crate) const NET_RAW: Capability = Capability { name: "CAP_NET_RAW", number: 13, part_of_sys_admin: false };
pub(crate) const IPC_LOCK: Capability = Capability { name: "CAP_IPC_LOCK", number: 14, part_of_sys_admin: false };

const FOR_BPF: [Capability; 3] = [
    Capability { name: "CAP_BPF", number: 39, part_of_sys_admin: true },
    Capability { name: "CAP_PERFMON", number: 38, part_of_sys_admin: true },
    NET_ADMIN,
];

const SYS_ADMIN: u32 = 21;

/// `CapEff` of a process' status, in hex.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_effective_set() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\nCapBnd:\t0\n";
        assert_eq!(effective(status), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn what_is_missing_for_bpf() {
        assert_eq!(Capabilities::of(&[12, 38, 39]).missing_for_bpf(), [""; 0]);
        assert_eq!(Capabilities::of(&[12, 21]).missing_for_bpf(), [""; 0]);
        assert_eq!(Capabilities::of(&[39]).missing_for_bpf(), ["CAP_PERFMON", "CAP_NET_ADMIN"]);
    }
}
