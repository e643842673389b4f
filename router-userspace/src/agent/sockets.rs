//! The sockets of listeners: one for each worker, and how to find them in the kernel's tables later on.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
};

use router_common::identifiers::{ListenerId, SlotId};

use super::{error::AgentError, place::Place, plan::Steps};
use crate::worker::udp;

/// The sockets of one listener, by slot.
pub(super) type SocketsBySlot = BTreeMap<SlotId, UdpSocket>;

/// The sockets that steps need.
pub(super) type OpenedSockets = Vec<ListenerSockets>;

/// The sockets that were opened on one listener.
pub(super) struct ListenerSockets {
    pub(super) listener: ListenerId,
    pub(super) by_slot: SocketsBySlot,
}

/// Opens what `steps` need: a socket for each new worker on every listener, and one for every worker on each new
/// listener. They are bound beside those with the inodes `known`, which are this node's.
///
/// # Errors
/// If one cannot be bound; names the address, and says how to find who has it.
pub(super) fn open(steps: &Steps, known: &[u64]) -> Result<OpenedSockets, AgentError> {
    let all = [&steps.staying[..], &steps.starting].concat();
    let for_new = steps.new.iter().map(|listener| (listener, &all));
    let for_kept = steps.kept.iter().map(|listener| (listener, &steps.starting));
    for_new
        .chain(for_kept)
        .map(|(listener, places)| {
            let by_slot = open_one(listener.listener.address, places, known)?;
            Ok(ListenerSockets { listener: listener.id, by_slot })
        })
        .collect()
}

fn open_one(address: SocketAddr, places: &[Place], known: &[u64]) -> Result<SocketsBySlot, AgentError> {
    let sockets = udp::open(address, places.len(), known)?;
    Ok(places.iter().map(|place| place.slot).zip(sockets).collect())
}

/// What is asked of the kernel about a worker's socket.
#[derive(Clone, Debug)]
pub(super) struct SocketInfo {
    /// The number of its listener.
    pub(super) listener: ListenerId,
    /// The slot of its worker.
    pub(super) slot: SlotId,
    /// By which `/proc/net/udp` names it.
    pub(super) inode: u64,
    /// Octets, as the kernel reports them: twice what was asked for.
    pub(super) receive_buffer: u64,
}

/// How to find a listener's sockets in the kernel's tables later on.
pub(super) fn describe(listener: ListenerId, sockets: &SocketsBySlot) -> Vec<SocketInfo> {
    let describe = |(&slot, socket): (&SlotId, &UdpSocket)| {
        let receive_buffer = udp::receive_buffer(socket) as u64;
        Some(SocketInfo { listener, slot, inode: udp::inode(socket)?, receive_buffer })
    };
    sockets.iter().filter_map(describe).collect()
}
