//! What has to hold after any traffic, and what the flow table showed during it.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use router_userspace::agent::api::{Counters, SlotCounters, Status};

use super::{Control, Running, awaiting::until, counters::open_sums, peers::Clients};

/// Waits until the sums close, and makes sure that each packet went the direct way: XDP
/// dropped none, and no worker got another's. Without XDP, where the kernel may put packets of
/// several connections in one, that none was lost between workers.
pub(super) fn no_packet_went_astray(control: &Control) -> Result<()> {
    await_no_fault(|| detours(control))
}

/// What was read by the workers of one generation that XDP had not delivered: its probe, which comes
/// by the loopback interface. To be asked before a client has sent them anything.
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

/// No packet went astray, and every one that XDP delivered was read by a worker; without XDP, no socket
/// was full.
pub(super) fn no_packet_was_lost(control: &Control) -> Result<()> {
    await_no_fault(|| {
        let mut faults = detours(control)?;
        let status = control.status()?;
        let (delivered, read) = (delivered_by_xdp(&control.counters()?), status.totals.datagrams_received);
        if has_xdp(&status) && delivered != read {
            faults.push(format!("XDP delivered {delivered}, the workers read {read}"));
        }
        if status.totals.socket_drops > 0 {
            faults.push(format!("{} dropped by full sockets", status.totals.socket_drops));
        }
        Ok(faults)
    })
}

fn await_no_fault(look: impl Fn() -> Result<Vec<String>>) -> Result<()> {
    until(look, Vec::is_empty).context("packets went astray").map(drop)
}

impl Running {
    /// Whether an XDP program is on the interface of the first clients.
    pub fn is_xdp_attached(&self) -> Result<bool> {
        self.network().router().has_xdp(&self.wire().router_interface())
    }

    /// Makes sure that no agent runs here, nor is anything left of one: pins, an XDP program, the control socket.
    pub fn expect_nothing_left(&self) -> Result<()> {
        ensure!(!self.home().pins().exists(), "pins are left: {:?}", self.home().pinned());
        ensure!(!self.is_xdp_attached()?, "an XDP program is left on the interface");
        ensure!(!self.home().control().exists(), "the control socket is left");
        Ok(())
    }
}

fn detours(control: &Control) -> Result<Vec<String>> {
    let status = control.status()?;
    let (totals, counters) = (&status.totals, control.counters()?);
    let mut faults = open_sums(&counters);
    for (count, what) in [
        (dropped_by_xdp(&counters), "dropped by XDP"),
        (if has_xdp(&status) { totals.handed_over } else { 0 }, "handed over"),
        (totals.hand_over_dropped, "lost in handing over"),
    ] {
        if count > 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    Ok(faults)
}

pub(super) fn has_xdp(status: &Status) -> bool {
    status.interfaces.iter().any(|interface| interface.program_id.is_some())
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

/// What the flow table showed while clients ran; nothing with the engine `userspace`, which has none.
#[derive(Clone, Debug, Default)]
pub struct SeenFlows {
    /// All addresses that packets came from.
    pub peers: BTreeSet<SocketAddr>,
    /// Connection IDs whose peer changed, in hex.
    pub changed: BTreeSet<String>,
}

impl SeenFlows {
    /// Looks at the flow table again and again until `clients` have ended.
    pub(super) fn watch(control: &Control, clients: &Clients) -> Result<Self> {
        let mut seen = Self::default();
        let has_table = !is_userspace(&control.status()?);
        loop {
            for flow in if has_table { control.flows()?.flows } else { Vec::new() } {
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

/// Makes sure that clients have moved: by the flow table, or, where there is none, by what workers
/// have handed over since.
pub(super) fn clients_moved(control: &Control, seen: &SeenFlows, enough: impl Fn(&SeenFlows) -> bool) -> Result<()> {
    let status = control.status()?;
    let is_enough = if is_userspace(&status) { status.totals.handed_over > 0 } else { enough(seen) };
    ensure!(
        is_enough,
        "clients have not moved: {} peers of {} changed, {seen:?}",
        seen.changed.len(),
        seen.peers.len()
    );
    Ok(())
}

/// Whether the kernel has neither maps nor programs of it.
pub(super) fn is_userspace(status: &Status) -> bool {
    status.interfaces.iter().any(|interface| interface.engine == "userspace")
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
