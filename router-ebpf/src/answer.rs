//! `negotiate` and `challenge`: answer a packet, with Version Negotiation or a Retry, by the way it came.
//!
//! `first_flight` has judged the packet, and goes on here (a tail call): to build an answer there would cost the verifier a
//! look at each way through the decision.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    programs::XdpContext,
};
use router_common::{
    admission::{AnswerFrame, Issue, Scratch},
    maps::Stage,
    reason::Reason,
    steer::{self, Verdict},
};

use crate::{
    maps::{self, Maps},
    packet::{self, Frame},
    steer::carry_out,
};

/// Answers a frame with Version Negotiation.
#[inline(always)]
pub(crate) fn negotiate(ctx: &XdpContext) -> u32 {
    let random = packet::random() as u8;
    send(ctx, Reason::Negotiated, |scratch| AnswerFrame::negotiate(&Frame(ctx), random, scratch))
}

/// Answers a frame with a Retry, unless it shows already that its client receives at its address, or cannot be
/// answered.
#[inline(always)]
pub(crate) fn challenge(ctx: &XdpContext) -> u32 {
    let random = u64::from(packet::random()) << 32 | u64::from(packet::random());
    let verdict = steer::challenged(&Frame(ctx), &Maps::for_frame(ctx));
    if matches!(verdict, Verdict::Answer(_)) {
        return send(ctx, Reason::Retried, |scratch| {
            let key = maps::token_keys()?.issuing()?;
            AnswerFrame::retry(&Frame(ctx), &Issue { key, now: maps::unix_seconds(), random }, scratch)
        });
    }
    carry_out(ctx, Stage::Xdp, &verdict)
}

/// Sends what `build` makes in place of the frame.
#[inline(always)]
fn send(ctx: &XdpContext, reason: Reason, build: impl FnOnce(&mut Scratch) -> Option<AnswerFrame>) -> u32 {
    let built = maps::scratch().and_then(|scratch| Some((build(scratch)?, scratch)));
    let Some((answer, scratch)) = built.filter(|(answer, _)| packet::resize(ctx, answer.length())) else {
        // Any worker can answer.
        maps::count(Stage::Xdp, Reason::NoSlot);
        return XDP_PASS;
    };
    maps::count(Stage::Xdp, reason);
    // What was cut to its length has that length; and by now nothing is left to pass on.
    let is_written = packet::write(ctx, 0, &scratch.headers().0, answer.headers_length())
        && packet::write(ctx, answer.headers_length(), &scratch.answer().0, answer.payload_length());
    if is_written { XDP_TX } else { XDP_DROP }
}
