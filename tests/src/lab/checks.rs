//! What has to hold after any traffic, and what the flow table showed during it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use router_userspace::agent::api::{Counters, Status};

use super::{Control, counters::open_sums, peers::Clients};

/// Waits until the sums close, and makes sure that each packet went the direct way: XDP
/// dropped none, and no worker got another's. Without XDP, where the kernel may put packets of
/// several connections in one, that none was lost between workers.
pub(super) fn no_packet_went_astray(control: &Control) -> Result<()> {
    await_no_fault(|| detours(control))
}

/// The same, and every packet that XDP delivered was read by a worker; without XDP, that no socket
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
