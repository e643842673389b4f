//! The other hosts behind the same addresses: who they are, how packets of theirs get to them, and the keys that all of
//! them have.

mod membership;

pub(super) use self::membership::MembershipEngine;
