//! `[limits]`: what a host can bear.

use crate::config::{
    Limits,
    error::Findings,
    keys::{LIMITS, RawLimits},
};

/// Those of a file that says nothing of them.
impl Default for Limits {
    fn default() -> Self {
        check(&RawLimits::default(), &mut Findings::new("", ""))
    }
}

pub(super) fn check(raw: &RawLimits, findings: &mut Findings<'_>) -> Limits {
    let max_connections = LIMITS.max_connections.read(&raw.max_connections, findings);
    Limits {
        max_connections,
        max_connections_per_ip: max_connections_per_ip(raw, max_connections, findings),
        client_prefix4: LIMITS.client_prefix4.read(&raw.client_prefix4, findings),
        client_prefix6: LIMITS.client_prefix6.read(&raw.client_prefix6, findings),
        max_handshakes: LIMITS.max_handshakes.read(&raw.max_handshakes, findings),
        idle_timeout: LIMITS.idle_timeout.read(&raw.idle_timeout, findings),
        max_header_bytes: LIMITS.max_header_bytes.read(&raw.max_header_bytes, findings),
        max_headers: LIMITS.max_headers.read(&raw.max_headers, findings),
        request_timeout: LIMITS.request_timeout.read(&raw.request_timeout, findings),
        body_timeout: LIMITS.body_timeout.read(&raw.body_timeout, findings),
        send_timeout: LIMITS.send_timeout.read(&raw.send_timeout, findings),
        min_rate: LIMITS.min_rate.read(&raw.min_rate, findings),
        memory: LIMITS.memory.read(&raw.memory, findings),
    }
}

/// At most the node's, and so is the default where the node's is lower.
fn max_connections_per_ip(raw: &RawLimits, max_connections: u32, findings: &mut Findings<'_>) -> u32 {
    let key = &LIMITS.max_connections_per_ip;
    let usual = max_connections.min(*key.default());
    let Some(at) = &raw.max_connections_per_ip else { return usual };
    let Some(wanted) = key.given(at, findings) else { return usual };
    if wanted > max_connections {
        findings.problem(
            at.place,
            key.name(),
            format_args!("{wanted} is more than max_connections, {max_connections}"),
        );
        findings.hint("lower it, or raise max_connections");
    }
    wanted
}
