//! The assignment: which slot gets the new connections of which hash.
//!
//! Maglev's table (Eisenbud et al., NSDI 2016, section 3.4): even to within a percent or
//! two, and when a slot comes or goes, nearly all other entries stay.

use router_common::{
    identifiers::SlotId,
    maps::{ASSIGNMENT_SIZE, Assigned},
};

/// A slot that gets new connections, and its part of them.
#[derive(Clone, Copy, Debug)]
pub struct WeightedSlot {
    /// The slot.
    pub slot: SlotId,
    /// How many times the share of one of weight 1; at least 1.
    pub weight: u32,
}

/// Fills a table of [`ASSIGNMENT_SIZE`] entries for `slots`.
/// Without slots every entry is [`Assigned::NONE`].
pub fn maglev(slots: &[WeightedSlot]) -> Vec<Assigned> {
    let mut table = vec![Assigned::NONE; ASSIGNMENT_SIZE as usize];
    let mut preferences: Vec<_> = slots.iter().map(|one| (Preferences::of(one.slot), one)).collect();
    let mut free = table.len();
    while free > 0 && !preferences.is_empty() {
        for (preferences, one) in &mut preferences {
            for _ in 0..one.weight.max(1) {
                if free == 0 {
                    return table;
                }
                let index = preferences.next_free(&table);
                table[index] = Assigned::to(one.slot);
                free -= 1;
            }
        }
    }
    table
}

/// A slot's order of preference over the entries: a permutation, the same in every run.
struct Preferences {
    next: usize,
    skip: usize,
}

impl Preferences {
    fn of(slot: SlotId) -> Self {
        let size = u64::from(ASSIGNMENT_SIZE);
        let offset = mix(u64::from(slot)) % size;
        let skip = mix(u64::from(slot) | 1 << 32) % (size - 1) + 1;
        Self { next: offset as usize, skip: skip as usize }
    }

    fn next_free(&mut self, table: &[Assigned]) -> usize {
        loop {
            let index = self.next;
            self.next = (self.next + self.skip) % table.len();
            if table[index] == Assigned::NONE {
                return index;
            }
        }
    }
}

/// The finaliser of SplitMix64: spreads small numbers over all 64 bits.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(table: &[Assigned]) -> [usize; 256] {
        let mut shares = [0; 256];
        for entry in table {
            shares[usize::from(entry.slot().unwrap())] += 1;
        }
        shares
    }

    fn weighing(slot: SlotId, weight: u32) -> WeightedSlot {
        WeightedSlot { slot, weight }
    }

    #[test]
    fn even_shares_are_even() {
        for count in [1, 2, 3, 4, 7, 64, 256_usize] {
            let slots: Vec<_> = SlotId::all().take(count).map(|slot| weighing(slot, 1)).collect();
            let shares = shares(&maglev(&slots));
            let even = ASSIGNMENT_SIZE as usize / count;
            assert!(shares[..count].iter().all(|&share| share == even || share == even + 1), "{count}: {shares:?}");
        }
    }

    #[test]
    fn weights_weigh() {
        let shares = shares(&maglev(&[weighing(SlotId::new(1), 1), weighing(SlotId::new(9), 3)]));
        assert!((shares[9] as f64 / shares[1] as f64 - 3.0).abs() < 0.01, "{} {}", shares[1], shares[9]);
    }

    #[test]
    fn losing_a_slot_moves_few_entries_of_the_others() {
        let all: Vec<_> = SlotId::all().take(8).map(|slot| weighing(slot, 1)).collect();
        let before = maglev(&all);
        let after = maglev(&all[..7]);
        let moved = before.iter().zip(&after).filter(|(b, a)| b.slot() != Some(SlotId::new(7)) && b != a).count();
        assert!(moved < ASSIGNMENT_SIZE as usize / 10, "{moved}");
    }

    #[test]
    fn nobody_gets_anything_without_slots() {
        assert!(maglev(&[]).iter().all(|entry| *entry == Assigned::NONE));
    }
}
