//! Admission: which packets are turned away although they are sound.
//!
//! What is asked here is asked of packets that no connection is known to send: the flow table and decoded
//! connection IDs come before. Only a destination that is for many hosts is turned away whatever the packet
//! says, by the look-up of the destination that is made for every packet anyway.

mod answer;
mod blocks;
mod bucket;
mod destination;
mod frame;
mod ghash;
mod prefix;
mod retry;
mod token;
mod version_negotiation;

pub(crate) use self::blocks::Late;
pub use self::{
    answer::{ANSWER_MAX, HEADERS_MAX, Scratch},
    blocks::{Listed, Source, listed},
    bucket::Rate,
    destination::{Destination, destination},
    frame::{Answer, AnswerFrame},
    prefix::{Prefix, PrefixError},
    retry::{Request, retry},
    token::{
        EPOCH_LENGTH, Presented, TOKEN_LIFETIME, TokenFault, TokenKey, TokenKeys, epoch_of_nonce, open_token, verify,
    },
    version_negotiation::version_negotiation,
};
use crate::{quic::Kind, reason::Reason, steer::Tables};

/// What is let through at a rate, for the whole node: the keys of the map `buckets`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Limited {
    /// Packets whose connection ID nothing knows, and that begin no connection.
    Unknown = 0,
    /// Packets of unknown versions.
    VersionNegotiation = 1,
}

impl Limited {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Unknown, Self::VersionNegotiation];
}

/// Why a packet is turned away that neither the flow table nor its connection ID places; `None` if it is not.
#[inline(always)]
pub fn refusal<S: Source, T: Tables>(kind: Kind, source: &S, tables: &T) -> Option<Reason> {
    match listed(source, tables) {
        Listed::Drop => return Some(Reason::Blocked),
        Listed::Allow => return None,
        // The worker that gets it answers with a Retry.
        Listed::Challenge | Listed::No => {}
    }
    if kind.may_be_first_flight() && tables.refuses_port(source.port()) {
        return Some(Reason::SourcePort);
    }
    match kind {
        Kind::Initial | Kind::ZeroRtt => None,
        Kind::UnknownVersion if tables.admits(Limited::VersionNegotiation) => None,
        Kind::UnknownVersion => Some(Reason::NegotiationLimited),
        Kind::Handshake | Kind::OneRtt if tables.admits(Limited::Unknown) => None,
        Kind::Handshake | Kind::OneRtt => Some(Reason::UnknownLimited),
    }
}
