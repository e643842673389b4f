//! How many of an upstream's places each client has, and whether it may have another.
//!
//! A place is a request or stream in flight. One client must not hold so many that no other is served, and a client
//! that is alone must be able to use nearly all. So what a client may have depends on what is free: with a share of
//! three quarters, three times as many places as are free. Alone it gets three quarters of all; two such clients get
//! three sevenths each; and however many there are, the next one that comes finds a place while each of them has one
//! at least. The rule is known from switches, which share their buffers among ports by it (Choudhury and Hahne, Dynamic
//! Queue Length Thresholds, 1998). The places of the line are shared by the same rule.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::address::Prefix;

/// Places by client, counted for the whole node.
#[derive(Default)]
pub(super) struct Shares {
    hasher: RandomState,
    by_client: [Mutex<HashMap<Prefix, u32>>; SHARDS],
}

/// Enough that workers seldom wait for each other.
const SHARDS: usize = 16;

impl Shares {
    /// Counts a place, until it is [put back](Self::put_back).
    pub(super) fn take(&self, client: Prefix) {
        *self.shard(client).entry(client).or_default() += 1;
    }

    /// Counts a place no more that was [taken](Self::take).
    pub(super) fn put_back(&self, client: Prefix) {
        let mut shard = self.shard(client);
        match shard.get_mut(&client) {
            Some(places) if *places > 1 => *places -= 1,
            _ => drop(shard.remove(&client)),
        }
    }

    /// How many a client has.
    pub(super) fn of(&self, client: Prefix) -> u32 {
        self.shard(client).get(&client).copied().unwrap_or(0)
    }

    fn shard(&self, client: Prefix) -> MutexGuard<'_, HashMap<Prefix, u32>> {
        let index = self.hasher.hash_one(client) as usize % SHARDS;
        self.by_client[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a client that has `has` places may have one of `free` others, where its share of all is at most `share`,
/// above 0, at most 1.
pub(super) fn allows(share: f64, has: u32, free: u32) -> bool {
    f64::from(has) * (1.0 - share) < f64::from(free) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{address::Validated, config::Limits};

    /// What clients have that come again and again until none gets more.
    fn greedy(clients: usize, places: u32, share: f64) -> Vec<u32> {
        let mut has = vec![0; clients];
        loop {
            let before = has.clone();
            for client in 0..clients {
                let free = places - has.iter().sum::<u32>();
                if allows(share, has[client], free) {
                    has[client] += 1;
                }
            }
            if has == before {
                return has;
            }
        }
    }

    /// GHSA-7ghq-v6jf-g56c
    #[test]
    fn the_client_that_comes_next_finds_a_place() {
        assert_eq!(greedy(1, 1_024, 0.75), [768]);
        assert_eq!(greedy(2, 1_024, 0.75), [439, 439]);
        assert_eq!(greedy(10, 32, 0.75).iter().sum::<u32>(), 31);
        assert_eq!(greedy(1, 1_024, 0.5), [512]);
        for few in 1..=3 {
            assert_eq!(greedy(1, few, 0.75), [few], "all of a few");
        }
        assert_eq!(greedy(1, 32, 1.0), [32]);
    }

    #[test]
    fn places_are_counted_by_client() {
        let shares = Shares::default();
        let client = |text| Validated::assumed(text).prefix(&Limits::default());
        shares.take(client("[2001:db8::1]:1"));
        shares.take(client("[2001:db8::2]:1"));
        assert_eq!(shares.of(client("[2001:db8::3]:1")), 2);
        shares.put_back(client("[2001:db8::1]:1"));
        assert_eq!(shares.of(client("[2001:db8::3]:1")), 1);
        shares.put_back(client("[2001:db8::2]:1"));
        assert_eq!(shares.of(client("[2001:db8::3]:1")), 0);
        assert!(shares.by_client.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
