//! First flights by where they come from: a prefix of addresses each.
//!
//! What comes unasked is counted in a sketch of cells that prefixes share, four of them each: a flood of forged addresses
//! takes no memory and drives nothing out of it. Only where all four are full has a prefix had its share; then its
//! clients are asked, which harms none that shares the cells by chance. What a client that was asked sends is counted
//! by the prefix itself.

use crate::{frame::Address, hash};

/// The prefix that an address is counted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourcePrefix {
    first: u64,
    second: u64,
}

/// Rows of the sketch: a prefix has a cell in each.
pub const SKETCH_ROWS: usize = 4;
/// Cells of a row.
pub const SKETCH_COLUMNS: u32 = 16_384;
/// Cells of all rows.
pub const SKETCH_CELLS: u32 = SKETCH_ROWS as u32 * SKETCH_COLUMNS;

impl SourcePrefix {
    /// The first `bits` of `address`, 0 to 128; of an IPv4 address, as it is mapped into IPv6.
    #[inline(always)]
    pub fn of(address: &Address, bits: u32) -> Self {
        let [first, second] = address.words();
        Self { first: first & mask(bits), second: second & mask(bits.saturating_sub(64)) }
    }

    /// Its first address.
    #[inline(always)]
    pub fn address(&self) -> Address {
        Address::of_words([self.first, self.second])
    }

    /// Its cells, one of each row, under `seed`.
    #[inline(always)]
    pub fn cells(&self, seed: [u64; 2]) -> [u32; SKETCH_ROWS] {
        let hash = hash::words([self.first, self.second, OF_SOURCES], seed);
        let cell = |row: u32| row * SKETCH_COLUMNS + ((hash >> (16 * row)) as u32 & (SKETCH_COLUMNS - 1));
        [cell(0), cell(1), cell(2), cell(3)]
    }
}

/// Takes from each of a prefix's cells, by `take`, which says whether there was room; whether any had room.
#[inline(always)]
pub fn take_from_any(cells: [u32; SKETCH_ROWS], mut take: impl FnMut(u32) -> bool) -> bool {
    let [first, second, third, fourth] = cells;
    let (first, second, third, fourth) = (take(first), take(second), take(third), take(fourth));
    first || second || third || fourth
}

/// The first `bits` of a word.
#[inline(always)]
fn mask(bits: u32) -> u64 {
    match bits {
        0 => 0,
        1..64 => !(u64::MAX >> bits),
        _ => u64::MAX,
    }
}

/// Sets the hash of a source apart from others under the same seed, which have their length there.
const OF_SOURCES: u64 = u64::from_le_bytes(*b"sources\xff");

#[cfg(test)]
mod tests {
    use core::net::IpAddr;
    use std::{collections::BTreeSet, vec, vec::Vec};

    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn an_address_is_counted_by_its_first_bits() {
        for (text, bits, first) in [
            ("192.0.2.77", 96 + 24, "192.0.2.0"),
            ("192.0.2.77", 128, "192.0.2.77"),
            ("192.0.2.77", 96, "0.0.0.0"),
            ("2001:db8:1:2ff:3::4", 56, "2001:db8:1:200::"),
            ("2001:db8:1:2ff:3::4", 64, "2001:db8:1:2ff::"),
            ("2001:db8:1:2ff:8000::4", 65, "2001:db8:1:2ff:8000::"),
            ("2001:db8:1:2ff:3::4", 1, "::"),
        ] {
            assert_eq!(SourcePrefix::of(&address(text), bits).address(), address(first), "{text}, {bits}");
        }
    }

    #[test]
    fn cells_are_of_their_rows_and_spread() {
        let mut seen = [(); SKETCH_ROWS].map(|()| BTreeSet::new());
        for n in 0..2_000_u32 {
            let prefix = SourcePrefix::of(&Address::ipv4((n << 8).to_be_bytes()), 120);
            for (row, cell) in (0..).zip(prefix.cells([1, 2])) {
                assert_eq!(cell / SKETCH_COLUMNS, row);
                seen[row as usize].insert(cell);
            }
        }
        // Of 2,000 in 16,384 cells some 120 meet another.
        assert!(seen.iter().all(|cells| cells.len() > 1_800), "{:?}", seen.map(|cells| cells.len()));
        let prefix = SourcePrefix::of(&address("192.0.2.1"), 120);
        assert_ne!(prefix.cells([1, 2]), prefix.cells([1, 3]));
    }

    #[test]
    fn each_cell_is_taken_from_and_one_with_room_suffices() {
        for has_room in 0..16 {
            let mut taken = Vec::new();
            let any = take_from_any([0, 1, 2, 3], |cell| {
                taken.push(cell);
                has_room >> cell & 1 != 0
            });
            assert_eq!((any, taken), (has_room != 0, vec![0, 1, 2, 3]));
        }
    }
}
