//! What is known of the store, from ranges and events, and what it says. Pure: times are arguments.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use super::connection::{Event, Range};
use crate::membership::{
    ClusterState, MembershipError,
    store::{Codec, Entries, Entry, Seen, Transaction, assemble, has_lost_data, name, repair},
};

/// What is known.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) codec: Codec,
    pub(super) entries: Entries,
    pub(super) seen: Seen,
    pub(super) state: ClusterState,
    /// The store's revision of `entries`.
    pub(super) version: u64,
    /// When the store last said something.
    pub(super) confirmed: Option<SystemTime>,
    /// Records that have vanished since the store came back, and are kept for a while.
    held: BTreeMap<String, Entry>,
    /// Until when.
    settled: Option<Instant>,
}

impl Known {
    /// Nothing yet.
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            entries: Entries::new(),
            seen: Seen::default(),
            state: ClusterState::default(),
            version: 0,
            confirmed: None,
            held: BTreeMap::new(),
            settled: None,
        }
    }

    /// The store was away, and can be asked again: until `settled` the other nodes may still be coming back.
    pub(super) fn is_back(&mut self, settled: Instant) {
        self.settled = Some(settled);
    }

    /// The transactions that put back what the store has lost, if it has.
    pub(super) fn repairs(&self, range: &Range) -> Option<Vec<Transaction>> {
        let is_poorer = has_lost_data(&self.codec, &range.entries, &self.seen);
        is_poorer.then(|| repair(&self.codec, &self.entries, &range.entries))
    }

    /// Takes everything as a range says.
    ///
    /// # Errors
    /// If that makes no sense; then all is as before.
    pub(super) fn replace(&mut self, range: Range, now: Instant) -> Result<(), MembershipError> {
        self.take(range.entries, now)?;
        self.version = range.revision;
        Ok(())
    }

    /// Takes in what a watch tells; what a range has said already is not news.
    ///
    /// # Errors
    /// If that makes no sense; then all is as before.
    pub(super) fn apply(&mut self, events: Vec<Event>, now: Instant) -> Result<(), MembershipError> {
        let mut entries = self.entries.clone();
        let mut version = self.version;
        for event in events.into_iter().filter(|event| event.revision > self.version) {
            version = version.max(event.revision);
            match event.entry {
                Some(entry) => drop(entries.insert(event.name, entry)),
                None => drop(entries.remove(&event.name)),
            }
        }
        self.take(entries, now)?;
        self.version = version;
        Ok(())
    }

    /// Whether a range says something else than is known.
    pub(super) fn differs(&self, range: &Range) -> bool {
        range.revision >= self.version && range.entries != self.entries
    }

    /// When records that are kept have been kept long enough.
    pub(super) fn settles(&self) -> Option<Instant> {
        self.settled.filter(|_| !self.held.is_empty())
    }

    /// Lets go of records that have been kept long enough.
    ///
    /// # Errors
    /// None that a state without them would not have had before.
    pub(super) fn settle(&mut self, now: Instant) -> Result<(), MembershipError> {
        self.take(self.entries.clone(), now)
    }

    fn take(&mut self, entries: Entries, now: Instant) -> Result<(), MembershipError> {
        let mut held = BTreeMap::new();
        if self.settled.is_some_and(|settled| now < settled) {
            let before = self.entries.iter().chain(&self.held);
            let vanished = before.filter(|(key, _)| name::is_leased(key) && !entries.contains_key(*key));
            held.extend(vanished.map(|(key, entry)| (key.clone(), entry.clone())));
        }
        let mut all = entries.clone();
        all.extend(held.clone());
        let (state, seen) = assemble(&self.codec, &all, &self.seen)?;
        (self.entries, self.state, self.seen, self.held) = (entries, state, seen, held);
        Ok(())
    }
}

/// How long the other nodes may take to come back after the store did: each has to notice, to pause, and to take a lease
/// that has run out meanwhile.
pub(super) fn settling(lease: Duration, backoff: Duration) -> Duration {
    lease + backoff
}

#[cfg(test)]
mod tests;
