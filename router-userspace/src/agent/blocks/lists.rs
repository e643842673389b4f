//! The block list as plain data: what files and verbs have named, what is in force of it, and how the one comes to be
//! the other. Cheap to copy, so that a long list is worked on beside the agent's thread.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use router_common::{
    admission::Prefix,
    frame::Address,
    maps::{BLOCKS_MAX, Block, BlockAction},
};

use super::{Entry, Write, error::BlockListError, order::writes};
use crate::worker::{BlockCount, BlockTable};

/// Entries by their prefixes.
pub(super) type Named = BTreeMap<Prefix, Entry>;

/// What is named, and what is in force.
#[derive(Clone, Default)]
pub(super) struct Lists {
    /// What verbs have named.
    pub(super) by_verb: Arc<Named>,
    /// What the configured files name.
    by_file: Arc<Named>,
    /// What the kernel has, or what workers alone have.
    pub(super) in_force: Arc<BTreeMap<Prefix, Block>>,
    /// Packets for which userspace has decided, by an entry's id.
    counts: Arc<HashMap<u32, BlockCount>>,
    /// How many entries in force have each action, in the order of [`BlockAction::ALL`].
    totals: [u64; BlockAction::ALL.len()],
    /// See [`Lists::next_end`].
    next_end: Option<u64>,
    /// See [`Lists::is_behind`].
    is_behind: bool,
    last_id: u32,
}

/// How [`Lists::in_force`] comes to be what is named.
pub(super) struct Plan {
    /// What to write, in this order.
    pub(super) writes: Vec<Write>,
    /// The lists when it is written.
    pub(super) lists: Lists,
    /// The same for the workers.
    pub(super) table: BlockTable,
}

/// An entry that is in force.
pub(in crate::agent) struct InForce {
    pub(in crate::agent) prefix: Prefix,
    pub(in crate::agent) id: u32,
    pub(in crate::agent) entry: Entry,
    /// Packets for which userspace has decided.
    pub(in crate::agent) count: u64,
}

impl Lists {
    /// With these named by the files, for which there is room.
    pub(super) fn with_files(self, by_file: Named) -> Self {
        Self { by_file: Arc::new(by_file), ..self }
    }

    /// With these named by verbs.
    ///
    /// # Errors
    /// If there is no room for them.
    pub(super) fn with_verbs(self, by_verb: Named) -> Result<Self, BlockListError> {
        let by_file = self.by_file.keys().filter(|prefix| !by_verb.contains_key(prefix));
        require_room(by_file.count() + by_verb.len())?;
        Ok(Self { by_verb: Arc::new(by_verb), ..self })
    }

    /// With what another generation has named and brought into force.
    pub(super) fn adopting(self, by_verb: Named, in_force: Vec<(Prefix, Block)>) -> Self {
        let in_force: BTreeMap<_, _> = in_force.into_iter().collect();
        let last_id = in_force.values().map(Block::id).max().unwrap_or(0).max(self.last_id);
        Self { by_verb: Arc::new(by_verb), in_force: Arc::new(in_force), last_id, ..self }
    }

    /// How what is named comes into force.
    pub(super) fn plan(self) -> Plan {
        let mut last_id = self.last_id;
        let mut next_id = || {
            last_id = last_id.wrapping_add(1);
            last_id
        };
        let mut wanted: BTreeMap<_, _> = self.by_file.iter().map(|(&prefix, entry)| (prefix, entry)).collect();
        wanted.extend(self.by_verb.iter().map(|(&prefix, entry)| (prefix, entry)));
        let wanted = wanted.into_iter().map(|(prefix, entry)| {
            let is = self.in_force.get(&prefix).filter(|block| block.action() == Some(entry.action));
            let id = is.map_or_else(&mut next_id, Block::id);
            (prefix, Block::new(entry.action, id, entry.until))
        });
        let wanted: BTreeMap<_, _> = wanted.collect();
        let writes = writes(&self.in_force, &wanted);
        // Those that stay go on counting.
        let count = |block: &Block| self.counts.get(&block.id()).cloned().unwrap_or_default();
        let counted: Vec<_> = wanted.iter().map(|(&prefix, block)| (prefix, *block, count(block))).collect();
        let counts = Arc::new(counted.iter().map(|(_, block, count)| (block.id(), count.clone())).collect());
        let totals =
            BlockAction::ALL.map(|action| wanted.values().filter(|is| is.action() == Some(action)).count() as u64);
        let next_end = self.by_verb.values().map(|entry| entry.until).filter(|&until| until != 0).min();
        let in_force = Arc::new(wanted);
        let lists = Self { in_force, counts, totals, next_end, is_behind: false, last_id, ..self };
        Plan { writes, lists, table: BlockTable::new(counted) }
    }

    /// The lists of a plan, where the kernel has refused to write what is about these prefixes: `before` is still in force
    /// of them. The next plan has them again.
    pub(super) fn refused(self, before: &BTreeMap<Prefix, Block>, prefixes: &[Prefix]) -> Self {
        if prefixes.is_empty() {
            return self;
        }
        let mut in_force = BTreeMap::clone(&self.in_force);
        for prefix in prefixes {
            match before.get(prefix) {
                Some(block) => in_force.insert(*prefix, *block),
                None => in_force.remove(prefix),
            };
        }
        Self { in_force: Arc::new(in_force), is_behind: true, ..self }
    }

    /// Whether the kernel has refused something that is named.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// What is said of a prefix, if it is in the list.
    pub(super) fn named(&self, prefix: &Prefix) -> Option<&Entry> {
        self.by_verb.get(prefix).or_else(|| self.by_file.get(prefix))
    }

    /// The entry that decides about `address`, which may have ended by now.
    pub(super) fn find(&self, address: &Address) -> Option<InForce> {
        let around = (0..=128).rev().map(|length| Prefix::around(address, length));
        self.shown(around.into_iter().find(|prefix| self.in_force.contains_key(prefix))?)
    }

    /// All entries that are in force.
    pub(super) fn all_in_force(&self) -> Vec<InForce> {
        self.in_force.keys().filter_map(|&prefix| self.shown(prefix)).collect()
    }

    /// How many of them have each action.
    pub(super) fn totals(&self) -> [(BlockAction, u64); BlockAction::ALL.len()] {
        let [allow, challenge, drop] = self.totals;
        [(BlockAction::Allow, allow), (BlockAction::Challenge, challenge), (BlockAction::Drop, drop)]
    }

    /// When the entry ends that ends first, in nanoseconds of CLOCK_MONOTONIC.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.next_end
    }

    fn shown(&self, prefix: Prefix) -> Option<InForce> {
        let id = self.in_force.get(&prefix)?.id();
        let entry = self.named(&prefix)?.clone();
        Some(InForce { prefix, id, entry, count: self.counts.get(&id).map_or(0, BlockCount::get) })
    }
}

/// Refuses more entries than the maps have room for.
///
/// # Errors
/// If there are more.
pub(super) fn require_room(entries: usize) -> Result<(), BlockListError> {
    match entries > BLOCKS_MAX as usize {
        false => Ok(()),
        true => Err(BlockListError::Full { entries }),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::By, *};

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn named(by: &By, entries: &[(&str, BlockAction)]) -> Named {
        let entry = |action| Entry { action, until: 0, why: None, by: by.clone() };
        entries.iter().map(|&(text, action)| (prefix(text), entry(action))).collect()
    }

    fn file(entries: &[(&str, BlockAction)]) -> Named {
        named(&By::File("list:1".to_owned()), entries)
    }

    fn id(lists: &Lists, text: &str) -> Option<u32> {
        lists.in_force.get(&prefix(text)).map(Block::id)
    }

    #[test]
    fn a_verb_counts_where_a_file_names_the_same_prefix() {
        let lists = Lists::default().with_files(file(&[("192.0.2.0/24", BlockAction::Drop)]));
        let lists = lists.with_verbs(named(&By::Verb, &[("192.0.2.0/24", BlockAction::Allow)])).unwrap();
        let plan = lists.plan();
        assert_eq!(plan.writes.len(), 1);
        assert_eq!(plan.lists.totals(), [(BlockAction::Allow, 1), (BlockAction::Challenge, 0), (BlockAction::Drop, 0)]);
        let found = plan.lists.find(&Address::ipv4([192, 0, 2, 7])).unwrap();
        assert_eq!((found.prefix, found.entry.by), (prefix("192.0.2.0/24"), By::Verb));
        assert!(plan.lists.find(&Address::ipv4([192, 0, 3, 7])).is_none());
    }

    #[test]
    fn what_stays_keeps_its_id_and_what_changes_gets_another() {
        let both = |second| file(&[("192.0.2.0/24", BlockAction::Drop), ("198.51.100.0/24", second)]);
        let before = Lists::default().with_files(both(BlockAction::Drop)).plan().lists;
        let after = before.clone().with_files(both(BlockAction::Challenge));
        let plan = after.plan();
        assert_eq!(id(&plan.lists, "192.0.2.0/24"), id(&before, "192.0.2.0/24"));
        assert!(id(&plan.lists, "198.51.100.0/24") > id(&before, "198.51.100.0/24"));
        assert_eq!(plan.writes.len(), 1);
        assert!(plan.lists.plan().writes.is_empty());
    }

    #[test]
    fn what_the_kernel_has_refused_is_planned_again() {
        let both = |action| file(&[("192.0.2.0/24", action), ("198.51.100.0/24", BlockAction::Drop)]);
        let before = Lists::default().with_files(both(BlockAction::Drop)).plan().lists;
        let changed = named(&By::Verb, &[("203.0.113.0/24", BlockAction::Drop)]);
        let wanted =
            before.clone().with_files(file(&[("192.0.2.0/24", BlockAction::Allow)])).with_verbs(changed).unwrap();
        let plan = wanted.plan();
        // One is set anew, one in place of another, one removed.
        assert_eq!((plan.writes.len(), plan.lists.is_behind()), (3, false));
        let all: Vec<_> = plan.writes.iter().map(Write::prefix).collect();
        for refused in [&all[..], &all[..1], &all[1..2], &all[2..]] {
            let behind = plan.lists.clone().refused(&before.in_force, refused);
            assert!(behind.is_behind());
            let again = behind.plan();
            let again_about: std::collections::BTreeSet<_> = again.writes.iter().map(Write::prefix).collect();
            assert_eq!(again_about, refused.iter().copied().collect());
            assert!(!again.lists.is_behind() && again.lists.plan().writes.is_empty());
        }
        assert!(!plan.lists.refused(&before.in_force, &[]).is_behind());
    }

    /// The ids of another generation's entries are not given to others.
    #[test]
    fn what_is_adopted_is_gone_on_with() {
        let in_force = vec![(prefix("192.0.2.0/24"), Block::new(BlockAction::Drop, 41, 0))];
        let by_verb = named(&By::Verb, &[("192.0.2.0/24", BlockAction::Drop), ("192.0.3.0/24", BlockAction::Drop)]);
        let plan = Lists::default().adopting(by_verb, in_force).plan();
        assert_eq!((id(&plan.lists, "192.0.2.0/24"), id(&plan.lists, "192.0.3.0/24")), (Some(41), Some(42)));
    }
}
