//! What programs leave each other, and where they build what their stack has no room for.

#![expect(unsafe_code, reason = "map values are reached through the kernel's pointers")]

use core::ptr::NonNull;

use aya_ebpf::{
    btf_maps::{PerCpuArray, ProgramArray},
    macros::btf_map,
    programs::XdpContext,
};
use router_common::{
    admission::Scratch,
    maps::{PROGRAMS_MAX, Program},
    tunnel::Outer,
};

#[btf_map(name = "programs")]
static PROGRAMS: ProgramArray<{ PROGRAMS_MAX as usize }> = ProgramArray::new();
/// From one program to the one that goes on; no part of the contract.
#[btf_map(name = "handover")]
static HANDOVER: PerCpuArray<Handover, 1> = PerCpuArray::new();
/// Of `forward`, for what its stack has no room for; no part of the contract.
#[btf_map(name = "outer")]
static OUTER: PerCpuArray<Outer, 1> = PerCpuArray::new();
/// Of the program that runs, for what its stack has no room for; no part of the contract.
#[btf_map(name = "scratch")]
static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// What one program tells another that goes on.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Handover {
    /// [`Passage::word`](router_common::steer::Passage::word), for `first_flight`.
    pub(crate) passage: u32,
    /// The node, for `forward`.
    pub(crate) node: u32,
    /// Whether the node gets it as a new connection: 1, else 0.
    pub(crate) is_new: u32,
    reserved: u32,
}

/// Where programs of this CPU leave word for each other.
#[inline(always)]
pub(crate) fn handover() -> Option<&'static mut Handover> {
    let handover = NonNull::new(HANDOVER.get_ptr_mut(0)?)?.as_ptr();
    // SAFETY: this CPU's own value, and one program at a time runs there with it.
    Some(unsafe { &mut *handover })
}

/// Memory of this CPU's, to build outer headers in.
#[inline(always)]
pub(crate) fn outer() -> Option<&'static mut Outer> {
    let outer = NonNull::new(OUTER.get_ptr_mut(0)?)?.as_ptr();
    // SAFETY: likewise.
    Some(unsafe { &mut *outer })
}

/// Memory of this CPU's, to build an answer in.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut Scratch> {
    let scratch = NonNull::new(SCRATCH.get_ptr_mut(0)?)?.as_ptr();
    // SAFETY: this CPU's own value, and one program at a time runs there with it: programs that answer are not
    // interrupted by one that does.
    Some(unsafe { &mut *scratch })
}

/// Goes on with another program; comes back only if the map lacks it.
#[inline(always)]
pub(crate) fn go_on_with(ctx: &XdpContext, program: Program) {
    // SAFETY: the context is the one that the kernel gave us.
    unsafe { PROGRAMS.tail_call(ctx, program as u32) };
}
