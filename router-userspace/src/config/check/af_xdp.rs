//! `[af_xdp]`: memory that is of use, and that a host has.

use std::ops::RangeInclusive;

use crate::config::{
    AfXdp,
    error::Findings,
    file::{At, RawAfXdp},
    values,
};

/// Below, a queue has no room for a burst; above, the kernel's accounting ends.
const MEMORY: RangeInclusive<u64> = 1 << 20..=4 << 30;
const USUAL: u64 = 64 << 20;

pub(super) fn check(raw: RawAfXdp, findings: &mut Findings<'_>) -> AfXdp {
    let memory = raw.memory.map_or(USUAL, |at| memory(&at, findings));
    AfXdp { memory, busy_poll: raw.busy_poll }
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
