//! The one `unsafe` between the contract's types and aya's maps.

#![expect(unsafe_code, reason = "aya asks for a promise that a type may be copied as bytes")]

use router_common::maps::{
    Admission, Assigned, AssignedNode, Block, BlockHits, BlockKey, Bucket, CidConfig, CidKeys, Counters, Flow, FlowKey,
    Listener, ListenerKey, Local, LocalKey, Node, NodeCounters, NodePlace, Port, Queue, Secrets, Settings, SketchCell,
    Slot, SlotCounters, SourceCount, SourceKey, SourcePorts, TokenKeys, TunnelKeys,
};

/// A key or value of the contract, as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Plain<T>(pub(super) T);

/// The contract's types: fixed layout, only integers and arrays of them, no padding, every
/// pattern of bits valid.
pub(super) trait Contract: Copy + 'static {}

macro_rules! contract {
    ($($name:ty),+ $(,)?) => { $(impl Contract for $name {})+ };
}

contract!(
    Admission,
    Assigned,
    AssignedNode,
    Block,
    BlockHits,
    BlockKey,
    Bucket,
    CidConfig,
    CidKeys,
    Counters,
    Flow,
    FlowKey,
    Listener,
    ListenerKey,
    Local,
    LocalKey,
    Node,
    NodeCounters,
    NodePlace,
    Port,
    Queue,
    Secrets,
    Settings,
    Slot,
    SketchCell,
    SlotCounters,
    SourceCount,
    SourceKey,
    SourcePorts,
    TokenKeys,
    TunnelKeys
);

// SAFETY: `Contract` is implemented here alone, for types of `router_common::maps`, whose
// fields are integers and arrays of integers and whose sizes, asserted there, leave no padding.
unsafe impl<T: Contract> aya::Pod for Plain<T> {}
