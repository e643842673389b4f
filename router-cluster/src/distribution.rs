//! Which node gets the new connections of which hash, where nodes place them by hash.
//!
//! Maglev's table (Eisenbud et al., NSDI 2016, section 3.4), as the assignment of slots within a node is: even shares,
//! and when a node comes or goes, nearly all entries of the others stay. It is a function of its arguments alone, so all
//! nodes that know of the same nodes, weights and seed have the same table.

use std::collections::BTreeMap;

use router_common::{maps::NODE_ASSIGNMENT_SIZE, siphash};

use crate::membership::NodeNumber;

const SIZE: usize = NODE_ASSIGNMENT_SIZE as usize;

/// The table of [`NODE_ASSIGNMENT_SIZE`] entries for `weights`: the active nodes, each with its share of new connections relative to the others'. A node of
/// weight 0 gets none. Without a node that gets any, every entry is `None`.
///
/// `seed` is the cluster's, so that clients cannot know which node a connection ID leads to.
pub fn distribution(weights: &BTreeMap<NodeNumber, u16>, seed: [u64; 2]) -> Vec<Option<NodeNumber>> {
    let mut table = vec![None; SIZE];
    let heaviest = weights.values().copied().max().unwrap_or(0).into();
    let mut nodes: Vec<_> = weights.iter().map(|(&node, &weight)| Share::new(node, weight, seed)).collect();
    let mut free = if heaviest == 0 { 0 } else { SIZE };
    while free > 0 {
        for share in &mut nodes {
            // The heaviest takes an entry each turn, the others one each so many turns: their entries spread over the
            // turns, so the last turn, which need not be whole, costs nobody more than one entry.
            share.credit += share.weight;
            if share.credit < heaviest || free == 0 {
                continue;
            }
            share.credit -= heaviest;
            let index = share.next_free(&table);
            table[index] = Some(share.node);
            free -= 1;
        }
    }
    table
}

/// A node, and its order of preference over the entries: a permutation.
struct Share {
    node: NodeNumber,
    weight: u32,
    credit: u32,
    next: usize,
    skip: usize,
}

impl Share {
    fn new(node: NodeNumber, weight: u16, seed: [u64; 2]) -> Self {
        let size = SIZE as u64;
        let [offset, skip] = siphash::mac(&[node.get().into()], seed);
        let (next, skip) = ((offset % size) as usize, (skip % (size - 1) + 1) as usize);
        Self { node, weight: weight.into(), credit: 0, next, skip }
    }

    /// The caller knows that there is one.
    fn next_free(&mut self, table: &[Option<NodeNumber>]) -> usize {
        loop {
            let index = self.next;
            self.next = (self.next + self.skip) % table.len();
            if table[index].is_none() {
                return index;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 42];

    fn number(number: u16) -> NodeNumber {
        NodeNumber::new(number).unwrap()
    }

    fn equals(count: u16) -> BTreeMap<NodeNumber, u16> {
        (1..=count).map(|node| (number(node), 100)).collect()
    }

    fn shares(table: &[Option<NodeNumber>]) -> BTreeMap<NodeNumber, usize> {
        let mut shares = BTreeMap::new();
        table.iter().for_each(|node| *shares.entry(node.unwrap()).or_default() += 1);
        shares
    }

    #[test]
    fn equal_nodes_get_equal_shares() {
        for count in [1, 2, 3, 4, 7, 64, 1_000] {
            let shares = shares(&distribution(&equals(count), SEED));
            assert_eq!(shares.len(), usize::from(count));
            let even = SIZE / usize::from(count);
            assert!(shares.values().all(|&share| share == even || share == even + 1), "{count}: {shares:?}");
        }
    }

    #[test]
    fn shares_follow_the_weights() {
        let weights = BTreeMap::from([(number(3), 100), (number(5), 250), (number(9), 50), (number(700), 1)]);
        let table = distribution(&weights, SEED);
        assert_eq!(table.len(), SIZE);
        for (node, share) in shares(&table) {
            let wanted = SIZE as f64 * f64::from(weights[&node]) / 401.0;
            assert!((share as f64 - wanted).abs() <= 2.0, "{node}: {share} instead of {wanted}");
        }
    }

    #[test]
    fn a_node_of_weight_0_gets_nothing() {
        let weights = BTreeMap::from([(number(1), 0), (number(2), 7)]);
        assert!(distribution(&weights, SEED).iter().all(|&node| node == Some(number(2))));
        for nobody in [BTreeMap::new(), BTreeMap::from([(number(1), 0)])] {
            let table = distribution(&nobody, SEED);
            assert!(table.len() == SIZE && table.iter().all(Option::is_none));
        }
    }

    #[test]
    fn a_node_that_goes_or_comes_moves_few_entries_of_the_others() {
        for count in [3, 8, 32] {
            let all = equals(count);
            let mut fewer = all.clone();
            fewer.remove(&number(2));
            let (with, without) = (distribution(&all, SEED), distribution(&fewer, SEED));
            let mut pairs = with.iter().zip(&without);
            let moved = pairs.by_ref().filter(|(with, without)| **with != Some(number(2)) && with != without).count();
            // Those that the node itself had have to move.
            assert!(moved < SIZE / 10, "{count}: {moved}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let weights = equals(4);
        assert_eq!(distribution(&weights, SEED), distribution(&weights, SEED));
        let [table, other] = [SEED, [1, 2]].map(|seed| distribution(&weights, seed));
        let same = table.iter().zip(&other).filter(|(one, other)| one == other).count();
        assert!((SIZE / 5..SIZE / 3).contains(&same), "{same}");
    }

    /// All nodes of a cluster must have the same table, also while they run different versions: this one may not change.
    #[test]
    fn the_table_is_the_same_in_every_version() {
        let weights = BTreeMap::from([(number(1), 100), (number(2), 200), (number(3), 150)]);
        let table: Vec<_> = distribution(&weights, SEED).iter().map(|node| node.unwrap().get()).collect();
        assert_eq!(table[..12], [1, 1, 3, 3, 2, 2, 3, 3, 2, 2, 3, 2]);
        let sum = table.iter().fold(0_u64, |sum, &node| sum.wrapping_mul(31).wrapping_add(node.into()));
        assert_eq!(sum, 4_641_885_448_481_779_157);
    }
}
