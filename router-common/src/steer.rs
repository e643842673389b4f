//! Route: which slot a packet belongs to. The one decision of this project.
//!
//! In this order: the flow table, by destination connection ID; the connection ID itself,
//! decoded; what is not admitted ends here, and what needs no worker is answered; the assignment, by a keyed hash of the connection
//! ID. Never by 4-tuple: many connections share one, and one connection changes it. Where a worker has the receive queue
//! that a frame came in on (AF_XDP), a new connection may be placed by that instead.
//!
//! In a cluster the connection ID may name another node. The packet is sent on to it then; what another node has sent
//! on is decided about in the same way, but never sent on again. A first flight depends on no other node: what its
//! client-chosen connection ID names, it names by chance.

mod tables;
mod verdict;

pub use self::{
    tables::Tables,
    verdict::{Arrival, Delivery, Forward, Known, Named, Passage, Verdict},
};
use crate::{
    admission::{self, Destination, InPlace, Late, Outcome, Source},
    bytes::Bytes,
    connection_id::{ConnectionId, Owner},
    frame::{self, Address, Datagram, Payload},
    hash,
    identifiers::{NodeId, SlotId},
    maps::{Node, NodeState, Queue, SOCKET_FRAME_MAX, Slot, SlotState, SocketPlace, Stage},
    quic::{self, Header, Kind},
    reason::Reason,
    tunnel::{InnerFrame, InnerPacket, Refused},
};

/// Decides about an Ethernet frame, in whose way a tunnel may end. With the verdict comes the datagram, if there is one,
/// for accounting: that of the packet within the tunnel.
#[inline(always)]
pub fn frame<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> (Verdict<T::Flow>, Option<Datagram>) {
    let (known, datagram) = known(frame, tables);
    match (known, &datagram) {
        (Known::Verdict(verdict), _) => (verdict, datagram),
        (Known::Unplaced(passage), Some(there)) => (last(frame, there, passage, tables), datagram),
        (Known::Unplaced(_), None) => (Verdict::Pass(Reason::Malformed), None),
        (Known::Tunnel, _) => match InnerFrame::of(frame, tables) {
            Ok((inner, packet)) => out_of_tunnel(&inner, &packet, tables),
            Err(refused) => (not_taken(refused), None),
        },
    }
}

/// The stage that counts a frame.
pub fn stage<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> Stage {
    match known(frame, tables).0 {
        Known::Verdict(_) | Known::Unplaced(_) => Stage::Xdp,
        Known::Tunnel => Stage::Unwrap,
    }
}

/// All that is decided about a packet that is out of the tunnel.
#[inline(always)]
fn out_of_tunnel<B: Bytes + ?Sized, T: Tables>(
    frame: &B,
    packet: &InnerPacket,
    tables: &T,
) -> (Verdict<T::Flow>, Option<Datagram>) {
    let datagram = packet.datagram();
    let verdict = match unwrapped(frame, &datagram, tables) {
        Ok(verdict) => verdict,
        Err(passage) => last(frame, &datagram, passage, tables),
    };
    (verdict, Some(datagram))
}

/// What is decided about a datagram of which no more than `passage` is known.
#[inline(always)]
fn last<B: Bytes + ?Sized, T: Tables>(
    frame: &B,
    datagram: &Datagram,
    passage: Passage,
    tables: &T,
) -> Verdict<T::Flow> {
    let in_place = |kind| InPlace::of(frame, datagram, kind, tables);
    unplaced(frame, datagram, Unplaced { passage, in_place }, tables)
}

/// What becomes of a packet to the tunnel's end that is not taken out of it.
#[inline(always)]
pub fn not_taken<F>(refused: Refused) -> Verdict<F> {
    match refused {
        Refused::Control => Verdict::Pass(refused.reason()),
        Refused::Forged { .. } => Verdict::Drop(refused.reason()),
    }
}

/// The first part of [`frame`], for a kernel program of its own: what of the verdict the flow table and the connection
/// ID say. The verifier looks at what comes last once for each way that leads there, and would not come to an end if it
/// were all in one.
#[inline(always)]
pub fn known<B: Bytes + ?Sized, T: Tables>(frame: &B, tables: &T) -> (Known<T::Flow>, Option<Datagram>) {
    let datagram = match frame::parse(frame) {
        Ok(datagram) => datagram,
        Err(reason) => return (Known::Verdict(Verdict::Pass(reason)), None),
    };
    match listened(&datagram, Arrival::Direct, tables) {
        Ok(()) => {}
        Err(Verdict::Pass(Reason::NotListener)) if tables.is_tunnel(&datagram.destination) => {
            return (Known::Tunnel, None);
        }
        Err(verdict) => return (Known::Verdict(verdict), None),
    }
    match placed(frame, &datagram, Arrival::Direct, tables) {
        Ok(verdict) => (Known::Verdict(verdict), Some(datagram)),
        Err(named) => (Known::Unplaced(Passage { named, arrival: Arrival::Direct }), Some(datagram)),
    }
}

/// The same of the `datagram` that is in a frame when the tunnel's headers are off. It is plain, and its headers have been
/// looked at for the tag's sake.
///
/// # Errors
/// What is known, where it does not say where the datagram belongs: [`first_flight`] has the rest.
#[inline(always)]
pub fn unwrapped<B: Bytes + ?Sized, T: Tables>(
    frame: &B,
    datagram: &Datagram,
    tables: &T,
) -> Result<Verdict<T::Flow>, Passage> {
    let arrival = Arrival::Forwarded;
    match listened(datagram, arrival, tables) {
        Ok(()) => placed(frame, datagram, arrival, tables).map_err(|named| Passage { named, arrival }),
        Err(verdict) => Ok(verdict),
    }
}

/// The second part, for a frame of which [`known`] knows no more than `passage`. Each Initial whose client is to show that
/// it receives at its address is to be answered, whatever it has to show: [`challenged`] looks at that.
#[inline(always)]
pub fn first_flight<B: Bytes + ?Sized, T: Tables>(frame: &B, passage: Passage, tables: &T) -> Verdict<T::Flow> {
    match frame::parse(frame) {
        Ok(datagram) => {
            let in_place = |kind| InPlace::at_first_sight(frame, &datagram, kind);
            unplaced(frame, &datagram, Unplaced { passage, in_place }, tables)
        }
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
    finish(&Received { frame, datagram: &datagram, arrival: Arrival::Direct }, tables, |header| {
        let in_place = InPlace::of(frame, &datagram, header.kind, tables);
        let outcome = admission::challenged(in_place, || Some(datagram.source.address), tables);
        // Each kernel program that answers sees packets of clients.
        settle(header, Passage { named: Named::Nobody, arrival: Arrival::Direct }, outcome, tables)
    })
}

/// Whether a datagram is for a listener of this host, and can be answered.
///
/// # Errors
/// The verdict about it, if not.
#[inline(always)]
fn listened<T: Tables>(datagram: &Datagram, arrival: Arrival, tables: &T) -> Result<(), Verdict<T::Flow>> {
    let not_listener = match arrival {
        Arrival::Direct => Verdict::Pass(Reason::NotListener),
        Arrival::Forwarded => Verdict::Drop(Reason::Misrouted),
    };
    if !tables.listens(&datagram.destination) {
        return Err(not_listener);
    }
    // A listener on every address is for every address of this host: what only passes through is not its.
    match admission::destination(&datagram.destination.address, tables) {
        Destination::Own => {}
        Destination::Many => return Err(Verdict::Drop(Reason::Broadcast)),
        Destination::Other => return Err(not_listener),
    }
    if !datagram.source.can_be_answered() {
        return Err(Verdict::Drop(Reason::Unanswerable));
    }
    Ok(())
}

/// The verdict about a datagram whose connection ID says where it belongs, or which is no sound QUIC; else what its
/// connection ID says all the same.
#[inline(always)]
fn placed<B: Bytes + ?Sized, T: Tables>(
    frame: &B,
    datagram: &Datagram,
    arrival: Arrival,
    tables: &T,
) -> Result<Verdict<T::Flow>, Named> {
    // Looked at here, where the headers' lengths are known: behind the decision the verifier would have
    // to tell apart every way that led there.
    let queue = tables.queue().filter(|queue| suits_a_socket(frame, datagram, queue, tables));
    let Some(settings) = tables.settings() else { return Ok(Verdict::Pass(Reason::NoSlot)) };
    let verdict = match quic::classify(frame, datagram.payload, settings.cid_length()) {
        Ok(header) => by_connection_id(&header, arrival, tables)?,
        Err(reason) => Verdict::Drop(reason),
    };
    Ok(or_by_queue(verdict, queue, arrival, tables))
}

/// What is known of a packet that its connection ID places nowhere, and what one of a kind is `in_place`, if it can be
/// answered there.
struct Unplaced<F> {
    passage: Passage,
    in_place: F,
}

/// The verdict about one.
#[inline(always)]
fn unplaced<B: Bytes + ?Sized, T: Tables>(
    frame: &B,
    datagram: &Datagram,
    packet: Unplaced<impl FnOnce(Kind) -> InPlace>,
    tables: &T,
) -> Verdict<T::Flow> {
    let received = Received { frame, datagram, arrival: packet.passage.arrival };
    finish(&received, tables, |header| judged(header, &datagram.source, packet, tables))
}

/// A datagram, in its frame, and how it came.
struct Received<'a, B: ?Sized> {
    frame: &'a B,
    datagram: &'a Datagram,
    arrival: Arrival,
}

/// Carries out what `place` says of a datagram whose connection ID places it nowhere.
#[inline(always)]
fn finish<B: Bytes + ?Sized, T: Tables>(
    received: &Received<'_, B>,
    tables: &T,
    place: impl FnOnce(&Header) -> Verdict<T::Flow>,
) -> Verdict<T::Flow> {
    let Received { frame, datagram, arrival } = *received;
    let queue = tables.queue().filter(|queue| suits_a_socket(frame, datagram, queue, tables));
    let Some(settings) = tables.settings() else { return Verdict::Pass(Reason::NoSlot) };
    match quic::classify(frame, datagram.payload, settings.cid_length()) {
        Ok(header) => or_by_queue(place(&header), queue, arrival, tables),
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

/// Finds the slot of a classified packet from `source`, unless it is turned away, sent on, or answered for what it is
/// `in_place`.
#[inline(always)]
pub fn route<S: Source, T: Tables>(header: &Header, source: &S, in_place: InPlace, tables: &T) -> Verdict<T::Flow> {
    by_connection_id(header, Arrival::Direct, tables).unwrap_or_else(|named| {
        let passage = Passage { named, arrival: Arrival::Direct };
        judged(header, source, Unplaced { passage, in_place: |_| in_place }, tables)
    })
}

/// The same of one that another node has sent on.
#[inline(always)]
pub fn route_forwarded<S: Source, T: Tables>(header: &Header, source: &S, tables: &T) -> Verdict<T::Flow> {
    by_connection_id(header, Arrival::Forwarded, tables).unwrap_or_else(|named| {
        let passage = Passage { named, arrival: Arrival::Forwarded };
        judged(header, source, Unplaced { passage, in_place: |_| InPlace::Nothing }, tables)
    })
}

/// The slot that the flow table has for a connection ID, or that it names itself, or the node; else what it says all the
/// same.
#[inline(always)]
fn by_connection_id<T: Tables>(header: &Header, arrival: Arrival, tables: &T) -> Result<Verdict<T::Flow>, Named> {
    let cid = &header.destination;
    if let Some((flow, number)) = tables.flow(cid)
        && let Some(slot) = taken(number, tables)
    {
        return Ok(Verdict::Deliver(Delivery {
            number,
            slot,
            flow: Some(flow),
            reason: Reason::Flow,
            socket: SocketPlace::NONE,
        }));
    }
    match owner(cid, tables) {
        Some(Owner::Slot(number)) => {
            let slot = taken(number, tables).ok_or(Named::Nobody)?;
            Ok(Verdict::Deliver(Delivery { number, slot, flow: None, reason: Reason::Cid, socket: SocketPlace::NONE }))
        }
        Some(Owner::Node(node)) => by_node(node, header.kind, arrival, tables),
        None => Err(Named::Nobody),
    }
}

/// The verdict about a packet whose connection ID names another node.
#[inline(always)]
fn by_node<T: Tables>(node: NodeId, kind: Kind, arrival: Arrival, tables: &T) -> Result<Verdict<T::Flow>, Named> {
    if tables.settings().is_none_or(|settings| settings.nodes() == 0) {
        return Err(Named::Nobody);
    }
    if arrival == Arrival::Forwarded {
        return if kind.may_be_first_flight() { Err(Named::Nobody) } else { Ok(Verdict::Drop(Reason::Misrouted)) };
    }
    match tables.node(node).map(Node::state) {
        Some(NodeState::Up | NodeState::Draining | NodeState::Silent) => {
            Ok(Verdict::Forward(Forward { node, reason: Reason::Forwarded }))
        }
        Some(NodeState::Gone) => Err(Named::Gone),
        Some(NodeState::Unreachable) | None => Err(Named::Unreachable),
    }
}

/// The verdict about a packet that its connection ID places nowhere.
#[inline(always)]
fn judged<S: Source, T: Tables>(
    header: &Header,
    source: &S,
    packet: Unplaced<impl FnOnce(Kind) -> InPlace>,
    tables: &T,
) -> Verdict<T::Flow> {
    let Unplaced { passage, in_place } = packet;
    if passage.named == Named::Unreachable && !header.kind.may_be_first_flight() {
        return Verdict::Drop(Reason::NodeUnreachable);
    }
    let outcome = match passage.arrival {
        Arrival::Direct => admission::judge(header.kind, source, || in_place(header.kind), tables),
        Arrival::Forwarded => admission::judge_forwarded(header.kind, source, tables),
    };
    settle(header, passage, outcome, tables)
}

/// Carries out what admission says of one.
#[inline(always)]
fn settle<T: Tables>(header: &Header, passage: Passage, outcome: Outcome, tables: &T) -> Verdict<T::Flow> {
    match outcome {
        Outcome::Deliver => assigned(header, passage, tables),
        Outcome::Drop(reason) => Verdict::Drop(reason),
        Outcome::Answer(answer) => Verdict::Answer(answer),
    }
}

/// The slot, or the node, that the assignment has for a packet which nothing else places.
#[inline(always)]
fn assigned<T: Tables>(header: &Header, passage: Passage, tables: &T) -> Verdict<T::Flow> {
    let reason = match (header.kind.may_be_first_flight(), passage.named) {
        (true, _) => Reason::Assigned,
        (false, Named::Gone) => Reason::NodeGone,
        (false, _) => Reason::Unknown,
    };
    let Some(seed) = tables.hash_seed() else { return Verdict::Pass(Reason::NoSlot) };
    let hash = hash::of(&header.destination, seed);
    if passage.arrival == Arrival::Direct
        && matches!(header.kind, Kind::Initial | Kind::ZeroRtt)
        && let Some(node) = tables.assigned_node(hash)
        && tables.node(node).is_some_and(|node| node.state() == NodeState::Up)
    {
        return Verdict::Forward(Forward { node, reason: Reason::ForwardedNew });
    }
    if let Some(number) = tables.assigned(hash)
        && let Some(slot) = taken(number, tables)
    {
        return Verdict::Deliver(Delivery { number, slot, flow: None, reason, socket: SocketPlace::NONE });
    }
    Verdict::Pass(Reason::NoSlot)
}

/// The same, by way of `queue`, if it is delivered and there is one.
#[inline(always)]
fn or_by_queue<T: Tables>(
    verdict: Verdict<T::Flow>,
    queue: Option<&Queue>,
    arrival: Arrival,
    tables: &T,
) -> Verdict<T::Flow> {
    match (verdict, queue) {
        (Verdict::Deliver(delivery), Some(queue)) => Verdict::Deliver(by_queue(delivery, queue, arrival, tables)),
        (verdict, _) => verdict,
    }
}

/// The short way, where there is one: the AF_XDP socket of the worker that has the receive queue.
///
/// A new connection is that worker's if its queue places: then its packets keep coming there. This
/// overrules the assignment, which has had its say. What another node has sent on comes in on a queue that the tunnel's
/// headers chose, and goes on there only until the route changes.
#[inline(always)]
fn by_queue<T: Tables>(delivery: Delivery<T::Flow>, queue: &Queue, arrival: Arrival, tables: &T) -> Delivery<T::Flow> {
    let (socket, owner) = (queue.socket(), queue.owner());
    if delivery.number == owner {
        return Delivery { socket, ..delivery };
    }
    if delivery.reason == Reason::Assigned
        && arrival == Arrival::Direct
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

/// Who issued `cid`, as it says itself: a slot of this node, whether or not a worker is there, or another node, whether or
/// not there is one of that number.
#[inline(always)]
pub fn owner<T: Tables>(cid: &ConnectionId, tables: &T) -> Option<Owner> {
    let rotation = cid.rotation();
    tables.cid_config(rotation)?.owner(cid, tables.cid_keys(rotation)?)
}

/// The slot of this node that `cid` names.
#[inline(always)]
pub fn decoded<T: Tables>(cid: &ConnectionId, tables: &T) -> Option<SlotId> {
    match owner(cid, tables)? {
        Owner::Slot(slot) => Some(slot),
        Owner::Node(_) => None,
    }
}

/// What is in slot `number`, unless it is free.
#[inline(always)]
fn taken<T: Tables>(number: SlotId, tables: &T) -> Option<Slot> {
    tables.slot(number).filter(Slot::is_taken)
}
