//! `[transport]`: windows that fit into each other, packets that fit into each other.

use std::time::Duration;

use super::places::place_of;
use crate::config::{
    Limits, Transport,
    error::Findings,
    keys::{RawTransport, TRANSPORT},
};

pub(super) fn check(raw: &RawTransport, limits: &Limits, findings: &mut Findings<'_>) -> Transport {
    let max_mtu = max_mtu(raw, findings);
    let transport = Transport {
        congestion: TRANSPORT.congestion.read(&raw.congestion, findings),
        stream_window: TRANSPORT.stream_window.read(&raw.stream_window, findings),
        connection_window: TRANSPORT.connection_window.read(&raw.connection_window, findings),
        send_window: TRANSPORT.send_window.read(&raw.send_window, findings),
        max_streams: TRANSPORT.max_streams.read(&raw.max_streams, findings),
        keep_alive: keep_alive(raw, limits, findings),
        initial_mtu: initial_mtu(raw, max_mtu, findings),
        max_mtu,
        gso: TRANSPORT.gso.read(&raw.gso, findings),
        migration: TRANSPORT.migration.read(&raw.migration, findings),
    };
    check_windows(raw, &transport, findings);
    transport
}

/// One stream can use its window only if the connection's is as wide.
fn check_windows(raw: &RawTransport, transport: &Transport, findings: &mut Findings<'_>) {
    let (stream, connection) = (transport.stream_window, transport.connection_window);
    if connection >= stream {
        return;
    }
    let (place, key, why) = match (&raw.connection_window, &raw.stream_window) {
        (None, Some(at)) => {
            let why = format!("{stream} is more than connection_window, {connection}");
            (at.place, TRANSPORT.stream_window.name(), why)
        }
        (at, _) => {
            let why = format!("{connection} is less than stream_window, {stream}");
            (place_of(at), TRANSPORT.connection_window.name(), why)
        }
    };
    findings.problem(place, key, why);
    findings.hint("one stream may then never use its window: raise the one, or lower the other");
}

/// The connection would end before a PING that comes too late.
fn keep_alive(raw: &RawTransport, limits: &Limits, findings: &mut Findings<'_>) -> Option<Duration> {
    let interval = TRANSPORT.keep_alive.read(&raw.keep_alive, findings)?;
    if interval >= limits.idle_timeout {
        let why = format!("{interval:?} is no shorter than limits.idle_timeout, {:?}", limits.idle_timeout);
        findings.problem(place_of(&raw.keep_alive), TRANSPORT.keep_alive.name(), why);
        findings.hint("the connection would end before: half of idle_timeout is usual");
    }
    Some(interval)
}

/// None also where it is wrong, so that `initial_mtu` is not measured by the default.
fn max_mtu(raw: &RawTransport, findings: &mut Findings<'_>) -> Option<u16> {
    match &raw.max_mtu {
        None => Some(*TRANSPORT.max_mtu.default()),
        Some(at) => TRANSPORT.max_mtu.given(at, findings).flatten(),
    }
}

fn initial_mtu(raw: &RawTransport, max_mtu: Option<u16>, findings: &mut Findings<'_>) -> u16 {
    let key = &TRANSPORT.initial_mtu;
    let initial_mtu = key.read(&raw.initial_mtu, findings);
    if let (Some(at), Some(max)) = (&raw.initial_mtu, max_mtu)
        && initial_mtu > max
    {
        findings.problem(at.place, key.name(), format_args!("{initial_mtu} is more than max_mtu, {max}"));
        findings.hint("lower it, or raise max_mtu");
    }
    initial_mtu
}
