//! The block list: who is on it, by the configured files and by the verbs, told to the kernel and to the workers.
//!
//! ```text
//! files (config) ─┐
//!                 ├─► wanted ─► order ─► Steering: map and workers' table
//! verbs (store) ──┘
//! ```
//!
//! Where both name a prefix, the verb counts. What verbs have named is kept in the state folder, so that the next
//! generation has it, and the next start.

mod entry;
mod order;
mod store;
mod verbs;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use router_common::{
    admission::Prefix,
    frame::Address,
    maps::{BLOCKS_MAX, Block, BlockAction},
};

pub(super) use self::{
    entry::{By, Entry},
    order::Write,
    verbs::{add, list, remove},
};
use self::{order::writes, store::Store};
use super::{error::AgentError, state_dir::State, steering::Steering};
use crate::{
    clock::monotonic_now,
    config::Config,
    worker::{BlockCount, BlockTable},
};

/// The block list, and what is in force of it.
pub(super) struct Blocks {
    store: Store,
    entries: RefCell<Entries>,
}

#[derive(Default)]
struct Entries {
    by_verb: BTreeMap<Prefix, Entry>,
    by_file: BTreeMap<Prefix, Entry>,
    in_force: BTreeMap<Prefix, Block>,
    /// Packets for which userspace has decided, by an entry's id.
    counts: HashMap<u32, BlockCount>,
    last_id: u32,
    /// The end of the entry that ends first, in nanoseconds of CLOCK_MONOTONIC.
    next_end: Option<u64>,
}

/// An entry that is in force.
pub(super) struct InForce {
    pub(super) prefix: Prefix,
    pub(super) id: u32,
    pub(super) entry: Entry,
    /// Packets for which userspace has decided.
    pub(super) count: u64,
}

impl Blocks {
    /// What verbs of earlier runs have named; nothing is in force yet.
    ///
    /// # Errors
    /// If the file in the state folder cannot be read.
    pub(super) fn open(state: &State) -> Result<Self, AgentError> {
        let store = Store::new(state);
        let by_verb = store.read()?;
        Ok(Self { store, entries: RefCell::new(Entries { by_verb, ..Entries::default() }) })
    }

    /// Brings the list into force, by the generation in charge: what the one before has changed since is taken over,
    /// with the entries that are in the kernel.
    pub(super) fn take_charge(&self, steering: &Steering, config: &Config) {
        let found = self.store.read().and_then(|by_verb| Ok((by_verb, steering.blocks()?)));
        match found {
            Ok((by_verb, in_force)) => self.entries.borrow_mut().adopt(by_verb, in_force),
            Err(e) => tracing::error!("block list: {e}"),
        }
        self.reload(steering, config);
    }

    /// Refuses a configuration whose files have more than there is room for beside what verbs have named.
    ///
    /// # Errors
    /// If there is no room.
    pub(super) fn require_room_for(&self, config: &Config) -> Result<(), AgentError> {
        let entries = self.entries.borrow();
        let files = config.admission.blocks.iter().filter(|block| !entries.by_verb.contains_key(&block.prefix));
        require_room(files.count() + entries.by_verb.len())
    }

    /// What is said of a prefix, if it is in the list.
    fn named(&self, prefix: &Prefix) -> Option<Entry> {
        let entries = self.entries.borrow();
        entries.by_verb.get(prefix).or_else(|| entries.by_file.get(prefix)).cloned()
    }

    /// Brings the files' entries into force, in place of those that were read before.
    pub(super) fn reload(&self, steering: &Steering, config: &Config) {
        let entries = config.admission.blocks.iter().map(|block| {
            let by = By::File(block.place.clone());
            (block.prefix, Entry { action: block.action, until: 0, why: block.why.clone(), by })
        });
        self.entries.borrow_mut().by_file = entries.collect();
        self.bring_into_force(steering);
    }

    /// Removes what verbs have named until now.
    pub(super) fn end_what_is_over(&self, steering: &Steering) {
        let now = monotonic_now();
        if self.entries.borrow().next_end.is_none_or(|end| end > now) {
            return;
        }
        let mut entries = self.entries.borrow_mut();
        entries.by_verb.retain(|prefix, entry| {
            let is_over = entry.is_over(now);
            if is_over {
                tracing::info!("block list: {} of {prefix} has ended", entry.action.name());
            }
            !is_over
        });
        if let Err(e) = self.store.write(&entries.by_verb) {
            tracing::error!("block list: {e}");
        }
        drop(entries);
        self.bring_into_force(steering);
    }

    /// The entry that decides about `address`, which may have ended by now.
    pub(super) fn find(&self, address: &Address) -> Option<InForce> {
        let entries = self.entries.borrow();
        let lengths = (0..=128).rev();
        let prefix =
            lengths.map(|length| Prefix::around(address, length)).find(|at| entries.in_force.contains_key(at))?;
        entries.shown(&prefix)
    }

    /// All entries that are in force.
    pub(super) fn in_force(&self) -> Vec<InForce> {
        let entries = self.entries.borrow();
        entries.in_force.keys().filter_map(|prefix| entries.shown(prefix)).collect()
    }

    /// How many entries have each action.
    pub(super) fn counts(&self) -> [(BlockAction, u64); BlockAction::ALL.len()] {
        let mut counts = BlockAction::ALL.map(|action| (action, 0));
        for block in self.entries.borrow().in_force.values() {
            counts.iter_mut().filter(|(action, _)| block.action() == Some(*action)).for_each(|(_, count)| *count += 1);
        }
        counts
    }

    /// Changes what verbs have named, by `change`: kept, and in force, or as it was.
    fn change(&self, steering: &Steering, change: impl FnOnce(&mut BTreeMap<Prefix, Entry>)) -> Result<(), AgentError> {
        let before = self.entries.borrow().by_verb.clone();
        let mut entries = self.entries.borrow_mut();
        change(&mut entries.by_verb);
        let room = entries.require_room();
        if let Err(e) = room.and_then(|()| self.store.write(&entries.by_verb)) {
            entries.by_verb = before;
            return Err(e);
        }
        drop(entries);
        self.bring_into_force(steering);
        Ok(())
    }

    /// Writes of entries into a map that has room for them: the kernel has no reason to refuse, but a lack of memory.
    fn bring_into_force(&self, steering: &Steering) {
        let mut entries = self.entries.borrow_mut();
        let writes = entries.writes();
        // The count first, and last where nothing is left: an entry that is not looked up keeps nothing out.
        let mut written = match entries.wanted().len() {
            0 => Ok(()),
            count => steering.set_block_count(count as u32),
        };
        for write in writes {
            written = written.and(steering.write_block(&write).map(|()| entries.note(&write)));
        }
        steering.set_block_table(entries.table());
        if entries.in_force.is_empty() {
            written = written.and(steering.set_block_count(0));
        }
        entries.next_end = entries.by_verb.values().map(|entry| entry.until).filter(|&until| until != 0).min();
        if let Err(e) = written {
            tracing::error!("block list: {e}");
        }
    }
}

impl Entries {
    fn adopt(&mut self, by_verb: BTreeMap<Prefix, Entry>, in_force: Vec<(Prefix, Block)>) {
        self.by_verb = by_verb;
        self.in_force = in_force.into_iter().collect();
        self.last_id = self.in_force.values().map(Block::id).max().unwrap_or(0).max(self.last_id);
    }

    /// What is to be in force.
    fn wanted(&self) -> BTreeMap<Prefix, &Entry> {
        let mut wanted: BTreeMap<_, _> = self.by_file.iter().map(|(&prefix, entry)| (prefix, entry)).collect();
        wanted.extend(self.by_verb.iter().map(|(&prefix, entry)| (prefix, entry)));
        wanted
    }

    fn require_room(&self) -> Result<(), AgentError> {
        require_room(self.wanted().len())
    }

    fn writes(&mut self) -> Vec<Write> {
        let mut last_id = self.last_id;
        let mut next_id = || {
            last_id = last_id.wrapping_add(1);
            last_id
        };
        let wanted = self.wanted().into_iter().map(|(prefix, entry)| {
            let is = self.in_force.get(&prefix).filter(|block| block.action() == Some(entry.action));
            let id = is.map_or_else(&mut next_id, Block::id);
            (prefix, Block::new(entry.action, id, entry.until))
        });
        let writes = writes(&self.in_force, &wanted.collect());
        self.last_id = last_id;
        writes
    }

    fn note(&mut self, write: &Write) {
        match *write {
            Write::Set { prefix, block, .. } => {
                self.in_force.insert(prefix, block);
            }
            Write::Remove { prefix, .. } => {
                self.in_force.remove(&prefix);
            }
        }
    }

    /// As workers see it, with the counts of those that stay.
    fn table(&mut self) -> BlockTable {
        let counts = std::mem::take(&mut self.counts);
        let count = |block: &Block| counts.get(&block.id()).cloned().unwrap_or_default();
        let entries: Vec<_> = self.in_force.iter().map(|(&prefix, block)| (prefix, *block, count(block))).collect();
        self.counts = entries.iter().map(|(_, block, count)| (block.id(), count.clone())).collect();
        BlockTable::new(entries)
    }

    fn shown(&self, prefix: &Prefix) -> Option<InForce> {
        let id = self.in_force.get(prefix)?.id();
        let entry = self.by_verb.get(prefix).or_else(|| self.by_file.get(prefix))?.clone();
        Some(InForce { prefix: *prefix, id, entry, count: self.counts.get(&id).map_or(0, BlockCount::get) })
    }
}

fn require_room(entries: usize) -> Result<(), AgentError> {
    match entries > BLOCKS_MAX as usize {
        false => Ok(()),
        true => Err(AgentError::refused(format!(
            "the block list has room for {BLOCKS_MAX} prefixes: {entries} are too many"
        ))
        .with_hint("quic-router block list, for what can go; or a shorter prefix for several of them")),
    }
}
