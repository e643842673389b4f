//! `steer`, the XDP program: to the worker that owns the connection, by its AF_XDP socket or its CPU.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    programs::XdpContext,
};
use router_common::{
    admission::Answer,
    maps::{Hop, Program, Stage},
    reason::Reason,
    steer::{self, Delivery, Verdict},
};

use crate::{
    log,
    maps::{self, Maps, StoredFlow},
    packet::{self, Frame},
};

/// Decides about one frame and carries it out.
#[inline(always)]
pub(crate) fn run(ctx: &XdpContext) -> u32 {
    let (verdict, datagram) = steer::frame(&Frame(ctx), &Maps::for_frame(ctx));
    log::steered(ctx, &verdict);
    if let Verdict::Answer(answer) = &verdict {
        return go_on(ctx, *answer);
    }
    maps::count(Stage::Xdp, verdict.reason());
    match verdict {
        Verdict::Answer(_) | Verdict::Pass(_) => XDP_PASS,
        Verdict::Drop(_) => XDP_DROP,
        Verdict::Deliver(delivery) => {
            if let (Some(flow), Some(datagram)) = (&delivery.flow, &datagram) {
                flow.account(datagram.payload.length, &datagram.source);
            }
            deliver(ctx, &delivery)
        }
    }
}

/// With the program that answers. It counts the packet, too.
#[inline(always)]
fn go_on(ctx: &XdpContext, answer: Answer) -> u32 {
    let program = match answer {
        Answer::VersionNegotiation => Program::Negotiate,
    };
    maps::go_on_with(ctx, program);
    // It is missing: any worker can answer.
    maps::count(Stage::Xdp, Reason::NoSlot);
    XDP_PASS
}

/// To the slot's AF_XDP socket, if it is the slot's queue, else to its CPU, where the agent thinks that
/// this pays. A packet that is there already stays: a redirect costs a hop, and the checksum verdict of
/// the NIC. Wherever it is, `select` finds its socket.
#[inline(always)]
fn deliver(ctx: &XdpContext, delivery: &Delivery<StoredFlow>) -> u32 {
    if let Some(action) = delivery.socket.index().and_then(maps::redirect_to_socket) {
        maps::count_hop(delivery.number, Hop::Socket);
        return action;
    }
    if delivery.slot.shares_cpu() {
        packet::keep_apart(ctx, delivery.number);
    }
    let (hop, action) = if maps::is_current_cpu(delivery.slot.cpu()) {
        (Hop::Local, XDP_PASS)
    } else if !delivery.slot.redirects() {
        (Hop::Stayed, XDP_PASS)
    } else {
        match maps::redirect(delivery.slot.cpu()) {
            Some(action) => (Hop::Redirected, action),
            None => (Hop::Unredirected, XDP_PASS),
        }
    };
    maps::count_hop(delivery.number, hop);
    action
}
