//! Whom a node says hello to.

use std::collections::BTreeSet;

use router_common::siphash;

use crate::membership::NodeNumber;

/// In a cluster of up to so many nodes, each says hello to each other: at 64, 63 small datagrams a second.
pub const EVERYONE_UP_TO: usize = 64;

/// In a larger one, each node says hello to so many others: half of them before it on the ring, half of them after it.
pub const AUDIENCE_SIZE: usize = 16;

/// Who says hello to whom: the nodes of a cluster on a ring, in an order that has nothing to do with their numbers, racks
/// or addresses.
///
/// A node's audience are its neighbours on the ring, so if one says hello to another, that one says hello to it: without
/// an answer, neither would learn that it is heard, nor could a new run prove that it is alive. (That each chose by
/// rendezvous hash would not be mutual.) The order depends on the numbers alone: nodes that know of the same nodes agree,
/// and when one comes or goes, each audience changes by one place at most.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Audiences {
    ring: Vec<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    hash: u64,
    node: NodeNumber,
}

impl Place {
    fn of(node: NodeNumber) -> Self {
        // Nobody gains by choosing who hears him, so the key is no secret.
        let [hash, _] = siphash::mac(&[node.get().into()], [0x6865_6c6c_6f73, 1]);
        Self { hash, node }
    }
}

impl Audiences {
    /// Those of a cluster of `nodes`.
    pub fn new(nodes: &BTreeSet<NodeNumber>) -> Self {
        let mut ring: Vec<_> = nodes.iter().copied().map(Place::of).collect();
        ring.sort_unstable();
        Self { ring }
    }

    /// The nodes that `speaker` says hello to, and that say hello to it: all others in a cluster of up to
    /// [`EVERYONE_UP_TO`] nodes, else [`AUDIENCE_SIZE`]. The speaker counts as one of the cluster, be it there or not.
    pub fn of(&self, speaker: NodeNumber) -> BTreeSet<NodeNumber> {
        let own = Place::of(speaker);
        let at = self.ring.partition_point(|place| *place < own);
        let is_there = self.ring.get(at) == Some(&own);
        let before = self.ring[..at].iter().rev().chain(self.ring[at..].iter().rev());
        let after = self.ring[at..].iter().skip(usize::from(is_there)).chain(&self.ring[..at]);
        let each =
            if self.ring.len() + usize::from(!is_there) <= EVERYONE_UP_TO { EVERYONE_UP_TO } else { AUDIENCE_SIZE / 2 };
        let neighbours = before.take(each).chain(after.take(each)).map(|place| place.node);
        neighbours.filter(|&node| node != speaker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u16) -> BTreeSet<NodeNumber> {
        (1..=count).filter_map(NodeNumber::new).collect()
    }

    fn number(number: u16) -> NodeNumber {
        NodeNumber::new(number).unwrap()
    }

    #[test]
    fn all_others_hear_a_node_of_a_small_cluster() {
        for count in [2, 3, 17, 64] {
            let audiences = Audiences::new(&nodes(count));
            for speaker in nodes(count) {
                let mut others = nodes(count);
                others.remove(&speaker);
                assert_eq!(audiences.of(speaker), others);
            }
        }
        assert!(Audiences::new(&nodes(1)).of(number(1)).is_empty());
        assert!(Audiences::new(&BTreeSet::new()).of(number(1)).is_empty());
    }

    #[test]
    fn in_a_large_cluster_each_hears_those_that_hear_it() {
        for count in [65, 300, 1_024] {
            let audiences = Audiences::new(&nodes(count));
            for speaker in nodes(count) {
                let listeners = audiences.of(speaker);
                assert_eq!(listeners.len(), AUDIENCE_SIZE);
                assert!(!listeners.contains(&speaker));
                assert!(listeners.iter().all(|&listener| audiences.of(listener).contains(&speaker)), "{speaker}");
            }
        }
    }

    #[test]
    fn the_speaker_belongs_to_the_cluster() {
        for speaker in nodes(65) {
            let mut without = nodes(65);
            without.remove(&speaker);
            assert_eq!(Audiences::new(&nodes(65)).of(speaker), Audiences::new(&without).of(speaker));
        }
    }

    #[test]
    fn one_node_more_changes_one_place_at_most() {
        let [before, after] = [100, 101].map(|count| Audiences::new(&nodes(count)));
        for speaker in nodes(100) {
            let stay = before.of(speaker).intersection(&after.of(speaker)).count();
            assert!(stay >= AUDIENCE_SIZE - 1, "{speaker}: {stay}");
        }
    }

    /// Nodes of different versions have to agree.
    #[test]
    fn an_audience_is_the_same_in_every_version() {
        let listeners: Vec<_> = Audiences::new(&nodes(100)).of(number(7)).into_iter().map(NodeNumber::get).collect();
        assert_eq!(listeners, [2, 6, 8, 12, 15, 20, 21, 34, 48, 49, 51, 56, 64, 71, 77, 83]);
    }
}
