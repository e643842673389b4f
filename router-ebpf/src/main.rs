//! The hand in the kernel.
//!
//! Two programs, `steer` (XDP) and `select` (`sk_reuseport`). Each reads bytes, asks
//! [`router_common::steer`], obeys its verdict, and counts. No policy lives here, and no
//! `unsafe` outside `packet` and `maps`. `steer` goes on with `first_flight` where the connection ID says
//! nothing, and that with `negotiate` or `challenge` where a packet is answered; with `forward` where another node of the
//! cluster owns the connection, and with `unwrap` where another node has sent a packet. `floor` is there
//! to measure them by.

#![no_std]
#![no_main]
// One instruction, to load an unaligned word of a packet: see `packet::load`.
#![feature(asm_experimental_arch)]

mod answer;
mod floor;
mod log;
mod maps;
mod packet;
mod select;
mod steer;
mod tunnel;

use aya_ebpf::{
    macros::{sk_reuseport, xdp},
    programs::{SkReuseportContext, XdpContext},
};

/// On each interface: brings a packet to the CPU of the worker that owns its connection.
#[xdp(frags)]
fn steer(ctx: XdpContext) -> u32 {
    steer::run(&ctx)
}

/// Where `steer` goes on with what another node owns.
#[xdp(frags)]
fn forward(ctx: XdpContext) -> u32 {
    tunnel::forward(&ctx)
}

/// Where `steer` goes on with what another node has sent on: takes it out of the tunnel, and decides as `steer` does.
#[xdp(frags)]
fn unwrap(ctx: XdpContext) -> u32 {
    tunnel::unwrap(&ctx)
}

/// Where `steer` and `unwrap` go on with what neither the flow table nor its connection ID places.
#[xdp(frags)]
fn first_flight(ctx: XdpContext) -> u32 {
    steer::first_flight(&ctx)
}

/// Where `first_flight` goes on: answers a packet of an unknown version.
#[xdp(frags)]
fn negotiate(ctx: XdpContext) -> u32 {
    answer::negotiate(&ctx)
}

/// Where `first_flight` goes on: asks the client of an Initial to show that it receives at its address.
#[xdp(frags)]
fn challenge(ctx: XdpContext) -> u32 {
    answer::challenge(&ctx)
}

/// For benchmarks: the least an XDP program has to do with a UDP packet.
#[xdp(frags)]
fn floor(ctx: XdpContext) -> u32 {
    floor::run(&ctx)
}

/// On each listener's sockets: gives a packet to the socket of the worker that owns its connection.
#[sk_reuseport]
fn select(ctx: SkReuseportContext) -> u32 {
    select::run(&ctx)
}

/// Never reached: the verifier admits no program that could panic. The compiler wants one.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[expect(unsafe_code, reason = "the kernel reads the licence from this section")]
// SAFETY: a static of plain bytes; the section's name and the symbol collide with nothing.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
