//! Route: which slot a packet belongs to. The one decision of this project.
//!
//! In this order: the flow table, by destination connection ID; the connection ID itself,
//! decoded; what is not admitted ends here, and what needs no worker is answered; the assignment, by a keyed hash of the connection
//! ID. Never by 4-tuple: many connections share one, and one connection changes it. Where a worker has the receive queue
//! that a frame came in on (AF_XDP), a new connection may be placed by that instead.

use crate::{
    admission::{self, Answer, Destination, Late, Limited, Listed, Source},
    bytes::Bytes,
    connection_id::{ConnectionId, Keys},
    frame::{self, Address, Datagram, Endpoint, Payload},
    hash,
    maps::{CidConfig, Queue, SOCKET_FRAME_MAX, Settings, Slot, SlotState, SocketPlace},
    quic::{self, Header},
    reason::Reason,
};

/// The decision's view of the maps. Each method is one look-up; one of them changes something.
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

    /// Whether packets are answered where they are looked at.
    fn answers(&self) -> bool;
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
    pub number: u8,
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
    let datagram = match frame::parse(frame) {
        Ok(datagram) => datagram,
        Err(reason) => return (Verdict::Pass(reason), None),
    };
    if !tables.listens(&datagram.destination) {
        return (Verdict::Pass(Reason::NotListener), None);
    }
    // A listener on every address is for every address of this host: what only passes through is not its.
    match admission::destination(&datagram.destination.address, tables) {
        Destination::Own => {}
        Destination::Many => return (Verdict::Drop(Reason::Broadcast), None),
        Destination::Other => return (Verdict::Pass(Reason::NotListener), None),
    }
    if !datagram.source.can_be_answered() {
        return (Verdict::Drop(Reason::Unanswerable), None);
    }
    // Looked at here, where the headers' lengths are known: behind the decision the verifier would have
    // to tell apart every way that led there.
    let queue = tables.queue().filter(|queue| suits_a_socket(frame, &datagram, queue, tables));
    let source = &Late { port: datagram.source.port, read: || frame::source_address(frame) };
    let sender = Sender { source, is_plain: datagram.is_plain() };
    let verdict = match (payload(frame, datagram.payload, &sender, tables), queue) {
        (Verdict::Deliver(delivery), Some(queue)) => Verdict::Deliver(by_queue(delivery, queue, tables)),
        (verdict, _) => verdict,
    };
    (verdict, Some(datagram))
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
    match segment.read::<2>(0).map(|port| u16::from_be_bytes(port.0)) {
        None => Verdict::Drop(Reason::Truncated),
        Some(0) => Verdict::Drop(Reason::Unanswerable),
        Some(port) => {
            let source = &Late { port, read: address };
            self::payload(segment, payload, &Sender { source, is_plain: false }, tables)
        }
    }
}

/// Who sent a packet, as far as the decision asks.
struct Sender<'a, S> {
    source: &'a S,
    /// Whether nothing stands before the payload but plain headers, so that it can be answered in place.
    is_plain: bool,
}

/// Decides about a UDP payload that is known to be for a listener.
#[inline(always)]
fn payload<B: Bytes + ?Sized, S: Source, T: Tables>(
    packet: &B,
    payload: Payload,
    sender: &Sender<'_, S>,
    tables: &T,
) -> Verdict<T::Flow> {
    let Some(settings) = tables.settings() else {
        return Verdict::Pass(Reason::NoSlot);
    };
    match quic::classify(packet, payload, settings.cid_length()) {
        Ok(header) => {
            let in_place = || sender.is_plain && tables.answers();
            let answer = || Answer::to(packet, payload, header.kind).filter(|_| in_place());
            route(&header, sender.source, answer, tables)
        }
        Err(reason) => Verdict::Drop(reason),
    }
}

/// Finds the slot of a classified packet, unless it is turned away, or has an `answer` that needs none.
#[inline(always)]
pub fn route<S: Source, T: Tables>(
    header: &Header,
    source: &S,
    answer: impl FnOnce() -> Option<Answer>,
    tables: &T,
) -> Verdict<T::Flow> {
    let cid = &header.destination;
    if let Some((flow, number)) = tables.flow(cid)
        && let Some(slot) = taken(number, tables)
    {
        return Verdict::Deliver(Delivery {
            number,
            slot,
            flow: Some(flow),
            reason: Reason::Flow,
            socket: SocketPlace::NONE,
        });
    }
    if let Some(number) = decoded(cid, tables)
        && let Some(slot) = taken(number, tables)
    {
        return Verdict::Deliver(Delivery { number, slot, flow: None, reason: Reason::Cid, socket: SocketPlace::NONE });
    }
    if let Some(reason) = admission::refusal(header.kind, source, tables) {
        return Verdict::Drop(reason);
    }
    if let Some(answer) = answer() {
        return Verdict::Answer(answer);
    }
    let reason = if header.kind.may_be_first_flight() { Reason::Assigned } else { Reason::Unknown };
    if let Some(seed) = tables.hash_seed()
        && let Some(number) = tables.assigned(hash::of(cid, seed))
        && let Some(slot) = taken(number, tables)
    {
        return Verdict::Deliver(Delivery { number, slot, flow: None, reason, socket: SocketPlace::NONE });
    }
    Verdict::Pass(Reason::NoSlot)
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
        // The stack believes nobody who claims to be this host.
        && !tables.is_local(&datagram.source.address)
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
