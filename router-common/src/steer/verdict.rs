//! What the decision says of a packet, and what its parts tell each other.

use crate::{
    admission::Answer,
    identifiers::{NodeId, SlotId},
    maps::{Slot, SocketPlace},
    reason::Reason,
};

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
    /// Send it on to another node.
    Forward(Forward),
}

impl<F> Verdict<F> {
    /// Its reason.
    #[inline(always)]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Pass(reason) | Self::Drop(reason) => *reason,
            Self::Deliver(delivery) => delivery.reason,
            Self::Answer(answer) => answer.reason(),
            Self::Forward(forward) => forward.reason,
        }
    }
}

/// A packet's way to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward {
    /// The node.
    pub node: NodeId,
    /// Why there.
    pub reason: Reason,
}

/// How a packet came to this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// From its client.
    Direct,
    /// By the tunnel: another node has sent it on.
    Forwarded,
}

/// What a connection ID says of a packet that neither a flow nor a slot of this node has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// No other node.
    Nobody,
    /// A node that is gone for good.
    Gone,
    /// A node that cannot be reached, or that there is none of.
    Unreachable,
}

/// What is known of a packet when its connection ID has placed it nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passage {
    /// What its connection ID says.
    pub named: Named,
    /// How it came.
    pub arrival: Arrival,
}

impl Passage {
    /// As a number, for the kernel program that goes on.
    #[inline(always)]
    pub fn word(self) -> u32 {
        let named = match self.named {
            Named::Nobody => 0,
            Named::Gone => 1,
            Named::Unreachable => 2,
        };
        named | u32::from(self.arrival == Arrival::Forwarded) << 8
    }

    /// Of that number.
    #[inline(always)]
    pub fn of_word(word: u32) -> Self {
        let named = match word & 0xff {
            1 => Named::Gone,
            2 => Named::Unreachable,
            _ => Named::Nobody,
        };
        Self { named, arrival: if word & 0x100 == 0 { Arrival::Direct } else { Arrival::Forwarded } }
    }
}

/// What the first part of the decision says of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known<F> {
    /// All.
    Verdict(Verdict<F>),
    /// Where it does not belong: [`first_flight`] has the rest.
    Unplaced(Passage),
    /// It came to the tunnel's end: it has to be unwrapped.
    Tunnel,
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
