//! `[limits]`: what a host can bear.

use std::ops::RangeInclusive;

use super::{duration, number};
use crate::config::{
    Limits,
    error::Findings,
    file::{At, RawLimits},
    values,
};

/// The flow table is allocated for these; beyond ten million it would take gigabytes of kernel memory.
const CONNECTIONS: RangeInclusive<i64> = 1..=10_000_000;
const HANDSHAKES: RangeInclusive<i64> = 1..=1_000_000;
/// A prefix of no bits would make one client of all.
const PREFIX4: RangeInclusive<i64> = 1..=32;
const PREFIX6: RangeInclusive<i64> = 1..=128;
/// A kilobyte holds a browser's plainest request; a megabyte for each request in flight is memory.
const HEADER_BYTES: RangeInclusive<i64> = 1_024..=1_048_576;
const HEADERS: RangeInclusive<i64> = 1..=1_000;
/// A megabyte each second is beyond what many clients have.
const RATES: RangeInclusive<i64> = 1..=1_000_000;
/// Less would not hold a hundred requests.
const MEMORY: RangeInclusive<u64> = 16 << 20..=1 << 40;

pub(super) fn check(raw: &RawLimits, findings: &mut Findings<'_>) -> Limits {
    let connections = ("limits.max_connections", 100_000);
    let max_connections: u32 = number(raw.max_connections.as_ref(), connections, CONNECTIONS, findings);
    let per_ip = ("limits.max_connections_per_ip", 1_000.min(max_connections));
    let max_connections_per_ip = number(raw.max_connections_per_ip.as_ref(), per_ip, CONNECTIONS, findings);
    if let Some(at) = &raw.max_connections_per_ip
        && max_connections_per_ip > max_connections
    {
        let why = format!("{max_connections_per_ip} is more than max_connections, {max_connections}");
        findings.problem(at.place, per_ip.0, why);
        findings.hint("lower it, or raise max_connections");
    }
    let header_bytes = ("limits.max_header_bytes", 65_536);
    Limits {
        max_connections,
        max_connections_per_ip,
        client_prefix4: number(raw.client_prefix4.as_ref(), ("limits.client_prefix4", 32), PREFIX4, findings),
        client_prefix6: number(raw.client_prefix6.as_ref(), ("limits.client_prefix6", 64), PREFIX6, findings),
        max_handshakes: number(raw.max_handshakes.as_ref(), ("limits.max_handshakes", 4_096), HANDSHAKES, findings),
        idle_timeout: duration(raw.idle_timeout.as_ref(), ("limits.idle_timeout", 30), findings),
        max_header_bytes: number(raw.max_header_bytes.as_ref(), header_bytes, HEADER_BYTES, findings),
        max_headers: number(raw.max_headers.as_ref(), ("limits.max_headers", 100), HEADERS, findings),
        request_timeout: duration(raw.request_timeout.as_ref(), ("limits.request_timeout", 10), findings),
        body_timeout: duration(raw.body_timeout.as_ref(), ("limits.body_timeout", 60), findings),
        send_timeout: duration(raw.send_timeout.as_ref(), ("limits.send_timeout", 60), findings),
        min_rate: number(raw.min_rate.as_ref(), ("limits.min_rate", 500), RATES, findings),
        memory: raw.memory.as_ref().and_then(|at| memory(at, findings)),
    }
}

fn memory(At { place, value }: &At<String>, findings: &mut Findings<'_>) -> Option<u64> {
    let why = match values::size(value) {
        _ if value == "auto" => return None,
        Ok(octets) if MEMORY.contains(&octets) => return Some(octets),
        Ok(_) => format!("\"{value}\" is out of range, 16 MiB to 1024 GiB"),
        Err(why) => format!("{why}, or \"auto\""),
    };
    findings.problem(*place, "limits.memory", why);
    None
}
