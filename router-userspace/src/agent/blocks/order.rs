//! In which order entries are written, so that at no moment less is kept out than both the old list and the new one
//! keep out.
//!
//! Each packet is decided about by the longest prefix there is at that moment. What is stronger is set before what is
//! weaker, and what is weaker is removed before what is stronger, all of it after the last one was set. Then an address
//! that both lists drop has, at every moment, a longest prefix that drops: of the old list until the new one's is there,
//! of the new one from then on.

use std::collections::BTreeMap;

use router_common::{
    admission::Prefix,
    maps::{Block, BlockAction},
};

/// One write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::agent) enum Write {
    /// An entry, in place of the one that the prefix had.
    Set {
        prefix: Prefix,
        block: Block,
        /// The id of the one it takes the place of, if that is another.
        instead_of: Option<u32>,
    },
    /// The entry of a prefix, which has this id.
    Remove { prefix: Prefix, id: u32 },
}

impl Write {
    /// The prefix that it is about.
    pub(super) fn prefix(&self) -> Prefix {
        match self {
            Self::Set { prefix, .. } | Self::Remove { prefix, .. } => *prefix,
        }
    }
}

/// What to write, from what is in force to what is wanted.
pub(super) fn writes(in_force: &BTreeMap<Prefix, Block>, wanted: &BTreeMap<Prefix, Block>) -> Vec<Write> {
    let mut set: Vec<(&Prefix, &Block)> =
        wanted.iter().filter(|(prefix, block)| in_force.get(prefix) != Some(block)).collect();
    let mut remove: Vec<(&Prefix, &Block)> =
        in_force.iter().filter(|(prefix, _)| !wanted.contains_key(prefix)).collect();
    set.sort_by_key(|(_, block)| std::cmp::Reverse(strength(block)));
    remove.sort_by_key(|(_, block)| strength(block));
    let set = set.into_iter().map(|(&prefix, &block)| {
        let before = in_force.get(&prefix).map(Block::id);
        Write::Set { prefix, block, instead_of: before.filter(|&id| id != block.id()) }
    });
    let remove = remove.into_iter().map(|(&prefix, block)| Write::Remove { prefix, id: block.id() });
    set.chain(remove).collect()
}

/// Allow, challenge, drop; what is none of these is the weakest.
fn strength(block: &Block) -> Option<BlockAction> {
    block.action()
}

#[cfg(test)]
mod tests {
    use router_common::frame::Address;

    use super::*;

    type List = BTreeMap<Prefix, Block>;

    /// The `n`th of many lists: prefixes of a few addresses, one within the other.
    fn list(n: u64) -> List {
        // A step of SplitMix64 for each choice.
        let mut state = n;
        let mut choose = |below: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((mixed ^ (mixed >> 27)) >> 20) % below
        };
        let entry = |id| {
            let (last, length) = (choose(8) as u8, 125 + choose(4) as u8);
            let action = BlockAction::ALL[choose(3) as usize];
            (Prefix::around(&Address::ipv4([10, 0, 0, last]), length), Block::new(action, id, 0))
        };
        (0..n as u32 % 14).map(entry).collect()
    }

    fn decides(list: &List, last: u8) -> Option<BlockAction> {
        let address = Address::ipv4([10, 0, 0, last]);
        let holding = list.iter().filter(|(prefix, _)| prefix.holds(&address));
        holding.max_by_key(|(prefix, _)| prefix.length()).and_then(|(_, block)| block.action())
    }

    #[test]
    fn no_moment_keeps_out_less_than_both_lists_do() {
        let mut most = 0;
        for (before, after) in (0..5_000).map(|n| (list(n), list(n.wrapping_mul(7_919) + 13))) {
            let mut now = before.clone();
            let writes = writes(&before, &after);
            most = most.max(writes.len());
            for write in writes {
                match write {
                    Write::Set { prefix, block, .. } => drop(now.insert(prefix, block)),
                    Write::Remove { prefix, id } => {
                        assert_eq!(now.remove(&prefix).map(|block| block.id()), Some(id));
                    }
                }
                for (last, at_least) in (0..8).flat_map(|n| [(n, BlockAction::Challenge), (n, BlockAction::Drop)]) {
                    let is = |list: &List| decides(list, last) >= Some(at_least);
                    assert!(is(&now) || !is(&before) || !is(&after), "{last}: {before:?}, {after:?}, {write:?}");
                }
            }
            assert_eq!(now, after);
        }
        assert!(most >= 10, "{most} writes at most");
    }

    #[test]
    fn what_stays_is_not_written() {
        let list = list(13);
        assert_eq!(writes(&list, &list), []);
    }
}
