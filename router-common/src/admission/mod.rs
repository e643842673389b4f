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
mod in_place;
mod prefix;
mod retry;
mod source;
mod token;
mod version_negotiation;

pub(crate) use self::blocks::Late;
pub use self::{
    answer::{ANSWER_MAX, HEADERS_MAX, Scratch},
    blocks::{Listed, Source, listed},
    bucket::Rate,
    destination::{Destination, destination},
    frame::{Answer, AnswerFrame, Issue},
    in_place::{InPlace, Validation},
    prefix::{Prefix, PrefixError},
    retry::{Request, retry},
    source::{SKETCH_CELLS, SKETCH_COLUMNS, SKETCH_ROWS, SourcePrefix, take_from_any},
    token::{
        EPOCH_LENGTH, Presented, TOKEN_LIFETIME, TokenFault, TokenKey, TokenKeys, epoch_of_nonce, open_token, verify,
    },
    version_negotiation::version_negotiation,
};
use crate::{frame::Address, quic::Kind, reason::Reason, steer::Tables};

/// What is let through at a rate, for the whole node: the keys of the map `buckets`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Limited {
    /// Packets whose connection ID nothing knows, and that begin no connection.
    Unknown = 0,
    /// Packets of unknown versions.
    VersionNegotiation = 1,
    /// First flights of clients that have not shown that they receive at their address.
    New = 2,
}

impl Limited {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::VersionNegotiation, Self::New];
}

/// Whether clients are asked to show that they receive at their address, by a Retry (RFC 9000 section 8.1.2), before
/// anything is kept about them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Challenge {
    /// While more of them come than [`Limited::New`] has room for, or than one prefix may send.
    Auto,
    /// All of them.
    Always,
    /// Not by the kernel's programs. Workers do so near their limits.
    Never,
}

/// What becomes of a packet that neither the flow table nor its connection ID places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A worker gets it.
    Deliver,
    /// It is thrown away.
    Drop(Reason),
    /// It is answered.
    Answer(Answer),
}

/// Judges a packet that neither the flow table nor its connection ID places. What can be seen of it in its place is
/// looked at only where that decides.
#[inline(always)]
pub fn judge<S: Source, T: Tables>(kind: Kind, source: &S, in_place: impl FnOnce() -> InPlace, tables: &T) -> Outcome {
    // Once: looked at again, the verifier would have to be shown again that it is there.
    let address = source.address();
    let listed = listed(address.as_ref(), tables);
    match listed {
        Listed::Drop => return Outcome::Drop(Reason::Blocked),
        Listed::Allow => return Outcome::Deliver,
        Listed::Challenge | Listed::No => {}
    }
    if kind.may_be_first_flight() && tables.refuses_port(source.port()) {
        return Outcome::Drop(Reason::SourcePort);
    }
    match kind {
        Kind::UnknownVersion if !tables.admits(Limited::VersionNegotiation) => {
            Outcome::Drop(Reason::NegotiationLimited)
        }
        Kind::UnknownVersion => match tables.answers() && in_place() == InPlace::UnknownVersion {
            true => Outcome::Answer(Answer::VersionNegotiation),
            false => Outcome::Deliver,
        },
        Kind::Handshake | Kind::OneRtt if !tables.admits(Limited::Unknown) => Outcome::Drop(Reason::UnknownLimited),
        Kind::Handshake | Kind::OneRtt => Outcome::Deliver,
        Kind::Initial | Kind::ZeroRtt if tables.answers() && is_asked(listed, address.as_ref(), tables) => match kind {
            // Its client has to begin anew, and sends it again then.
            Kind::ZeroRtt => Outcome::Drop(Reason::ChallengeLimited),
            _ => challenged(in_place(), || address, tables),
        },
        Kind::Initial | Kind::ZeroRtt => Outcome::Deliver,
    }
}

/// Judges one that another node has sent on: what it was asked there, a first flight is not asked again.
#[inline(always)]
pub fn judge_forwarded<S: Source, T: Tables>(kind: Kind, source: &S, tables: &T) -> Outcome {
    let address = source.address();
    match listed(address.as_ref(), tables) {
        Listed::Drop => Outcome::Drop(Reason::Blocked),
        Listed::Allow => Outcome::Deliver,
        Listed::Challenge | Listed::No if !kind.may_be_first_flight() && !tables.admits(Limited::Unknown) => {
            Outcome::Drop(Reason::UnknownLimited)
        }
        Listed::Challenge | Listed::No => Outcome::Deliver,
    }
}

/// Whether the client of a first flight is to show that it receives at its address, where that can be asked.
#[inline(always)]
fn is_asked<T: Tables>(listed: Listed, source: Option<&Address>, tables: &T) -> bool {
    match tables.challenge() {
        Challenge::Never => false,
        Challenge::Always => true,
        Challenge::Auto => {
            listed == Listed::Challenge
                || source.is_some_and(|source| !tables.admits_from(source))
                || !tables.admits(Limited::New)
        }
    }
}

/// Judges an Initial whose client is to show that it receives at its address.
#[inline(always)]
pub fn challenged<T: Tables>(in_place: InPlace, source: impl FnOnce() -> Option<Address>, tables: &T) -> Outcome {
    match in_place {
        InPlace::Initial(Validation::Done) if source().is_some_and(|source| !tables.admits_validated(&source)) => {
            Outcome::Drop(Reason::SourceLimited)
        }
        InPlace::Initial(Validation::None) => Outcome::Answer(Answer::Retry),
        // A worker's, perhaps, and a client takes no second Retry.
        InPlace::Initial(Validation::Doubtful) if !tables.admits(Limited::New) => {
            Outcome::Drop(Reason::ChallengeLimited)
        }
        // A worker asks what is not plain.
        InPlace::Initial(_) | InPlace::UnknownVersion | InPlace::Nothing => Outcome::Deliver,
    }
}
