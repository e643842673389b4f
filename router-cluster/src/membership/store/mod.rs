//! The cluster's state as entries of a key-value store with revisions and transactions, as etcd is one. Pure: which
//! entries there are, what they say together, and which transactions change them.
//!
//! ```text
//! config             revision, and the epoch of each entry of master, cid/ and orders/     sealed
//! master             the cluster's master secret                                           sealed
//! cid/ROTATION       a configuration of connection IDs: state, shape, keys                 sealed
//! orders/NUMBER      what an operator says of a node                                       sealed
//! next_id            the number that the next new node gets                                sealed
//! ids/INCARNATION    a node's number, and where it was last, without lease                sealed
//! nodes/NUMBER       a node's record, under its lease                                      sealed
//! ```
//!
//! `config` names the epoch of every entry that is shared, so none of them can be taken away, or put back as it once was,
//! without the others: the state opens as a whole or not at all. Its own revision never goes back; what is older than a
//! node has seen is not believed.

mod assemble;
mod codec;
mod entries;
mod repair;
mod transaction;

pub(super) use self::{
    assemble::{Seen, assemble},
    codec::Codec,
    entries::{Entries, Entry, name},
    repair::{has_lost_data, repair},
    transaction::{Compare, Operation, Registration, Transaction, commit, publish, register},
};

#[cfg(test)]
mod tests;
