//! Whom a node says hello to.

use std::{cmp::Reverse, collections::BTreeSet};

use router_common::siphash;

use crate::membership::NodeNumber;

/// In a cluster of up to so many nodes, each says hello to each other: at 64, 63 small datagrams a second.
pub const EVERYONE_UP_TO: usize = 64;

/// In a larger one, each node says hello to so many others.
pub const AUDIENCE_SIZE: usize = 16;

/// The nodes of `nodes` that `speaker` says hello to, never itself. All others in a cluster of up to
/// [`EVERYONE_UP_TO`] nodes, else the [`AUDIENCE_SIZE`] with the highest rendezvous hash of the two numbers. The speaker
/// belongs to the cluster, be it one of `nodes` or not.
///
/// It is a function of the arguments alone: nodes that know of the same nodes agree on who hears whom, and when a node
/// comes or goes, an audience changes by one place at most.
pub fn audience(speaker: NodeNumber, nodes: &BTreeSet<NodeNumber>) -> BTreeSet<NodeNumber> {
    let others = nodes.iter().copied().filter(|&node| node != speaker);
    let count = nodes.len() + usize::from(!nodes.contains(&speaker));
    if count <= EVERYONE_UP_TO {
        return others.collect();
    }
    let mut ranked: Vec<_> = others.map(|listener| (Reverse(weight(speaker, listener)), listener)).collect();
    ranked.select_nth_unstable(AUDIENCE_SIZE);
    ranked.into_iter().take(AUDIENCE_SIZE).map(|(_, listener)| listener).collect()
}

/// Nobody gains by choosing who hears him, so the key is no secret.
fn weight(speaker: NodeNumber, listener: NodeNumber) -> u64 {
    let [weight, _] = siphash::mac(&[speaker.get().into(), listener.get().into()], [0x6865_6c6c_6f73, 1]);
    weight
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
        let all = nodes(64);
        let heard_by = audience(number(7), &all);
        assert_eq!(heard_by.len(), 63);
        assert!(!heard_by.contains(&number(7)));
        assert!(audience(number(7), &BTreeSet::from([number(7)])).is_empty());
    }

    #[test]
    fn the_speaker_belongs_to_the_cluster() {
        let (with, mut without) = (nodes(65), nodes(65));
        without.remove(&number(7));
        assert_eq!(audience(number(7), &with), audience(number(7), &without));
    }

    #[test]
    fn in_a_large_cluster_each_is_heard_by_as_many_and_hears_about_as_many() {
        let all = nodes(300);
        let mut hears = vec![0; 301];
        for &speaker in &all {
            let listeners = audience(speaker, &all);
            assert_eq!(listeners.len(), AUDIENCE_SIZE);
            assert!(!listeners.contains(&speaker));
            listeners.iter().for_each(|listener| hears[usize::from(listener.get())] += 1);
        }
        assert!(hears[1..].iter().all(|&count| (2..=40).contains(&count)), "{hears:?}");
    }

    #[test]
    fn one_node_more_changes_one_place_at_most() {
        let (before, after) = (nodes(100), nodes(101));
        for &speaker in &before {
            let stay = audience(speaker, &before).intersection(&audience(speaker, &after)).count();
            assert!(stay >= AUDIENCE_SIZE - 1, "{speaker}: {stay}");
        }
    }

    /// Nodes of different versions have to agree.
    #[test]
    fn an_audience_is_the_same_in_every_version() {
        let listeners: Vec<_> = audience(number(7), &nodes(100)).into_iter().map(NodeNumber::get).collect();
        assert_eq!(listeners, [4, 11, 20, 31, 32, 47, 49, 52, 55, 60, 61, 66, 68, 80, 90, 92]);
    }
}
