//! How much there is and was: what all workers counted together, the flow table, memory held for requests.

use crate::{
    agent::api::{self, FlowTable, Totals},
    cli::output::{
        self,
        Align::{Left, Right},
        Table, count,
    },
};

/// Connections and datagrams; what is zero and need not be seen is left out.
pub(super) fn totals(totals: &Totals) -> Table {
    let mut table = Table::new(2, &[Left, Right, Left]);
    let handshakes = output::plural(totals.handshakes_now, "handshake", "handshakes");
    let with_handshakes = format!("connections now, {handshakes} among them");
    for (group, number, what) in [
        ("connections", totals.connections_now, with_handshakes.as_str()),
        ("", totals.accepted, "came up"),
        ("", totals.handshakes_failed, "failed in the handshake"),
        ("", totals.tcp_connections_now, "now over TCP"),
        ("", totals.tcp_accepted, "came over TCP"),
        ("refused", totals.refused_connections, "at max_connections"),
        ("", totals.refused_per_ip, "at max_connections_per_ip"),
        ("", totals.refused_handshakes, "at max_handshakes"),
        ("", totals.retried, "sent a Retry"),
        ("datagrams", totals.datagrams_received, "received"),
        ("", totals.frames_received, "of them by AF_XDP sockets"),
        ("", totals.ring_drops, "dropped by the kernel: an AF_XDP socket had no room"),
        ("", totals.datagrams_own, "of the worker's own connections"),
        ("", totals.handed_over, "handed over to their worker"),
        ("", totals.hand_over_dropped, "lost because its inbox was full"),
        ("", totals.datagrams_dropped, "provably bad"),
        ("", totals.socket_drops, "dropped by the kernel: receive buffer full"),
        ("", totals.datagrams_sent, "sent"),
        ("", totals.frames_sent, "of them by AF_XDP sockets"),
    ] {
        let always = matches!(what, "came up" | "received" | "of the worker's own connections") || !group.is_empty();
        if always || number > 0 {
            table.row([group.to_owned(), count(number), what.to_owned()]);
        }
    }
    table.row(["bytes".to_owned(), output::bytes(totals.bytes_received), "received".to_owned()]);
    table
}

/// How full the flow table is.
pub(super) fn flow_table(flows: &FlowTable) -> Table {
    let mut table = Table::new(2, &[Right, Left]);
    let share = flows.entries as f64 / flows.capacity.max(1) as f64 * 100.0;
    let entries = if flows.entries == 1 { "entry" } else { "entries" };
    table.row([count(flows.entries), format!("{entries} of {} ({share:.1} %)", count(flows.capacity))]);
    table.row([count(flows.swept), "swept after long disuse".to_owned()]);
    if flows.full > 0 {
        table.row([count(flows.full), "not written: the table was full (those flows go by their CID)".to_owned()]);
    }
    table
}

/// Of the budget for requests.
pub(super) fn memory_held(memory: &api::Memory) -> Table {
    let mut table = Table::new(2, &[Right, Left]);
    table.row([output::bytes(memory.held), format!("held for requests, of {}", output::bytes(memory.budget))]);
    if memory.refused > 0 {
        table.row([count(memory.refused), "requests refused for want of it".to_owned()]);
    }
    table
}
