//! The keyed hash that spreads client-chosen connection IDs over the assignment, and masks
//! a slot that travels in clear.
//!
//! SipHash-1-3 over the length and the zero-padded octets of the ID. Keyed, so that a
//! client cannot aim connections at one worker; short, because it runs once per packet of
//! a first flight.

use crate::{connection_id::ConnectionId, siphash};

/// Hashes `cid` under `seed`.
#[inline(always)]
pub fn of(cid: &ConnectionId, seed: [u64; 2]) -> u64 {
    let [first, second, third] = cid.words();
    words([first, second, third | (cid.len() as u64) << 56], seed)
}

/// Hashes three words under `seed`.
#[inline(always)]
pub(crate) fn words(words: [u64; 3], seed: [u64; 2]) -> u64 {
    siphash::short(words, seed)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn depends_on_every_octet_on_the_length_and_on_the_seed() {
        let cid = |bytes: &[u8]| ConnectionId::new(bytes).expect("at most 20 octets");
        let seed = [1, 2];
        let base = [7; 20];
        let mut seen = HashSet::from([of(&cid(&base), seed), of(&cid(&base), [1, 3])]);
        for i in 0..20 {
            let mut other = base;
            other[i] ^= 1;
            assert!(seen.insert(of(&cid(&other), seed)), "octet {i}");
        }
        for length in 0..20 {
            assert!(seen.insert(of(&cid(&[0; 20][..length]), seed)), "length {length}");
        }
    }

    #[test]
    fn spreads_evenly() {
        let mut buckets = [0_u32; 16];
        for i in 0..160_000_u64 {
            let cid = ConnectionId::new(&i.to_be_bytes()).expect("8 octets");
            buckets[(of(&cid, [3, 4]) % 16) as usize] += 1;
        }
        for count in buckets {
            assert!((9_500..10_500).contains(&count), "{buckets:?}");
        }
    }
}
