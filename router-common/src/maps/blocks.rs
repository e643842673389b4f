//! `blocks`, `block_hits` and `block_totals`: prefixes of addresses that the operator named, and what came from there.

use crate::{
    admission::{Listed, Prefix},
    frame::Address,
};

/// Entries of the list, of the configured files and of the verbs together.
pub const BLOCKS_MAX: u32 = 100_000;

/// Entries of `blocks` and of `block_hits`: a reload writes what is new before it removes what is old, so both have to
/// have room.
pub const BLOCKS_CAPACITY: u32 = 2 * BLOCKS_MAX;

/// Key of `blocks` behind its length: the first address of the prefix.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockKey {
    address: [u8; 16],
}

const _: () = assert!(size_of::<BlockKey>() == 16);

impl BlockKey {
    /// Bits of an address, by which the longest prefix is found that holds it.
    pub const BITS: u32 = 128;

    /// This address.
    #[inline(always)]
    pub fn new(address: Address) -> Self {
        Self { address: address.octets().0 }
    }

    /// The prefix of `length` bits, as [`Prefix::length`] counts them.
    pub fn prefix(&self, length: u32) -> Option<Prefix> {
        Prefix::of_map(Address::new(self.address), length)
    }
}

/// What becomes of packets from a prefix, unless their connection exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum BlockAction {
    /// They pass what else is asked of a new connection.
    Allow = 1,
    /// Their sender has to show that it receives at its address: a Retry (RFC 9000 section 8.1.2).
    Challenge = 2,
    /// They are dropped.
    Drop = 3,
}

impl BlockAction {
    /// All of them, from the weakest to the strongest.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Challenge, Self::Drop];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Challenge => "challenge",
            Self::Drop => "drop",
        }
    }
}

impl From<BlockAction> for Listed {
    #[inline(always)]
    fn from(action: BlockAction) -> Self {
        match action {
            BlockAction::Allow => Self::Allow,
            BlockAction::Challenge => Self::Challenge,
            BlockAction::Drop => Self::Drop,
        }
    }
}

/// Value of `blocks`: an entry of the list.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    action: u32,
    id: u32,
    until: u64,
}

const _: () = assert!(size_of::<Block>() == 16);

impl Block {
    /// An entry that counts until `until`, in nanoseconds of CLOCK_MONOTONIC; for ever if that is 0. `id` names it in
    /// `block_hits`.
    pub fn new(action: BlockAction, id: u32, until: u64) -> Self {
        Self { action: action as u32, id, until }
    }

    /// What becomes of packets.
    #[inline(always)]
    pub fn action(&self) -> Option<BlockAction> {
        match self.action {
            1 => Some(BlockAction::Allow),
            2 => Some(BlockAction::Challenge),
            3 => Some(BlockAction::Drop),
            _ => None,
        }
    }

    /// The same as a key of `block_totals`.
    #[inline(always)]
    pub fn action_number(&self) -> u32 {
        self.action
    }

    /// Its name in `block_hits`.
    #[inline(always)]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Until when it counts, in nanoseconds of CLOCK_MONOTONIC; 0: for ever.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// What it says of the addresses that it is the longest prefix of. The clock is asked only where an end is set.
    #[inline(always)]
    pub fn listed(&self, now: impl FnOnce() -> u64) -> Listed {
        match self.action() {
            Some(action) if self.until == 0 || now() < self.until => action.into(),
            _ => Listed::No,
        }
    }
}

/// Entries of `block_totals`: by action.
pub const BLOCK_TOTALS: u32 = 4;

/// Value of `block_hits`, by an entry's id, and of `block_totals`, by action: packets for which that decided.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockHits {
    packets: u64,
}

const _: () = assert!(size_of::<BlockHits>() == 8);

impl BlockHits {
    /// How many.
    #[inline(always)]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// One more.
    #[inline(always)]
    pub fn count(&mut self) {
        self.packets = self.packets.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_counts_until_its_end() {
        let drop = Block::new(BlockAction::Drop, 7, 500);
        assert_eq!((drop.listed(|| 499), drop.listed(|| 500)), (Listed::Drop, Listed::No));
        let ever = Block::new(BlockAction::Allow, 7, 0);
        assert_eq!(ever.listed(|| panic!("the clock is not asked")), Listed::Allow);
        assert_eq!(Block { action: 9, id: 1, until: 0 }.listed(|| 0), Listed::No);
    }

    #[test]
    fn actions_are_read_as_they_are_written() {
        for action in BlockAction::ALL {
            assert_eq!(Block::new(action, 1, 0).action(), Some(action));
        }
    }
}
