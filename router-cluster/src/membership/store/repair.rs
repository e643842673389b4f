//! What a store has lost is put back by a node that knows it: a data directory that was wiped, or an older backup of it.
//!
//! Entries are sealed, so they can be put back as they were. Nothing is put over a cluster that was made anew under the
//! same name.

use super::{
    assemble::Seen,
    codec::Codec,
    entries::{Entries, Entry, name},
    transaction::Transaction,
};

/// Whether the store has less than was seen before, of the same cluster.
pub(in crate::membership) fn has_lost_data(codec: &Codec, now: &Entries, seen: &Seen) -> bool {
    let Some(made) = &seen.made else { return false };
    let revision = match now.get(name::CONFIG).map(|entry| codec.read_config(entry)) {
        None => 0,
        Some(Ok(config)) if config.content.made == *made => config.epoch,
        Some(_) => return false,
    };
    let next = now.get(name::NEXT_ID).and_then(|entry| codec.read_next_id(entry).ok()).unwrap_or_default();
    revision < seen.revision || next < seen.next_id
}

/// The transactions that bring a store that [`has_lost_data`] from `now` to what was `last` known, in their order. What
/// goes with a lease is its node's to put back.
pub(in crate::membership) fn repair(codec: &Codec, last: &Entries, now: &Entries) -> Vec<Transaction> {
    let guard = || Transaction::default().unless_changed(now, name::CONFIG);
    let mut transactions = Vec::new();
    // Whoever has a number keeps it.
    let lacks = |key: &str| !now.contains_key(key);
    let ids: Vec<_> = last.iter().filter(|(key, _)| key.starts_with(name::IDS) && lacks(key)).collect();
    for some in ids.chunks(OPERATIONS_MAX) {
        let mut transaction = guard();
        for (key, entry) in some {
            transaction.put(*key, entry.value.clone());
        }
        transactions.push(transaction);
    }
    // `config` comes last, with all that it names: until then it is a store that has lost data.
    let mut transaction = guard().unless_changed(now, name::NEXT_ID);
    let next = |entries: &Entries| entries.get(name::NEXT_ID).and_then(|entry| codec.read_next_id(entry).ok());
    if next(now) < next(last) {
        put(&mut transaction, last, name::NEXT_ID);
    }
    let is_older = |entry: &Entry| now.get(name::CONFIG).is_none_or(|found| epoch(codec, found) < epoch(codec, entry));
    if last.get(name::CONFIG).is_some_and(is_older) {
        for key in last.keys().filter(|key| is_shared(key)) {
            put(&mut transaction, last, key);
        }
        for key in now.keys().filter(|key| is_shared(key) && !last.contains_key(*key)) {
            transaction.delete(key);
        }
    }
    transactions.push(transaction);
    transactions
}

fn epoch(codec: &Codec, config: &Entry) -> u64 {
    codec.read_config(config).map_or(0, |config| config.epoch)
}

fn put(transaction: &mut Transaction, from: &Entries, key: &str) {
    if let Some(entry) = from.get(key) {
        transaction.put(key, entry.value.clone());
    }
}

/// Whether `config` names it, or it is that.
fn is_shared(key: &str) -> bool {
    let kinds = [name::CONFIG, name::MASTER, name::CID, name::ORDERS];
    kinds.iter().any(|kind| key.starts_with(kind))
}

/// Operations of one transaction: etcd takes 128 unless it is told otherwise.
const OPERATIONS_MAX: usize = 100;
