//! The block list as the workers see it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use router_common::{admission::Prefix, frame::Address, maps::Block};

/// Packets for which an entry decided in userspace.
#[derive(Clone, Debug, Default)]
pub struct BlockCount(Arc<AtomicU64>);

impl BlockCount {
    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The entries, to be found by the longest prefix of an address.
#[derive(Debug, Default)]
pub struct BlockTable {
    /// The longest first.
    lengths: Vec<OfLength>,
}

/// Entries whose prefixes have one length.
#[derive(Debug)]
struct OfLength {
    length: u8,
    entries: HashMap<Prefix, (Block, BlockCount)>,
}

impl BlockTable {
    /// Of these entries, each with its count.
    pub fn new(entries: impl IntoIterator<Item = (Prefix, Block, BlockCount)>) -> Self {
        let mut lengths: Vec<OfLength> = Vec::new();
        for (prefix, block, count) in entries {
            let length = prefix.length();
            let at = lengths.binary_search_by(|of| length.cmp(&of.length)).unwrap_or_else(|at| {
                lengths.insert(at, OfLength { length, entries: HashMap::new() });
                at
            });
            lengths[at].entries.insert(prefix, (block, count));
        }
        Self { lengths }
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        let entries: usize = self.lengths.iter().map(|of| of.entries.len()).sum();
        u32::try_from(entries).unwrap_or(u32::MAX)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The entry with the longest prefix that holds `address`, which may have ended by now.
    pub(super) fn find(&self, address: &Address) -> Option<&(Block, BlockCount)> {
        self.lengths.iter().find_map(|of| of.entries.get(&Prefix::around(address, of.length)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use router_common::maps::BlockAction;

    use super::*;

    fn table(prefixes: &[Prefix]) -> BlockTable {
        let entry = |(id, &prefix)| (prefix, Block::new(BlockAction::Drop, id, 0), BlockCount::default());
        BlockTable::new((1..).zip(prefixes).map(entry))
    }

    fn id(table: &BlockTable, address: &Address) -> Option<u32> {
        table.find(address).map(|(block, _)| block.id())
    }

    #[test]
    fn the_longest_prefix_decides() {
        let prefixes = ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1", "2001:db8::/32", "0.0.0.0/0"];
        let table = table(&prefixes.map(|text| text.parse().unwrap()));
        let id = |address: &str| id(&table, &address.parse::<IpAddr>().unwrap().into());
        assert_eq!(table.len(), 5);
        assert_eq!(id("10.2.0.1"), Some(1));
        assert_eq!(id("10.1.2.3"), Some(2));
        assert_eq!(id("10.1.1.1"), Some(3));
        assert_eq!(id("2001:db8:7::1"), Some(4));
        assert_eq!(id("2001:db9::1"), None);
        assert_eq!(id("192.0.2.1"), Some(5));
        assert_eq!(BlockTable::default().find(&Address::ipv4([10, 0, 0, 1])).map(|(block, _)| block.id()), None);
    }

    /// Of those that hold an address, however many there are.
    #[test]
    fn it_is_the_longest_of_those_that_hold_the_address() {
        let address = |last: u8| Address::ipv4([10, 0, 0, last]);
        let all: Vec<_> = (0..8).flat_map(|last| (90..=128).map(move |length| (last, length))).collect();
        for step in [1, 3, 7, 31, 101] {
            let prefixes = all.iter().step_by(step).map(|&(last, length)| Prefix::around(&address(last), length));
            let mut prefixes: Vec<_> = prefixes.collect();
            prefixes.sort();
            prefixes.dedup();
            let table = table(&prefixes);
            for last in 0..16 {
                let holding = (1..).zip(&prefixes).filter(|(_, prefix)| prefix.holds(&address(last)));
                let longest = holding.max_by_key(|(_, prefix)| prefix.length()).map(|(id, _)| id);
                assert_eq!(id(&table, &address(last)), longest, "{last}, every {step}th");
            }
        }
    }
}
