//! Where packets go: sockets, CPUs, interfaces.

#![expect(unsafe_code, reason = "map values are reached through the kernel's pointers")]

use aya_ebpf::{
    btf_maps::{CpuMap, DevMapHash, ReusePortSockArray, XskMap},
    helpers::generated::bpf_get_smp_processor_id,
    macros::btf_map,
    programs::SkReuseportContext,
};
use router_common::{
    identifiers::{CpuId, IfIndex},
    maps::{DEVICES_MAX, LISTENERS_MAX, QUEUES_MAX, SLOTS},
};

/// The agent sets its size, to the host's CPUs: the kernel refuses a map for more.
#[btf_map(name = "cpus")]
static CPUS: CpuMap<1> = CpuMap::new();
#[btf_map(name = "xsks")]
static XSKS: XskMap<{ QUEUES_MAX as usize }> = XskMap::new();
#[btf_map(name = "sockets")]
static SOCKETS: ReusePortSockArray<{ (LISTENERS_MAX * SLOTS) as usize }> = ReusePortSockArray::new();
#[btf_map(name = "devices")]
static DEVICES: DevMapHash<{ DEVICES_MAX as usize }> = DevMapHash::new();

/// Whether the program runs on `cpu`.
#[inline(always)]
pub(crate) fn is_current_cpu(cpu: CpuId) -> bool {
    // SAFETY: the helper only reads the CPU's number.
    unsafe { bpf_get_smp_processor_id() == cpu.get() }
}

/// Sends the packet to `cpu`; the action to return, or `None` if the CPU map lacks it.
#[inline(always)]
pub(crate) fn redirect(cpu: CpuId) -> Option<u32> {
    CPUS.redirect(cpu.get(), 0).ok()
}

/// Gives the frame to the AF_XDP socket at `index`; the action to return, or `None` if none is there.
#[inline(always)]
pub(crate) fn redirect_to_socket(index: u32) -> Option<u32> {
    XSKS.redirect(index, 0).ok()
}

/// Whether packets can be sent by an interface.
#[inline(always)]
pub(crate) fn has_device(interface: IfIndex) -> bool {
    DEVICES.get_ifindex(interface.get()).is_some()
}

/// Sends the packet by it; the action to return.
#[inline(always)]
pub(crate) fn redirect_to_device(interface: IfIndex) -> u32 {
    match DEVICES.redirect(interface.get(), 0) {
        Ok(action) | Err(action) => action,
    }
}

/// Gives the packet to the socket at `index` of the map `sockets`; whether it is there.
#[inline(always)]
pub(crate) fn select(ctx: &SkReuseportContext, index: u32) -> bool {
    SOCKETS.select_reuseport(ctx, index).is_ok()
}
