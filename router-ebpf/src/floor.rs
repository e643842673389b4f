//! `floor`: parses Ethernet, IP and UDP, and returns. No decision, no map, no counter.
//!
//! What `steer` cannot be faster than. Only `cargo xtask bench datapath` loads it, to
//! print every figure beside it.

use aya_ebpf::{
    bindings::xdp_action::{XDP_DROP, XDP_PASS},
    programs::XdpContext,
};
use router_common::frame;

use crate::packet::Frame;

/// Passes what parses. (The action depends on the parsing, or the compiler would leave it out.)
#[inline(always)]
pub(crate) fn run(ctx: &XdpContext) -> u32 {
    match frame::parse(&Frame(ctx)) {
        Ok(_) => XDP_PASS,
        Err(_) => XDP_DROP,
    }
}
