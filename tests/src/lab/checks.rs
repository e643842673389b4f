//! What has to hold after any traffic, and what the flow table showed during it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use router_userspace::agent::api::{Counters, SlotCounters};

use super::{Control, counters::open_sums, peers::Clients};

/// Waits until the sums close, and makes sure that each packet went the direct way: XDP
/// dropped none, and no worker got another's.
pub(super) fn no_packet_went_astray(control: &Control) -> Result<()> {
    await_no_fault(|| detours(control))
}

/// What was read by the workers of one generation that XDP had not delivered: its probe, which comes
/// by the loopback interface. Before anybody else has sent them anything.
pub(super) fn read_besides(control: &Control) -> Result<u64> {
    let read = control.status()?.totals.datagrams_received;
    Ok(read - hops(&control.counters()?))
}

/// Waits until the workers of these generations have read each packet that XDP delivered to their slots,
/// and `besides` of others; nothing was dropped on any of the ways.
pub(super) fn all_was_read(generations: &[Control], besides: u64) -> Result<()> {
    await_no_fault(|| {
        let (mut faults, mut delivered, mut read) = (Vec::new(), 0, 0);
        let (mut to_sockets, mut frames) = (0, 0);
        for control in generations {
            faults.extend(detours(control)?);
            let (counters, totals) = (control.counters()?, control.status()?.totals);
            delivered += hops(&counters);
            read += totals.datagrams_received;
            to_sockets += counters.slots.iter().map(|slot| slot.xdp_socket).sum::<u64>();
            frames += totals.frames_received;
            let dropped = counters.stages.iter().flat_map(|stage| &stage.dropped).filter(|(_, count)| **count > 0);
            faults.extend(dropped.map(|(reason, count)| format!("{count} dropped: {reason}")));
            for (count, what) in [(totals.socket_drops, "UDP sockets"), (totals.ring_drops, "AF_XDP sockets")] {
                if count > 0 {
                    faults.push(format!("{count} dropped at {what}"));
                }
            }
        }
        if delivered + besides != read {
            faults.push(format!("XDP delivered {delivered}, {besides} came another way, the workers read {read}"));
        }
        if to_sockets != frames {
            faults.push(format!("XDP gave {to_sockets} to AF_XDP sockets, the workers read {frames} of them"));
        }
        Ok(faults)
    })
}

/// Packets that XDP delivered to the slots of one generation, whichever way.
fn hops(counters: &Counters) -> u64 {
    let of = |slot: &SlotCounters| {
        slot.xdp_local + slot.xdp_stayed + slot.xdp_redirected + slot.xdp_unredirected + slot.xdp_socket
    };
    counters.slots.iter().map(of).sum()
}

/// No packet went astray, and every one that XDP delivered was read by a worker.
pub(super) fn no_packet_was_lost(control: &Control) -> Result<()> {
    await_no_fault(|| {
        let mut faults = detours(control)?;
        let (delivered, read) = (delivered_by_xdp(&control.counters()?), control.status()?.totals.datagrams_received);
        if delivered != read {
            faults.push(format!("XDP delivered {delivered}, the workers read {read}"));
        }
        Ok(faults)
    })
}

fn await_no_fault(look: impl Fn() -> Result<Vec<String>>) -> Result<()> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let faults = look()?;
        if faults.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("packets went astray: {}", faults.join("; "));
        }
    }
}

fn detours(control: &Control) -> Result<Vec<String>> {
    let totals = control.status()?.totals;
    let counters = control.counters()?;
    let mut faults = open_sums(&counters);
    for (count, what) in [
        (dropped_by_xdp(&counters), "dropped by XDP"),
        (totals.handed_over, "handed over"),
        (totals.hand_over_dropped, "lost in handing over"),
    ] {
        if count > 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    Ok(faults)
}

fn delivered_by_xdp(counters: &Counters) -> u64 {
    xdp(counters).map(|stage| stage.delivered.values().sum::<u64>()).sum()
}

fn dropped_by_xdp(counters: &Counters) -> u64 {
    xdp(counters).map(|stage| stage.dropped.values().sum::<u64>()).sum()
}

fn xdp(counters: &Counters) -> impl Iterator<Item = &router_userspace::agent::api::Stage> {
    counters.stages.iter().filter(|stage| stage.name == "xdp")
}

/// What the flow table showed while clients ran.
#[derive(Clone, Debug, Default)]
pub struct SeenFlows {
    /// Everybody that a packet came from.
    pub peers: BTreeSet<SocketAddr>,
    /// Connection IDs whose peer changed, in hex.
    pub changed: BTreeSet<String>,
}

impl SeenFlows {
    /// Looks at the flow table again and again until `clients` have ended.
    pub(super) fn watch(control: &Control, clients: &Clients) -> Result<Self> {
        let mut seen = Self::default();
        loop {
            for flow in control.flows()?.flows {
                seen.peers.extend(flow.peer);
                if flow.peer_changes > 0 {
                    seen.changed.insert(flow.cid);
                }
            }
            if clients.ends_within(BETWEEN_LOOKS) {
                return Ok(seen);
            }
        }
    }
}

const SETTLING: Duration = Duration::from_secs(3);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
