//! The keyed hash that spreads client-chosen connection IDs over the assignment, and masks
//! a slot that travels in clear.
//!
//! SipHash-1-3 over the length and the zero-padded octets of the ID. Keyed, so that a
//! client cannot aim connections at one worker; short, because it runs once per packet of
//! a first flight.

use crate::connection_id::ConnectionId;

/// Hashes `cid` under `seed`.
#[inline(always)]
pub fn of(cid: &ConnectionId, seed: [u64; 2]) -> u64 {
    let [first, second, third] = cid.words();
    words([first, second, third | (cid.len() as u64) << 56], seed)
}

/// Hashes three words under `seed`.
#[inline(always)]
pub(crate) fn words(words: [u64; 3], seed: [u64; 2]) -> u64 {
    let mut state = State::new(seed);
    let [first, second, third] = words;
    state.absorb(first);
    state.absorb(second);
    state.absorb(third);
    state.finish()
}

/// The four words of SipHash's state.
struct State(u64, u64, u64, u64);

impl State {
    #[inline(always)]
    fn new([k0, k1]: [u64; 2]) -> Self {
        Self(
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        )
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.3 ^= word;
        self.round();
        self.0 ^= word;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        self.2 ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.0 ^ self.1 ^ self.2 ^ self.3
    }

    #[inline(always)]
    fn round(&mut self) {
        let Self(v0, v1, v2, v3) = self;
        *v0 = v0.wrapping_add(*v1);
        *v2 = v2.wrapping_add(*v3);
        *v1 = v1.rotate_left(13) ^ *v0;
        *v3 = v3.rotate_left(16) ^ *v2;
        *v0 = v0.rotate_left(32);
        *v2 = v2.wrapping_add(*v1);
        *v0 = v0.wrapping_add(*v3);
        *v1 = v1.rotate_left(17) ^ *v2;
        *v3 = v3.rotate_left(21) ^ *v0;
        *v2 = v2.rotate_left(32);
    }
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
