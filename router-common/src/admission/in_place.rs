//! What a packet is, as far as it can be answered in the place where it is looked at.

use super::{Presented, verify};
use crate::{
    bytes::Bytes,
    frame::Datagram,
    quic::{self, Kind, VERSION_1},
    steer::Tables,
};

/// What can be answered in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InPlace {
    /// Not this: a worker answers, if there is something to say.
    Nothing,
    /// A packet of an unknown version.
    UnknownVersion,
    /// An Initial of version 1.
    Initial(Validation),
}

/// What an Initial has to show for its client's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validation {
    /// Nothing.
    None,
    /// A token that a kernel program of ours gave to this address, not long ago.
    Done,
    /// A token of another kind, or one that proves nothing.
    Doubtful,
}

impl InPlace {
    /// What the packet of `kind` is that a frame carries. What stands behind VLAN tags, IP options or extension headers,
    /// or has longer connection IDs than version 1 allows, is left to the worker; so are clients whose addresses hold on
    /// one link only: the token would not say on which.
    #[inline(always)]
    pub fn of<B: Bytes + ?Sized, T: Tables>(frame: &B, datagram: &Datagram, kind: Kind, tables: &T) -> Self {
        let Some(header) = quic::long_header(frame, datagram.payload).filter(|_| datagram.is_plain()) else {
            return Self::Nothing;
        };
        match kind {
            Kind::UnknownVersion => Self::UnknownVersion,
            Kind::Initial if header.version == VERSION_1 && !datagram.source.address.is_link_local() => {
                let Some(token) = quic::initial_token(frame, datagram.payload, &header) else { return Self::Nothing };
                if token.length == 0 {
                    return Self::Initial(Validation::None);
                }
                let Some(keys) = tables.token_keys() else { return Self::Initial(Validation::Doubtful) };
                let presented = Presented {
                    client: datagram.source,
                    version: header.version,
                    destination: header.destination,
                    now: tables.unix_seconds(),
                };
                let is_valid = verify(frame, token, &presented, keys).is_ok();
                Self::Initial(if is_valid { Validation::Done } else { Validation::Doubtful })
            }
            Kind::Initial | Kind::ZeroRtt | Kind::Handshake | Kind::OneRtt => Self::Nothing,
        }
    }

    /// The same, but that each Initial is taken for one without a token, that can be answered.
    #[inline(always)]
    pub fn at_first_sight<B: Bytes + ?Sized>(frame: &B, datagram: &Datagram, kind: Kind) -> Self {
        match kind {
            Kind::UnknownVersion if datagram.is_plain() && quic::long_header(frame, datagram.payload).is_some() => {
                Self::UnknownVersion
            }
            Kind::Initial => Self::Initial(Validation::None),
            _ => Self::Nothing,
        }
    }
}
