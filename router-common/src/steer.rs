//! Route: which slot a packet belongs to. The one decision of this project.
//!
//! In this order: the flow table, by destination connection ID; the connection ID itself,
//! decoded; what is not admitted ends here, and what needs no worker is answered; the assignment, by a keyed hash of the connection
//! ID. Never by 4-tuple: many connections share one, and one connection changes it. Where a worker has the receive queue
//! that a frame came in on (AF_XDP), a new connection may be placed by that instead.

use crate::{
    admission::{self, Answer, Challenge, Destination, InPlace, Late, Limited, Listed, Outcome, Source, TokenKeys},
    bytes::Bytes,
    connection_id::{ConnectionId, Keys},
    frame::{self, Address, Datagram, Endpoint, Payload},
    hash,
    identifiers::{ConfigRotation, SlotId},
    maps::{CidConfig, Queue, SOCKET_FRAME_MAX, Settings, Slot, SlotState, SocketPlace},
    quic::{self, Header, Kind},
    reason::Reason,
};

/// The decision's view of the maps. Each method is one look-up; one of them changes something.
pub trait Tables {
    /// An entry of the flow table, in which the caller accounts the packet.
    type Flow;

    /// How the keys of a configuration are kept.
    type Keys: Keys;

    /// `settings`; `None` only before the agent has written them.
    fn settings(&self) -> Option<Settings>;

    /// Whether a listener has this destination, by exact address or by wildcard.
    fn listens(&self, destination: &Endpoint) -> bool;

    /// The flow of a connection ID, and its slot.
    fn flow(&self, cid: &ConnectionId) -> Option<(Self::Flow, SlotId)>;

    /// The configuration of a rotation, 0 to 6; `None` for any other.
    fn cid_config(&self, rotation: ConfigRotation) -> Option<&CidConfig>;

    /// Its keys.
    fn cid_keys(&self, rotation: ConfigRotation) -> Option<&Self::Keys>;

    /// What is in a slot.
    fn slot(&self, slot: SlotId) -> Option<Slot>;

    /// The slot for new connections whose connection ID has this hash.
    fn assigned(&self, hash: u64) -> Option<SlotId>;

    /// The seed of that hash.
    fn hash_seed(&self) -> Option<[u64; 2]>;

    /// The receive queue that the frame came in on, if a worker has it.
    fn queue(&self) -> Option<&Queue>;

    /// Whether an address is this host's own.
    fn is_local(&self, address: &Address) -> bool;

    /// Whether an address is the broadcast address of a subnet that this host is in.
    fn is_broadcast(&self, address: &Address) -> bool;

    /// What the block list says of a source: asked only where the list has entries. The packet is counted there; a view
    /// that is there to explain only looks.
    fn listed(&self, source: &Address) -> Listed;

    /// Whether first flights from a port are refused.
    fn refuses_port(&self, port: u16) -> bool;

    /// Whether one more packet of a kind is let through. The place is then taken; a view that is there to
    /// explain only looks.
    fn admits(&self, kind: Limited) -> bool;

    /// Whether one more first flight from a source is let through whose client was not asked for its address. Its place
    /// is then taken among those of the prefix; a view that is there to explain only looks.
    fn admits_from(&self, source: &Address) -> bool;

    /// The same of a client that was asked, and has shown that it receives there.
    fn admits_validated(&self, source: &Address) -> bool;

    /// Whether packets are answered where they are looked at.
    fn answers(&self) -> bool;

    /// Whether clients are asked there to show that they receive at their address.
    fn challenge(&self) -> Challenge;

    /// What vouches for the tokens that they are given for that.
    fn token_keys(&self) -> Option<&TokenKeys>;

    /// The seconds from 1970 on.
    fn unix_seconds(&self) -> u64;
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
    /// Send this back, and give the packet to no one.
    Answer(Answer),
}

impl<F> Verdict<F> {
    /// Its reason.
    #[inline(always)]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Pass(reason) | Self::Drop(reason) => *reason,
            Self::Deliver(delivery) => delivery.reason,
            Self::Answer(answer) => answer.reason(),
        }
    }
}

/// A packet's way to its worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delivery<F> {
    /// The number of the slot.
    pub number: SlotId,
    /// What is in the slot: active or draining.
    pub slot: Slot,
    /// Its entry in the flow table, if that is what decided.
    pub flow: Option<F>,
    /// Why this slot.
    pub reason: Reason,
    /// Where its AF_XDP socket is, if the frame may go there.
    pub socket: SocketPlace,
}

/// Decides about an Ethernet frame. With the verdict comes the datagram, if there is one,
/// for accounting.
#[inline(always)]
pub fn frame<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> (Verdict<T::Flow>, Option<Datagram>) {
    let datagram = match listened(frame, tables) {
        Ok(datagram) => datagram,
        Err(verdict) => return (verdict, None),
    };
    let verdict = placed(frame, &datagram, tables)
        .unwrap_or_else(|| unplaced(frame, &datagram, |kind| InPlace::of(frame, &datagram, kind, tables), tables));
    (verdict, Some(datagram))
}

/// The first part of [`frame`], for a kernel program of its own: what of the verdict the flow table and the connection
/// ID say. `None` where they say nothing: [`first_flight`] has the rest. The verifier looks at what comes last once for
/// each way that leads there, and would not come to an end if it were all in one.
#[inline(always)]
pub fn known<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> (Option<Verdict<T::Flow>>, Option<Datagram>) {
    match listened(frame, tables) {
        Ok(datagram) => (placed(frame, &datagram, tables), Some(datagram)),
        Err(verdict) => (Some(verdict), None),
    }
}

/// The second part, for a frame of which [`known`] knows nothing. Each Initial whose client is to show that it receives
/// at its address is to be answered, whatever it has to show: [`challenged`] looks at that.
#[inline(always)]
pub fn first_flight<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> Verdict<T::Flow> {
    match frame::parse(frame) {
        Ok(datagram) => unplaced(frame, &datagram, |kind| InPlace::at_first_sight(frame, &datagram, kind), tables),
        Err(reason) => Verdict::Pass(reason),
    }
}

/// The third part, for an Initial that [`first_flight`] would answer with a Retry.
#[inline(always)]
pub fn challenged<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> Verdict<T::Flow> {
    let datagram = match frame::parse(frame) {
        Ok(datagram) => datagram,
        Err(reason) => return Verdict::Pass(reason),
    };
    finish(frame, &datagram, tables, |header| {
        let in_place = InPlace::of(frame, &datagram, header.kind, tables);
        admission::challenged(in_place, || Some(datagram.source.address), tables)
    })
}

/// The datagram in a frame, if it is for a listener of this host, and can be answered; else the verdict.
#[inline(always)]
fn listened<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> Result<Datagram, Verdict<T::Flow>> {
    let datagram = frame::parse(frame).map_err(Verdict::Pass)?;
    if !tables.listens(&datagram.destination) {
        return Err(Verdict::Pass(Reason::NotListener));
    }
    // A listener on every address is for every address of this host: what only passes through is not its.
    match admission::destination(&datagram.destination.address, tables) {
        Destination::Own => {}
        Destination::Many => return Err(Verdict::Drop(Reason::Broadcast)),
        Destination::Other => return Err(Verdict::Pass(Reason::NotListener)),
    }
    if !datagram.source.can_be_answered() {
        return Err(Verdict::Drop(Reason::Unanswerable));
    }
    Ok(datagram)
}

/// The verdict about a datagram whose connection ID says where it belongs, or which is no sound QUIC.
#[inline(always)]
fn placed<B: Bytes + ?Sized, T: Tables>(frame: &B, datagram: &Datagram, tables: &T) -> Option<Verdict<T::Flow>> {
    // Looked at here, where the headers' lengths are known: behind the decision the verifier would have
    // to tell apart every way that led there.
    let queue = tables.queue().filter(|queue| suits_a_socket(frame, datagram, queue, tables));
    let Some(settings) = tables.settings() else { return Some(Verdict::Pass(Reason::NoSlot)) };
    let verdict = match quic::classify(frame, datagram.payload, settings.cid_length()) {
        Ok(header) => by_connection_id(&header.destination, tables)?,
        Err(reason) => Verdict::Drop(reason),
    };
    Some(or_by_queue(verdict, queue, tables))
}

/// The verdict about one that does not say so; what a packet of a kind is `in_place`, if it can be answered there.
#[inline(always)]
fn unplaced<B: Bytes + ?Sized, T: Tables>(
    frame: &B,
    datagram: &Datagram,
    in_place: impl FnOnce(Kind) -> InPlace,
    tables: &T,
) -> Verdict<T::Flow> {
    finish(frame, datagram, tables, |header| {
        admission::judge(header.kind, &datagram.source, || in_place(header.kind), tables)
    })
}

/// Carries out what `judge` says of a datagram whose connection ID places it nowhere.
#[inline(always)]
fn finish<B: Bytes + ?Sized, T: Tables>(
    frame: &B,
    datagram: &Datagram,
    tables: &T,
    judge: impl FnOnce(&Header) -> Outcome,
) -> Verdict<T::Flow> {
    let queue = tables.queue().filter(|queue| suits_a_socket(frame, datagram, queue, tables));
    let Some(settings) = tables.settings() else { return Verdict::Pass(Reason::NoSlot) };
    match quic::classify(frame, datagram.payload, settings.cid_length()) {
        Ok(header) => match judge(&header) {
            Outcome::Deliver => or_by_queue(assigned(&header, tables), queue, tables),
            Outcome::Drop(reason) => Verdict::Drop(reason),
            Outcome::Answer(answer) => Verdict::Answer(answer),
        },
        Err(reason) => Verdict::Drop(reason),
    }
}

/// Decides about a UDP segment, from its UDP header on, that is known to be for a listener. The kernel's
/// stack has judged the source's address by then, not its port; `address` reads it where it is asked for.
#[inline(always)]
pub fn segment<B: Bytes + ?Sized, T: Tables>(
    segment: &B,
    payload: Payload,
    address: impl Fn() -> Option<Address>,
    tables: &T,
) -> Verdict<T::Flow> {
    let port = match segment.read::<2>(0).map(|port| u16::from_be_bytes(port.0)) {
        None => return Verdict::Drop(Reason::Truncated),
        Some(0) => return Verdict::Drop(Reason::Unanswerable),
        Some(port) => port,
    };
    let Some(settings) = tables.settings() else {
        return Verdict::Pass(Reason::NoSlot);
    };
    match quic::classify(segment, payload, settings.cid_length()) {
        Ok(header) => route(&header, &Late { port, read: address }, InPlace::Nothing, tables),
        Err(reason) => Verdict::Drop(reason),
    }
}

/// Finds the slot of a classified packet from `source`, unless it is turned away, or answered for what it is
/// `in_place`.
#[inline(always)]
pub fn route<S: Source, T: Tables>(header: &Header, source: &S, in_place: InPlace, tables: &T) -> Verdict<T::Flow> {
    by_connection_id(&header.destination, tables).unwrap_or_else(|| {
        match admission::judge(header.kind, source, || in_place, tables) {
            Outcome::Deliver => assigned(header, tables),
            Outcome::Drop(reason) => Verdict::Drop(reason),
            Outcome::Answer(answer) => Verdict::Answer(answer),
        }
    })
}

/// The slot that the flow table has for a connection ID, or that it names itself.
#[inline(always)]
fn by_connection_id<T: Tables>(cid: &ConnectionId, tables: &T) -> Option<Verdict<T::Flow>> {
    if let Some((flow, number)) = tables.flow(cid)
        && let Some(slot) = taken(number, tables)
    {
        return Some(Verdict::Deliver(Delivery {
            number,
            slot,
            flow: Some(flow),
            reason: Reason::Flow,
            socket: SocketPlace::NONE,
        }));
    }
    let number = decoded(cid, tables)?;
    let slot = taken(number, tables)?;
    Some(Verdict::Deliver(Delivery { number, slot, flow: None, reason: Reason::Cid, socket: SocketPlace::NONE }))
}

/// The slot that the assignment has for a packet which nothing else places.
#[inline(always)]
fn assigned<T: Tables>(header: &Header, tables: &T) -> Verdict<T::Flow> {
    let reason = if header.kind.may_be_first_flight() { Reason::Assigned } else { Reason::Unknown };
    if let Some(seed) = tables.hash_seed()
        && let Some(number) = tables.assigned(hash::of(&header.destination, seed))
        && let Some(slot) = taken(number, tables)
    {
        return Verdict::Deliver(Delivery { number, slot, flow: None, reason, socket: SocketPlace::NONE });
    }
    Verdict::Pass(Reason::NoSlot)
}

/// The same, by way of `queue`, if it is delivered and there is one.
#[inline(always)]
fn or_by_queue<T: Tables>(verdict: Verdict<T::Flow>, queue: Option<&Queue>, tables: &T) -> Verdict<T::Flow> {
    match (verdict, queue) {
        (Verdict::Deliver(delivery), Some(queue)) => Verdict::Deliver(by_queue(delivery, queue, tables)),
        (verdict, _) => verdict,
    }
}

/// The short way, where there is one: the AF_XDP socket of the worker that has the receive queue.
///
/// A new connection is that worker's if its queue places: then its packets keep coming there. This
/// overrules the assignment, which has had its say.
#[inline(always)]
fn by_queue<T: Tables>(delivery: Delivery<T::Flow>, queue: &Queue, tables: &T) -> Delivery<T::Flow> {
    let (socket, owner) = (queue.socket(), queue.owner());
    if delivery.number == owner {
        return Delivery { socket, ..delivery };
    }
    if delivery.reason == Reason::Assigned
        && queue.places()
        && let Some(slot) = tables.slot(owner)
        && slot.state() == SlotState::Active
    {
        return Delivery { number: owner, slot, flow: None, reason: Reason::Queue, socket };
    }
    delivery
}

/// Whether the kernel's stack would do no more with a frame than look at its checksums and deliver it
/// here. Anything else (a VLAN tag, options, another host's address or link address) is the stack's.
#[inline(always)]
fn suits_a_socket<B: Bytes + ?Sized, T: Tables>(frame: &B, datagram: &Datagram, queue: &Queue, tables: &T) -> bool {
    datagram.is_plain()
        && frame.read::<6>(0).is_some_and(|to| queue.is_at(to.0))
        && !frame.holds(SOCKET_FRAME_MAX + 1)
        && datagram.source.address.is_ordinary()
        && datagram.destination.address.is_ordinary()
        // The stack drops what claims to come from this host.
        && !tables.is_local(&datagram.source.address)
}

/// The slot on this node that `cid` names, whether or not a worker is there.
#[inline(always)]
pub fn decoded<T: Tables>(cid: &ConnectionId, tables: &T) -> Option<SlotId> {
    let rotation = cid.rotation();
    tables.cid_config(rotation)?.slot(cid, tables.cid_keys(rotation)?)
}

/// What is in slot `number`, unless it is free.
#[inline(always)]
fn taken<T: Tables>(number: SlotId, tables: &T) -> Option<Slot> {
    tables.slot(number).filter(Slot::is_taken)
}
