//! Which server is next: a choice among those that may be chosen.
//!
//! The caller tells of each server by its index whether it may be chosen, and with which weight
//! and load; nothing here knows of health, limits or names. What a choice leaves for the next is the
//! worker's own, and a worker is one thread: loads and stores of atomics do for it, without a lock.

use std::{
    cmp::Ordering,
    net::IpAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
};

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{address::Validated, config::Balance};

/// A server that may be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'t> {
    /// Its share beside the others' shares; not zero.
    pub(super) weight: u32,
    /// Requests and streams in flight.
    pub(super) load: u32,
    /// Of its address, the same on every node: see [`key`].
    pub(super) key: u64,
    /// How far its turn has come.
    pub(super) turn: &'t Turn,
}

/// How far one server's turn has come with one worker: nginx's current weight, zero at first.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicI64);

impl Turn {
    /// Adds to it, and gives what it then is.
    fn add(&self, weight: i64) -> i64 {
        let current = self.0.load(Relaxed).wrapping_add(weight);
        self.0.store(current, Relaxed);
        current
    }
}

/// One worker's choices for one upstream.
pub(super) struct Chooser {
    balance: Balance,
    /// How many servers there are.
    count: usize,
    /// Moves on with every choice, to spread equal loads.
    first: AtomicUsize,
    /// A worker is one thread, so the lock is never contended.
    random: Mutex<SmallRng>,
}

impl Chooser {
    pub(super) fn new(balance: Balance, count: usize) -> Self {
        Self::seeded(balance, count, rand::random())
    }

    fn seeded(balance: Balance, count: usize, seed: u64) -> Self {
        let random = Mutex::new(SmallRng::seed_from_u64(seed));
        Self { balance, count, first: AtomicUsize::new(0), random }
    }

    /// One of the servers for which `of` gives a candidate, for the client at `client`; none if
    /// there is no candidate. `of` is asked more than once for some.
    pub(super) fn choose<'t>(&self, client: Validated, of: impl Fn(usize) -> Option<Candidate<'t>>) -> Option<usize> {
        match self.balance {
            Balance::RoundRobin => smooth(self.count, of),
            Balance::LeastRequests => least(self.count, self.first.fetch_add(1, Relaxed), of),
            Balance::RandomTwoChoices => {
                let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                two_choices(self.count, &mut random, of)
            }
            Balance::SourceHash => rendezvous(self.count, client, of),
        }
    }
}

/// nginx's smooth weighted round robin: of weights 5, 1, 1 comes `a a b a c a a`, not five of `a`
/// in a row. A server that is no candidate neither gains nor loses.
fn smooth<'t>(count: usize, of: impl Fn(usize) -> Option<Candidate<'t>>) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(usize, &Turn, i64)> = None;
    for index in 0..count {
        let Some(Candidate { weight, turn, .. }) = of(index) else { continue };
        let weight = i64::from(weight);
        total += weight;
        let current = turn.add(weight);
        if best.is_none_or(|(_, _, highest)| current > highest) {
            best = Some((index, turn, current));
        }
    }
    let (index, turn, _) = best?;
    turn.add(-total);
    Some(index)
}

/// The least load for its weight; of equals each in its turn.
fn least<'t>(count: usize, turn: usize, of: impl Fn(usize) -> Option<Candidate<'t>>) -> Option<usize> {
    let first = turn % count.max(1);
    let in_turn = (first..count).chain(0..first);
    in_turn.filter_map(|index| Some((index, of(index)?))).min_by(|(_, a), (_, b)| by_load(a, b)).map(|(index, _)| index)
}

/// Two different ones at random, by weight, and of these the one with less load for its weight.
fn two_choices<'t>(count: usize, random: &mut SmallRng, of: impl Fn(usize) -> Option<Candidate<'t>>) -> Option<usize> {
    let first = at_random(count, random, &of)?;
    let others = |index| if index == first { None } else { of(index) };
    let Some(second) = at_random(count, random, others) else { return Some(first) };
    match (of(first), of(second)) {
        (Some(a), Some(b)) if by_load(&b, &a).is_lt() => Some(second),
        _ => Some(first),
    }
}

fn at_random<'t>(count: usize, random: &mut SmallRng, of: impl Fn(usize) -> Option<Candidate<'t>>) -> Option<usize> {
    let total: u64 = (0..count).filter_map(&of).map(|candidate| u64::from(candidate.weight)).sum();
    if total == 0 {
        return None;
    }
    let mut left = random.random_range(0..total);
    for index in 0..count {
        let Some(candidate) = of(index) else { continue };
        match left.checked_sub(u64::from(candidate.weight)) {
            Some(rest) => left = rest,
            None => return Some(index),
        }
    }
    // Loads and health change while we look: the last that was one will do.
    (0..count).rev().find(|&index| of(index).is_some())
}

/// What the load per weight would be with the request that is to be placed.
fn by_load(a: &Candidate<'_>, b: &Candidate<'_>) -> Ordering {
    let scaled = |load: u32, weight: u32| (u64::from(load) + 1) * u64::from(weight);
    scaled(a.load, b.weight).cmp(&scaled(b.load, a.weight))
}

/// Weighted rendezvous hashing: each server draws a number from the client's address and its own,
/// and the highest wins. When a server goes, only its clients go elsewhere; when one comes, it
/// gets its share and no other client moves.
fn rendezvous<'t>(count: usize, client: Validated, of: impl Fn(usize) -> Option<Candidate<'t>>) -> Option<usize> {
    let client = match client.ip() {
        IpAddr::V4(v4) => key(&v4.octets()),
        IpAddr::V6(v6) => key(&v6.octets()),
    };
    let score = |candidate: Candidate<'_>| {
        // 53 bits, as many as an f64 tells apart, in the middle of their cell: never 0 or 1.
        let drawn = ((mix(client ^ candidate.key) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        f64::from(candidate.weight) / -drawn.ln()
    };
    let scores = (0..count).filter_map(|index| Some((index, score(of(index)?))));
    scores.max_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(index, _)| index)
}

/// FNV-1a and a finish: the same on every node and in every version, which the standard library's
/// hashes do not promise.
pub(super) fn key(octets: &[u8]) -> u64 {
    let hash = octets
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3));
    mix(hash)
}

/// The finish of SplitMix64: every bit of the input moves every bit of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const ANY_CLIENT: Validated = Validated::assume(SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1));

    fn candidates(weights: &[u32]) -> Vec<Candidate<'static>> {
        let of = |(index, &weight): (usize, &u32)| {
            let turn: &Turn = Box::leak(Box::default());
            Candidate { weight, load: 0, key: key(&[index as u8]), turn }
        };
        weights.iter().enumerate().map(of).collect()
    }

    fn draw(chooser: &Chooser, of: &[Candidate<'_>], times: usize) -> Vec<usize> {
        (0..times).map(|_| chooser.choose(ANY_CLIENT, |index| of.get(index).copied()).unwrap()).collect()
    }

    #[test]
    fn round_robin_is_smooth_and_keeps_to_the_weights() {
        let of = candidates(&[5, 1, 1]);
        let chooser = Chooser::seeded(Balance::RoundRobin, 3, 0);
        assert_eq!(draw(&chooser, &of, 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(draw(&chooser, &of, 7), [0, 0, 1, 0, 2, 0, 0]);
        let even = Chooser::seeded(Balance::RoundRobin, 3, 0);
        assert_eq!(draw(&even, &candidates(&[7, 7, 7]), 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn what_is_no_candidate_is_not_chosen_by_any() {
        let of = candidates(&[1, 1, 1]);
        for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::RandomTwoChoices, Balance::SourceHash] {
            let chooser = Chooser::seeded(balance, 3, 1);
            for _ in 0..50 {
                let one = chooser.choose(ANY_CLIENT, |index| (index != 1).then(|| of[index])).unwrap();
                assert_ne!(one, 1, "{balance:?}");
            }
            assert_eq!(chooser.choose(ANY_CLIENT, |_| None), None, "{balance:?}");
            assert_eq!(chooser.choose(ANY_CLIENT, |index| (index == 2).then(|| of[2])), Some(2), "{balance:?}");
        }
    }

    #[test]
    fn least_requests_goes_by_load_for_the_weight_and_takes_turns_among_equals() {
        let chooser = Chooser::seeded(Balance::LeastRequests, 3, 0);
        let mut of = candidates(&[1, 1, 1]);
        assert_eq!(draw(&chooser, &of, 6), [0, 1, 2, 0, 1, 2]);
        of[0].load = 4;
        of[1].load = 3;
        of[2].load = 5;
        assert_eq!(draw(&chooser, &of, 3), [1, 1, 1]);
        // 5/1, 4/1 and 6/3 with the one to be placed.
        of[2].weight = 3;
        assert_eq!(draw(&chooser, &of, 3), [2, 2, 2]);
    }

    #[test]
    fn placing_by_least_requests_fills_by_weight() {
        let chooser = Chooser::seeded(Balance::LeastRequests, 2, 0);
        let mut of = candidates(&[3, 1]);
        for _ in 0..40 {
            let one = draw(&chooser, &of, 1)[0];
            of[one].load += 1;
        }
        assert_eq!([of[0].load, of[1].load], [30, 10]);
    }

    #[test]
    fn of_two_at_random_the_busier_is_never_taken() {
        let chooser = Chooser::seeded(Balance::RandomTwoChoices, 3, 7);
        let mut of = candidates(&[1, 1, 1]);
        of[1].load = 100;
        let drawn = draw(&chooser, &of, 300);
        let counts = [0, 1, 2].map(|one| drawn.iter().filter(|&&drawn| drawn == one).count());
        assert_eq!(counts[1], 0);
        assert!(counts[0] > 100 && counts[2] > 100, "{counts:?}");
    }

    #[test]
    fn two_choices_go_by_weight() {
        let chooser = Chooser::seeded(Balance::RandomTwoChoices, 2, 7);
        let mut of = candidates(&[3, 1]);
        for _ in 0..400 {
            let one = draw(&chooser, &of, 1)[0];
            of[one].load += 1;
        }
        assert_eq!([of[0].load, of[1].load], [300, 100]);
    }

    fn clients() -> impl Iterator<Item = Validated> {
        (0..4000_u32).map(|n| Validated::by_tcp((std::net::Ipv4Addr::from_bits(0x0a00_0000 + n), 1).into()))
    }

    #[test]
    fn a_client_keeps_its_server_when_another_goes() {
        let chooser = Chooser::seeded(Balance::SourceHash, 4, 0);
        let of = candidates(&[1, 1, 1, 1]);
        let mut moved = 0;
        for client in clients() {
            let before = chooser.choose(client, |index| Some(of[index])).unwrap();
            let after = chooser.choose(client, |index| (index != 2).then(|| of[index])).unwrap();
            assert!(before == after || before == 2, "{client} went from {before} to {after}");
            moved += usize::from(before != after);
        }
        assert!((900..1100).contains(&moved), "{moved} of 4000 had the one that went");
    }

    #[test]
    fn clients_are_spread_by_weight() {
        let chooser = Chooser::seeded(Balance::SourceHash, 3, 0);
        let of = candidates(&[2, 1, 1]);
        let mut counts = [0; 3];
        for client in clients() {
            counts[chooser.choose(client, |index| Some(of[index])).unwrap()] += 1;
        }
        assert!((1900..2100).contains(&counts[0]), "{counts:?}");
        assert!((900..1100).contains(&counts[1]), "{counts:?}");
    }

    #[test]
    fn an_ipv4_client_is_the_same_in_ipv6_s_clothes() {
        let chooser = Chooser::seeded(Balance::SourceHash, 16, 0);
        let of = candidates(&[1; 16]);
        for client in clients().take(100) {
            let IpAddr::V4(v4) = client.ip() else { unreachable!() };
            let mapped = Validated::by_tcp((v4.to_ipv6_mapped(), 2).into());
            let both = [client, mapped].map(|client| chooser.choose(client, |index| Some(of[index])));
            assert_eq!(both[0], both[1]);
        }
    }
}
