//! TCP beside QUIC: what becomes of connections that wait at a listening socket that is closed.

use std::fs;

use super::{finding::Finding, wanted::Wanted};

/// What the host's TCP is like.
#[derive(Debug)]
pub(super) struct Facts {
    /// Whether connections that wait at a closed socket go to another one of its group
    /// (`net.ipv4.tcp_migrate_req`, Linux 5.14); none: the kernel does not say.
    migrates: Option<bool>,
}

/// Looks.
pub(super) fn facts() -> Facts {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req").ok();
    Facts { migrates: text.map(|text| text.trim() != "0") }
}

/// Judges, if TCP ports are wanted at all.
pub(super) fn judge(facts: &Facts, wanted: &Wanted) -> Option<Finding> {
    if !wanted.tcp {
        return None;
    }
    Some(match facts.migrates {
        Some(true) => Finding::ok("tcp", "connections that wait at a worker's socket go to another when it is closed"),
        Some(false) => Finding::warn(
            "tcp",
            "a TCP connection that arrives just as a worker closes its socket (drain, upgrade) is reset",
        )
        .hint("sysctl -w net.ipv4.tcp_migrate_req=1"),
        None => Finding::warn(
            "tcp",
            "net.ipv4.tcp_migrate_req cannot be seen: a connection that arrives just as a worker closes its socket may be reset",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_to_keep_what_waits() {
        let with = |tcp| Wanted { tcp, ..Wanted::by_default(&[]) };
        let judged = |migrates, tcp| judge(&Facts { migrates }, &with(tcp));
        assert_eq!(judged(Some(false), false), None);
        let ok = Finding::ok("tcp", "connections that wait at a worker's socket go to another when it is closed");
        assert_eq!(judged(Some(true), true), Some(ok));
        let text = "a TCP connection that arrives just as a worker closes its socket (drain, upgrade) is reset";
        let finding = Finding::warn("tcp", text).hint("sysctl -w net.ipv4.tcp_migrate_req=1");
        assert_eq!(judged(Some(false), true), Some(finding));
    }
}
