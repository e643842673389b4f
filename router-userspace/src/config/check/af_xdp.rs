//! `[af_xdp]`: memory that is of use, and that a host has; and a way to send that the engine has.

use std::ops::RangeInclusive;

use crate::config::{
    AfXdp, Engine, SendBy,
    error::Findings,
    file::{At, RawAfXdp},
    values,
};

/// Below, a queue has no room for a burst; above, the kernel's accounting ends.
const MEMORY: RangeInclusive<u64> = 1 << 20..=4 << 30;
const USUAL: u64 = 64 << 20;

const SEND: [(&str, SendBy); 2] = [("udp", SendBy::Udp), ("af_xdp", SendBy::AfXdp)];

pub(super) fn check(raw: RawAfXdp, engine: Engine, findings: &mut Findings<'_>) -> AfXdp {
    let memory = raw.memory.map_or(USUAL, |at| memory(&at, findings));
    let send = raw.send.map_or(SendBy::Udp, |at| send(&at, engine, findings));
    AfXdp { memory, busy_poll: raw.busy_poll, send }
}

fn memory(At { place, value }: &At<String>, findings: &mut Findings<'_>) -> u64 {
    let why = match values::size(value) {
        Ok(octets) if MEMORY.contains(&octets) => return octets,
        Ok(_) => format!("\"{value}\" is out of range, 1 MiB to 4 GiB"),
        Err(why) => why,
    };
    findings.problem(*place, "af_xdp.memory", why);
    USUAL
}

fn send(at: &At<String>, engine: Engine, findings: &mut Findings<'_>) -> SendBy {
    let send = super::one_of(at, "af_xdp.send", &SEND, findings).unwrap_or(SendBy::Udp);
    match (send, engine) {
        (SendBy::AfXdp, Engine::Xdp | Engine::Reuseport | Engine::Userspace) => {
            findings.notice(at.place, "af_xdp.send: the engine has no AF_XDP sockets, so it has no effect");
        }
        (SendBy::AfXdp, Engine::AfXdp | Engine::Auto) | (SendBy::Udp, _) => {}
    }
    send
}
