//! What is counted, and by what.

#![expect(unsafe_code, reason = "map values are reached through the kernel's pointers")]

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{PerCpuArray, PerCpuHashMap},
    macros::btf_map,
};
use router_common::{
    identifiers::SlotId,
    maps::{
        BLOCK_TOTALS, BLOCKS_CAPACITY, Block, BlockHits, Counters, Hop, NODES_MAX, NodeCounters, SLOTS, SlotCounters,
        Stage,
    },
    reason::Reason,
};

use super::nodes;

#[btf_map(name = "counters")]
static COUNTERS: PerCpuArray<Counters, { Stage::ALL.len() }> = PerCpuArray::new();
#[btf_map(name = "slot_counters")]
static SLOT_COUNTERS: PerCpuArray<SlotCounters, { SLOTS as usize }> = PerCpuArray::new();
#[btf_map(name = "node_counters")]
static NODE_COUNTER: PerCpuArray<NodeCounters, { NODES_MAX as usize }> = PerCpuArray::new();
/// The agent adds and removes the entries, each beside that of `blocks` which has the id.
#[btf_map(name = "block_hits")]
static BLOCK_HITS: PerCpuHashMap<u32, BlockHits, { BLOCKS_CAPACITY as usize }, { BPF_F_NO_PREALLOC as usize }> =
    PerCpuHashMap::new();
#[btf_map(name = "block_totals")]
static BLOCK_TOTAL: PerCpuArray<BlockHits, { BLOCK_TOTALS as usize }> = PerCpuArray::new();

/// Counts a packet that entered `stage`, and its fate.
#[inline(always)]
pub(crate) fn count(stage: Stage, reason: Reason) {
    if let Some(counters) = COUNTERS.get_ptr_mut(stage as u32) {
        // SAFETY: this CPU's own value; nothing else on this CPU holds a reference to it.
        let counters = unsafe { &mut *counters };
        counters.receive();
        counters.count(reason);
    }
}

/// Counts how a packet went to `slot`.
#[inline(always)]
pub(crate) fn count_hop(slot: SlotId, hop: Hop) {
    if let Some(counters) = SLOT_COUNTERS.get_ptr_mut(slot.into()) {
        // SAFETY: this CPU's own value; nothing else on this CPU holds a reference to it.
        unsafe { &mut *counters }.count(hop);
    }
}

/// Counts something between this node and another one.
#[inline(always)]
pub(crate) fn count_node(number: u32, count: impl FnOnce(&mut NodeCounters)) {
    if let Some(counters) = nodes::place(number).and_then(|place| NODE_COUNTER.get_ptr_mut(place)) {
        // SAFETY: this CPU's own value; nothing else on this CPU holds a reference to it.
        count(unsafe { &mut *counters });
    }
}

/// Counts a packet for which an entry of the block list decided.
#[inline(always)]
pub(super) fn count_listed(block: &Block) {
    if let Some(hits) = BLOCK_HITS.get_ptr_mut(block.id()) {
        // SAFETY: this CPU's own value; nothing else on this CPU holds a reference to it.
        unsafe { &mut *hits }.count();
    }
    // By the number as it is: told apart into actions, each would be a way of its own to the verifier.
    if let Some(hits) = BLOCK_TOTAL.get_ptr_mut(block.action_number()) {
        // SAFETY: likewise.
        unsafe { &mut *hits }.count();
    }
}
