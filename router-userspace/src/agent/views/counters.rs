//! What became of packets, stage by stage: each stage's sum closes.

use std::collections::BTreeMap;

use router_common::{
    identifiers::SlotId,
    maps::{self, Hop, SlotCounters},
    reason::{Fate, Reason},
};

use super::workers::sum;
use crate::{
    agent::{
        api::{self, SCHEMA},
        observe::{KernelCounters, Observed},
    },
    datapath::DatapathError,
};

/// All stages.
///
/// # Errors
/// If the kernel does not say what it has counted.
pub(in crate::agent) fn counters(observed: &Observed) -> Result<api::Counters, &DatapathError> {
    let kernel = observed.kernel.as_ref().map(|kernel| kernel.counters.as_ref()).transpose()?;
    let mut stages = kernel.map(stages).unwrap_or_default();
    stages.extend(observed.tunnel.as_ref().map(|counters| stage("tunnel", counters)));
    stages.extend(socket_stage(observed));
    stages.push(worker_stage(observed));
    let slots = kernel
        .map(|kernel| kernel.slots.iter().map(|(number, counters)| slot(*number, counters)).collect())
        .unwrap_or_default();
    Ok(api::Counters { schema: SCHEMA, stages, slots })
}

/// Those of the kernel's programs.
fn stages(kernel: &KernelCounters) -> Vec<api::Stage> {
    let xdp = kernel.xdp.iter().map(|counters| stage("xdp", counters));
    let unwrap = kernel.unwrap.iter().map(|counters| stage("unwrap", counters));
    xdp.chain(unwrap).chain([stage("select", &kernel.select)]).collect()
}

fn slot(slot: SlotId, counters: &SlotCounters) -> api::SlotCounters {
    api::SlotCounters {
        slot: slot.get(),
        xdp_local: counters.get(Hop::Local),
        xdp_stayed: counters.get(Hop::Stayed),
        xdp_redirected: counters.get(Hop::Redirected),
        xdp_unredirected: counters.get(Hop::Unredirected),
        selected: counters.get(Hop::Selected),
        unselected: counters.get(Hop::Unselected),
        xdp_socket: counters.get(Hop::Socket),
    }
}

fn stage(name: &str, counters: &maps::Counters) -> api::Stage {
    let of = |fate: Fate| {
        let reasons = Reason::ALL.iter().filter(|reason| reason.fate() == fate);
        reasons.map(|&reason| (reason.name().to_owned(), counters.get(reason))).collect()
    };
    api::Stage {
        name: name.to_owned(),
        received: counters.received(),
        passed: of(Fate::Passed),
        dropped: of(Fate::Dropped),
        delivered: of(Fate::Delivered),
        answered: of(Fate::Answered),
        forwarded: of(Fate::Forwarded),
        closes: counters.closes(),
    }
}

/// The AF_XDP sockets, where there are such, or were.
fn socket_stage(observed: &Observed) -> Option<api::Stage> {
    let sum = sum(observed);
    if sum.frames_received == 0 && observed.interfaces.iter().all(|interface| interface.queues.is_empty()) {
        return None;
    }
    let dropped = [
        ("ip_checksum", sum.frames_ip_checksum),
        ("udp_checksum", sum.frames_udp_checksum),
        ("unreadable", sum.frames_unreadable),
        ("no_listener", sum.frames_without_listener),
        ("not_held", sum.frames_not_held),
    ];
    let reasons = dropped.iter().map(|(_, n)| n).sum::<u64>() + sum.frames_delivered;
    Some(api::Stage {
        name: "af_xdp".to_owned(),
        received: sum.frames_received,
        passed: named(&[]),
        dropped: named(&dropped),
        delivered: named(&[("listener", sum.frames_delivered)]),
        answered: BTreeMap::new(),
        forwarded: BTreeMap::new(),
        closes: sum.frames_received == reasons,
    })
}

fn worker_stage(observed: &Observed) -> api::Stage {
    let sum = sum(observed);
    let reasons = sum.datagrams_own + sum.datagrams_dropped + sum.handed_over + sum.hand_over_dropped + sum.sent_on;
    api::Stage {
        name: "worker".to_owned(),
        received: sum.datagrams_received,
        passed: named(&[]),
        dropped: named(&[("bad", sum.datagrams_dropped), ("inbox_full", sum.hand_over_dropped)]),
        delivered: named(&[("own", sum.datagrams_own), ("handed_over", sum.handed_over)]),
        answered: BTreeMap::new(),
        forwarded: named(&[("sent_on", sum.sent_on)]),
        closes: sum.datagrams_received == reasons,
    }
}

fn named(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}
