//! `[transport]`: windows that fit into each other, packets that fit into each other.

use std::{ops::RangeInclusive, time::Duration};

use crate::config::{
    Congestion, Limits, Transport,
    error::{Findings, Place},
    file::{At, RawDuration, RawNumber, RawTransport},
};

/// Below, a window takes a round trip for every few packets; above, memory is given away.
const WINDOW: RangeInclusive<i64> = 16_384..=1_073_741_824;
const STREAMS: RangeInclusive<i64> = 1..=100_000;
/// UDP payloads: what every path of QUIC must carry (RFC 9000 section 14), and what one can hold.
const PAYLOAD: RangeInclusive<i64> = 1_200..=65_527;

const CONGESTION: [(&str, Congestion); 3] =
    [("cubic", Congestion::Cubic), ("newreno", Congestion::NewReno), ("bbr", Congestion::Bbr)];

pub(super) fn check(raw: &RawTransport, limits: &Limits, findings: &mut Findings<'_>) -> Transport {
    let usual = Transport::default();
    let congestion =
        raw.congestion.as_ref().and_then(|at| super::one_of(at, "transport.congestion", &CONGESTION, findings));
    let mut number = |value, key: &str, default: u32, range| super::number(value, (key, default), range, findings);
    let stream_window = number(raw.stream_window.as_ref(), "transport.stream_window", usual.stream_window, WINDOW);
    let connection_window =
        number(raw.connection_window.as_ref(), "transport.connection_window", usual.connection_window, WINDOW);
    let send_window = number(raw.send_window.as_ref(), "transport.send_window", usual.send_window, WINDOW);
    let max_streams = number(raw.max_streams.as_ref(), "transport.max_streams", usual.max_streams, STREAMS);
    if connection_window < stream_window {
        let (at, key, why) = match (&raw.connection_window, &raw.stream_window) {
            (None, Some(at)) => {
                let why = format!("{stream_window} is more than connection_window, {connection_window}");
                (at.place, "transport.stream_window", why)
            }
            (at, _) => {
                let why = format!("{connection_window} is less than stream_window, {stream_window}");
                (at.as_ref().map_or(Place::Whole, |at| at.place), "transport.connection_window", why)
            }
        };
        findings.problem(at, key, why);
        findings.hint("one stream may then never use its window: raise the one, or lower the other");
    }
    let max_mtu = max_mtu(raw.max_mtu.as_ref(), findings);
    Transport {
        congestion: congestion.unwrap_or(usual.congestion),
        stream_window,
        connection_window,
        send_window,
        max_streams,
        keep_alive: raw.keep_alive.as_ref().map(|at| keep_alive(at, limits, findings)),
        initial_mtu: initial_mtu(raw.initial_mtu.as_ref(), max_mtu, findings),
        max_mtu,
        gso: raw.gso.unwrap_or(usual.gso),
        migration: raw.migration.unwrap_or(usual.migration),
    }
}

fn keep_alive(at: &At<RawDuration>, limits: &Limits, findings: &mut Findings<'_>) -> Duration {
    const KEY: &str = "transport.keep_alive";
    let interval = super::duration(Some(at), (KEY, 1), findings);
    if interval >= limits.idle_timeout {
        let why = format!("{interval:?} is no shorter than limits.idle_timeout, {:?}", limits.idle_timeout);
        findings.problem(at.place, KEY, why);
        findings.hint("the connection would end before: half of idle_timeout is usual");
    }
    interval
}

fn max_mtu(raw: Option<&At<RawNumber>>, findings: &mut Findings<'_>) -> Option<u16> {
    let usual = Transport::default().max_mtu;
    let Some(At { place, value }) = raw else { return usual };
    match value {
        RawNumber::Switch(on) => usual.filter(|_| *on),
        RawNumber::Number(number) => {
            let found = u16::try_from(*number).ok().filter(|_| PAYLOAD.contains(number));
            if found.is_none() {
                let why = format!("{number} is out of range, {} to {}, or false", PAYLOAD.start(), PAYLOAD.end());
                findings.problem(*place, "transport.max_mtu", why);
            }
            found
        }
    }
}

fn initial_mtu(raw: Option<&At<i64>>, max_mtu: Option<u16>, findings: &mut Findings<'_>) -> u16 {
    const KEY: &str = "transport.initial_mtu";
    let initial_mtu = super::number(raw, (KEY, Transport::default().initial_mtu), PAYLOAD, findings);
    if let (Some(at), Some(max)) = (raw, max_mtu)
        && initial_mtu > max
    {
        findings.problem(at.place, KEY, format_args!("{initial_mtu} is more than max_mtu, {max}"));
        findings.hint("lower it, or raise max_mtu");
    }
    initial_mtu
}
