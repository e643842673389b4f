//! What became of packets, stage by stage: each stage's sum closes.

use std::collections::BTreeMap;

use router_common::{
    maps::{Counters, Hop, Stage},
    reason::{Fate, Reason},
};

use crate::{
    agent::{
        api::{self, SCHEMA},
        node::Node,
    },
    worker::Worker,
};

use super::{ApiError, workers::sum};

pub(in crate::agent) fn counters(node: &Node) -> Result<api::Counters, ApiError> {
    let (mut stages, mut slots) = (Vec::new(), Vec::new());
    if let Some(kernel) = node.steering.kernel() {
        let mut datapath = kernel.datapath.borrow_mut();
        if !datapath.attachments().is_empty() {
            stages.push(stage("xdp", &datapath.counters(Stage::Xdp)?));
        }
        stages.push(stage("select", &datapath.counters(Stage::Select)?));
        for slot in node.roster.read(|workers| workers.iter().map(Worker::slot).collect::<Vec<_>>()) {
            let counters = datapath.slot_counters(slot)?;
            slots.push(api::SlotCounters {
                slot,
                xdp_local: counters.get(Hop::Local),
                xdp_stayed: counters.get(Hop::Stayed),
                xdp_redirected: counters.get(Hop::Redirected),
                xdp_unredirected: counters.get(Hop::Unredirected),
                selected: counters.get(Hop::Selected),
                unselected: counters.get(Hop::Unselected),
                xdp_socket: counters.get(Hop::Socket),
            });
        }
    }
    stages.extend(socket_stage(node));
    stages.push(worker_stage(node));
    Ok(api::Counters { schema: SCHEMA, stages, slots })
}

fn stage(name: &str, counters: &Counters) -> api::Stage {
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
        closes: counters.closes(),
    }
}

/// The AF_XDP sockets, where there are such, or were.
fn socket_stage(node: &Node) -> Option<api::Stage> {
    let sum = sum(node);
    if sum.frames_received == 0 && node.interfaces().iter().all(|interface| interface.queues.is_empty()) {
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
        closes: sum.frames_received == reasons,
    })
}

fn named(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

fn worker_stage(node: &Node) -> api::Stage {
    let sum = sum(node);
    let reasons = sum.datagrams_own + sum.datagrams_dropped + sum.handed_over + sum.hand_over_dropped;
    api::Stage {
        name: "worker".to_owned(),
        received: sum.datagrams_received,
        passed: named(&[]),
        dropped: named(&[("bad", sum.datagrams_dropped), ("inbox_full", sum.hand_over_dropped)]),
        delivered: named(&[("own", sum.datagrams_own), ("handed_over", sum.handed_over)]),
        closes: sum.datagrams_received == reasons,
    }
}
