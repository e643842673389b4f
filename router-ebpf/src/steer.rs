//! `steer`, the XDP program: to the worker that owns the connection, by its AF_XDP socket or its CPU.
//!
//! It knows what the flow table and the connection ID say. `first_flight` goes on with what they say nothing of, and
//! with that `challenge` in turn (tail calls): each is verified by itself. So does `forward` with what another node owns,
//! and `unwrap` with what another node has sent.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    programs::XdpContext,
};
use router_common::{
    admission::Answer,
    frame::Datagram,
    maps::{Hop, Program, Stage},
    reason::Reason,
    steer::{self, Arrival, Delivery, Forward, Known, Passage, Verdict},
};

use crate::{
    log,
    maps::{self, Maps, StoredFlow},
    packet::{self, Frame},
};

/// Decides about one frame and carries it out, unless another program has to.
#[inline(always)]
pub(crate) fn run(ctx: &XdpContext) -> u32 {
    let (known, datagram) = steer::known(&Frame(ctx), &Maps::for_frame(ctx));
    match (known, datagram) {
        (Known::Verdict(verdict), Some(datagram)) => conclude(ctx, &datagram, Stage::Xdp, &verdict),
        (Known::Verdict(verdict), None) => carry_out(ctx, Stage::Xdp, &verdict),
        (Known::Unplaced(passage), _) => hand_on(ctx, passage),
        (Known::Tunnel, _) => go_on(ctx, Program::Unwrap, Stage::Unwrap),
    }
}

/// The same for a frame whose datagram is out of the tunnel.
#[inline(always)]
pub(crate) fn unwrapped(ctx: &XdpContext, datagram: &Datagram) -> u32 {
    match steer::unwrapped(&Frame(ctx), datagram, &Maps::for_frame(ctx)) {
        Ok(verdict) => conclude(ctx, datagram, Stage::Unwrap, &verdict),
        Err(passage) => hand_on(ctx, passage),
    }
}

/// Accounts a datagram to its flow, and does with it what is decided.
#[inline(always)]
fn conclude(ctx: &XdpContext, datagram: &Datagram, stage: Stage, verdict: &Verdict<StoredFlow>) -> u32 {
    if let Verdict::Deliver(Delivery { flow: Some(flow), .. }) = verdict {
        flow.account(datagram.payload.length, &datagram.source);
    }
    carry_out(ctx, stage, verdict)
}

/// Goes on with what is not known yet.
#[inline(always)]
fn hand_on(ctx: &XdpContext, passage: Passage) -> u32 {
    if let Some(handover) = maps::handover() {
        handover.passage = passage.word();
    }
    go_on(ctx, Program::FirstFlight, stage(passage.arrival))
}

/// Who counts a packet.
#[inline(always)]
fn stage(arrival: Arrival) -> Stage {
    match arrival {
        Arrival::Direct => Stage::Xdp,
        Arrival::Forwarded => Stage::Unwrap,
    }
}

/// Decides about one frame that neither the flow table nor its connection ID places.
#[inline(always)]
pub(crate) fn first_flight(ctx: &XdpContext) -> u32 {
    let passage = Passage::of_word(maps::handover().map_or(0, |handover| handover.passage));
    let stage = stage(passage.arrival);
    match steer::first_flight(&Frame(ctx), passage, &Maps::for_frame(ctx)) {
        Verdict::Answer(Answer::VersionNegotiation) => go_on(ctx, Program::Negotiate, stage),
        Verdict::Answer(Answer::Retry) => go_on(ctx, Program::Challenge, stage),
        verdict => carry_out(ctx, stage, &verdict),
    }
}

/// With another program, which counts the packet, too.
#[inline(always)]
pub(crate) fn go_on(ctx: &XdpContext, program: Program, stage: Stage) -> u32 {
    maps::go_on_with(ctx, program);
    // It is missing: any worker can answer.
    maps::count(stage, Reason::NoSlot);
    XDP_PASS
}

/// Counts a packet, and does with it what is decided.
#[inline(always)]
pub(crate) fn carry_out(ctx: &XdpContext, stage: Stage, verdict: &Verdict<StoredFlow>) -> u32 {
    log::steered(ctx, log::Decided::of(verdict));
    if let Verdict::Forward(Forward { node, reason }) = verdict
        && let Some(handover) = maps::handover()
    {
        handover.node = (*node).into();
        handover.is_new = u32::from(*reason == Reason::ForwardedNew);
        return go_on(ctx, Program::Forward, stage);
    }
    maps::count(stage, verdict.reason());
    match verdict {
        Verdict::Answer(_) | Verdict::Pass(_) | Verdict::Forward(_) => XDP_PASS,
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
