//! Admission: which packets are turned away although they are sound.
//!
//! What is asked here is asked of packets that no connection is known to send: the flow table and decoded
//! connection IDs come before. Only a destination that is for many hosts is turned away whatever the packet
//! says, by the look-up of the destination that is made for every packet anyway.

mod answer;
mod bucket;
mod destination;
mod ghash;
mod retry;
mod token;
mod version_negotiation;

pub use self::{
    answer::{ANSWER_MAX, Scratch},
    bucket::Rate,
    destination::{Destination, destination},
    retry::{Request, retry},
    token::{EPOCH_LENGTH, Presented, TOKEN_LIFETIME, TokenFault, TokenKey, TokenKeys, epoch_of_nonce, open, verify},
    version_negotiation::{SPOKEN, version_negotiation},
};
use crate::{quic::Kind, reason::Reason, steer::Tables};

/// Why a packet is turned away that neither the flow table nor its connection ID places; `None` if it is not.
#[inline(always)]
pub fn refusal<T: Tables>(kind: Kind, source_port: u16, tables: &T) -> Option<Reason> {
    match kind.may_be_first_flight() {
        true if tables.refuses_port(source_port) => Some(Reason::SourcePort),
        false if !tables.admits_unknown() => Some(Reason::UnknownLimited),
        true | false => None,
    }
}
