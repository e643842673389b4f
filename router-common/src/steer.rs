//! Route: which slot a packet belongs to. The one decision of this project.
//!
//! In this order: the flow table, by destination connection ID; the connection ID itself,
//! decoded; the assignment, by a keyed hash of the connection ID. Never by 4-tuple: many
//! connections share one, and one connection changes it.

use crate::{
    bytes::Bytes,
    connection_id::{ConnectionId, Keys},
    frame::{self, Datagram, Endpoint, Payload},
    hash,
    maps::{CidConfig, Settings, Slot},
    quic::{self, Header},
    reason::Reason,
};

/// The decision's view of the maps. Each method is one look-up; none changes anything.
pub trait Tables {
    /// An entry of the flow table, for whoever accounts the packet there.
    type Flow;

    /// How the keys of a configuration are kept.
    type Keys: Keys;

    /// `settings`; `None` only before the agent has written them.
    fn settings(&self) -> Option<Settings>;

    /// Whether a listener has this destination, by exact address or by wildcard.
    fn listens(&self, destination: &Endpoint) -> bool;

    /// The flow of a connection ID, and its slot.
    fn flow(&self, cid: &ConnectionId) -> Option<(Self::Flow, u8)>;

    /// The configuration of a rotation, 0 to 6; `None` for any other.
    fn cid_config(&self, rotation: u8) -> Option<&CidConfig>;

    /// Its keys.
    fn cid_keys(&self, rotation: u8) -> Option<&Self::Keys>;

    /// What is in a slot.
    fn slot(&self, slot: u8) -> Option<Slot>;

    /// The slot for new connections whose connection ID has this hash.
    fn assigned(&self, hash: u64) -> Option<u8>;

    /// The seed of that hash.
    fn hash_seed(&self) -> Option<[u64; 2]>;
}

/// What to do with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<F> {
    /// Leave it to the kernel.
    Pass(Reason),
    /// Throw it away.
    Drop(Reason),
    /// Give it to a slot.
    Deliver(Delivery<F>),
}

impl<F> Verdict<F> {
    /// Its reason.
    #[inline(always)]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Pass(reason) | Self::Drop(reason) => *reason,
            Self::Deliver(delivery) => delivery.reason,
        }
    }
}

/// A packet's way to its worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery<F> {
    /// The number of the slot.
    pub number: u8,
    /// What is in the slot: active or draining.
    pub slot: Slot,
    /// Its entry in the flow table, if that is what decided.
    pub flow: Option<F>,
    /// Why this slot.
    pub reason: Reason,
}

/// Decides about an Ethernet frame. With the verdict comes the datagram, if there is one,
/// for accounting.
#[inline(always)]
pub fn frame<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> (Verdict<T::Flow>, Option<Datagram>) {
    let datagram = match frame::parse(frame) {
        Ok(datagram) => datagram,
        Err(reason) => return (Verdict::Pass(reason), None),
    };
    if !tables.listens(&datagram.destination) {
        return (Verdict::Pass(Reason::NotListener), None);
    }
    (payload(frame, datagram.payload, tables), Some(datagram))
}

/// Decides about a UDP payload that is known to be for a listener.
#[inline(always)]
pub fn payload<B: Bytes + ?Sized, T: Tables>(packet: &B, payload: Payload, tables: &T) -> Verdict<T::Flow> {
    let Some(settings) = tables.settings() else {
        return Verdict::Pass(Reason::NoSlot);
    };
    match quic::classify(packet, payload, settings.cid_length()) {
        Ok(header) => route(&header, tables),
        Err(reason) => Verdict::Drop(reason),
    }
}

/// Finds the slot of a classified packet.
#[inline(always)]
pub fn route<T: Tables>(header: &Header, tables: &T) -> Verdict<T::Flow> {
    let cid = &header.destination;
    if let Some((flow, number)) = tables.flow(cid)
        && let Some(slot) = taken(number, tables)
    {
        return Verdict::Deliver(Delivery { number, slot, flow: Some(flow), reason: Reason::Flow });
    }
    if let Some(number) = decoded(cid, tables)
        && let Some(slot) = taken(number, tables)
    {
        return Verdict::Deliver(Delivery { number, slot, flow: None, reason: Reason::Cid });
    }
    let reason = if header.kind.may_be_first_flight() { Reason::Assigned } else { Reason::Unknown };
    if let Some(seed) = tables.hash_seed()
        && let Some(number) = tables.assigned(hash::of(cid, seed))
        && let Some(slot) = taken(number, tables)
    {
        return Verdict::Deliver(Delivery { number, slot, flow: None, reason });
    }
    Verdict::Pass(Reason::NoSlot)
}

/// The slot on this node that `cid` names, whether or not a worker is there.
#[inline(always)]
pub fn decoded<T: Tables>(cid: &ConnectionId, tables: &T) -> Option<u8> {
    let rotation = cid.rotation();
    tables.cid_config(rotation)?.slot(cid, tables.cid_keys(rotation)?)
}

/// What is in slot `number`, unless it is free.
#[inline(always)]
fn taken<T: Tables>(number: u8, tables: &T) -> Option<Slot> {
    tables.slot(number).filter(Slot::is_taken)
}
