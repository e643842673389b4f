//! `negotiate`: answers a packet of an unknown version with Version Negotiation, by the way it came.
//!
//! `steer` has judged the packet, and goes on here (a tail call): an answer of its own size would cost the
//! verifier a look at each way through the decision.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
    programs::XdpContext,
};
use router_common::{admission::AnswerFrame, maps::Stage, reason::Reason};

use crate::{
    maps,
    packet::{self, Frame},
};

/// Answers one frame.
#[inline(always)]
pub(crate) fn run(ctx: &XdpContext) -> u32 {
    let scratch = maps::scratch();
    let answer = scratch
        .and_then(|scratch| Some((AnswerFrame::negotiate(&Frame(ctx), packet::random() as u8, scratch)?, scratch)));
    let Some((answer, scratch)) = answer.filter(|(answer, _)| packet::resize(ctx, answer.length())) else {
        // Any worker can answer.
        maps::count(Stage::Xdp, Reason::NoSlot);
        return XDP_PASS;
    };
    maps::count(Stage::Xdp, Reason::Negotiated);
    // What was cut to its length has that length; and by now nothing is left to pass on.
    let is_written = packet::write(ctx, 0, &scratch.headers().0, answer.headers_length())
        && packet::write(ctx, answer.headers_length(), &scratch.answer().0, answer.payload_length());
    if is_written { XDP_TX } else { XDP_DROP }
}
