//! `select`, the `sk_reuseport` program: to the socket of the worker that owns the connection.
//!
//! The kernel has parsed the datagram and found the listener's group of sockets; what is
//! left is to classify and to route, by the same decision as in XDP.

use aya_ebpf::{
    bindings::sk_action::{SK_DROP, SK_PASS},
    programs::SkReuseportContext,
};
use router_common::{
    identifiers::SlotId,
    maps::{Hop, Stage},
    steer::{self, Delivery, Verdict},
};

use crate::{
    log,
    maps::{self, Maps, StoredFlow},
    packet::Segment,
};

/// Decides about one datagram, or the first of a GRO train, and carries it out.
#[inline(always)]
pub(crate) fn run(ctx: &SkReuseportContext) -> u32 {
    let segment = Segment(ctx);
    let payload = segment.payload();
    let verdict = steer::segment(&segment, payload, || segment.source_address(), &Maps::for_datagram());
    let decided = log::Decided::of(&verdict);
    maps::count(Stage::Select, verdict.reason());
    log::selected(ctx, decided);
    match verdict {
        Verdict::Pass(_) => SK_PASS,
        // The program has no way to answer, or to send on, by; what can is a worker. One that takes new connections: a
        // generation that drains knows neither the other nodes of today nor which connections are for them.
        Verdict::Answer(_) | Verdict::Forward(_) => {
            if let Some(slot) = maps::any_slot(segment.0.hash()) {
                choose(&segment, slot);
            }
            SK_PASS
        }
        Verdict::Drop(_) => SK_DROP,
        Verdict::Deliver(delivery) => {
            // Where there are XDP programs, for what came by an interface without one.
            if let Some(flow) = &delivery.flow
                && (maps::select_accounts() || flow.is_unseen())
                && let Some(source) = segment.source()
            {
                flow.account(payload.length, &source);
            }
            deliver(&segment, &delivery);
            SK_PASS
        }
    }
}

/// To the slot's socket in this group. If there is none, the kernel's own choice among the
/// group stands, and the worker that gets the packet hands it over.
#[inline(always)]
fn deliver(segment: &Segment<'_>, delivery: &Delivery<StoredFlow>) {
    let selected = choose(segment, delivery.number);
    maps::count_hop(delivery.number, if selected { Hop::Selected } else { Hop::Unselected });
}

/// Whether the slot has a socket in this group, which gets the packet then.
#[inline(always)]
fn choose(segment: &Segment<'_>, slot: SlotId) -> bool {
    let listener = segment.bound_to().and_then(|bound| maps::listener(&bound));
    listener.is_some_and(|listener| maps::select(segment.0, listener.socket_index(slot)))
}
