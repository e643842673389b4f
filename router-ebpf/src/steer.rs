//! `steer`, the XDP program: to the worker that owns the connection, by its AF_XDP socket or its CPU.
//!
//! It knows what the flow table and the connection ID say. `first_flight` goes on with what they say nothing of, and
//! with that `challenge` in turn (tail calls): each is verified by itself.

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

/// Decides about one frame and carries it out, unless another program has to.
#[inline(always)]
pub(crate) fn run(ctx: &XdpContext) -> u32 {
    let (verdict, datagram) = steer::known(&Frame(ctx), &Maps::for_frame(ctx));
    let Some(verdict) = verdict else { return go_on(ctx, Program::FirstFlight) };
    if let (Verdict::Deliver(Delivery { flow: Some(flow), .. }), Some(datagram)) = (&verdict, &datagram) {
        flow.account(datagram.payload.length, &datagram.source);
    }
    carry_out(ctx, &verdict)
}

/// Decides about one frame that neither the flow table nor its connection ID places.
#[inline(always)]
pub(crate) fn first_flight(ctx: &XdpContext) -> u32 {
    match steer::first_flight(&Frame(ctx), &Maps::for_frame(ctx)) {
        Verdict::Answer(Answer::VersionNegotiation) => go_on(ctx, Program::Negotiate),
        Verdict::Answer(Answer::Retry) => go_on(ctx, Program::Challenge),
        verdict => carry_out(ctx, &verdict),
    }
}

/// With another program, which counts the packet, too.
#[inline(always)]
fn go_on(ctx: &XdpContext, program: Program) -> u32 {
    maps::go_on_with(ctx, program);
    // It is missing: any worker can answer.
    maps::count(Stage::Xdp, Reason::NoSlot);
    XDP_PASS
}

/// Counts a packet, and does with it what is decided.
#[inline(always)]
pub(crate) fn carry_out(ctx: &XdpContext, verdict: &Verdict<StoredFlow>) -> u32 {
    maps::count(Stage::Xdp, verdict.reason());
    log::steered(ctx, verdict);
    match verdict {
        Verdict::Answer(_) | Verdict::Pass(_) => XDP_PASS,
        Verdict::Drop(_) => XDP_DROP,
        Verdict::Deliver(delivery) => deliver(ctx, delivery),
    }
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
