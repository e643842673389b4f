//! SipHash (Aumasson and Bernstein, 2012), over messages of whole words.
//!
//! SipHash-1-3 where the result only spreads connections; SipHash-2-4 with 128 bits where a client must not be
//! able to make it.

/// SipHash-2-4 with 128 bits: the message authentication code of `words` under `key`.
///
/// The message is the words' octets, and the two words that come out stand for theirs, all little-endian, as in
/// the reference implementation. Its running time depends on `N` alone.
#[inline(always)]
pub fn mac<const N: usize>(words: &[u64; N], key: [u64; 2]) -> [u64; 2] {
    let mut state = State::new(key);
    state.1 ^= 0xee;
    for &word in words {
        state.absorb::<2>(word);
    }
    state.absorb::<2>(last_word(N));
    state.2 ^= 0xee;
    let first = state.finish::<4>();
    state.1 ^= 0xdd;
    [first, state.finish::<4>()]
}

/// SipHash-2-4: the same with 64 bits.
#[inline(always)]
pub fn short_mac<const N: usize>(words: &[u64; N], key: [u64; 2]) -> u64 {
    let mut state = State::new(key);
    for &word in words {
        state.absorb::<2>(word);
    }
    state.absorb::<2>(last_word(N));
    state.2 ^= 0xff;
    state.finish::<4>()
}

/// SipHash-1-3 without the word that tells the message's length: messages of one length, or that tell it
/// themselves.
#[inline(always)]
pub(crate) fn short(words: [u64; 3], key: [u64; 2]) -> u64 {
    let mut state = State::new(key);
    let [first, second, third] = words;
    state.absorb::<1>(first);
    state.absorb::<1>(second);
    state.absorb::<1>(third);
    state.2 ^= 0xff;
    state.finish::<3>()
}

/// What the message ends with: its length in octets, as the upper octet of a word.
#[inline(always)]
fn last_word(words: usize) -> u64 {
    (8 * words as u64) << 56
}

/// The four words of the state.
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
    fn absorb<const ROUNDS: usize>(&mut self, word: u64) {
        self.3 ^= word;
        self.rounds::<ROUNDS>();
        self.0 ^= word;
    }

    /// The state as one word, after so many rounds more.
    #[inline(always)]
    fn finish<const ROUNDS: usize>(&mut self) -> u64 {
        self.rounds::<ROUNDS>();
        self.0 ^ self.1 ^ self.2 ^ self.3
    }

    #[inline(always)]
    fn rounds<const ROUNDS: usize>(&mut self) {
        for _ in 0..ROUNDS {
            self.round();
        }
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
    use super::*;

    /// The reference implementation's key: octets 0 to 15.
    const KEY: [u64; 2] = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    /// The message of its vectors: octets 0 to 8N - 1.
    fn message<const N: usize>() -> [u64; N] {
        core::array::from_fn(|word| u64::from_le_bytes(core::array::from_fn(|octet| (8 * word + octet) as u8)))
    }

    fn code<const N: usize>() -> u128 {
        let [first, second] = mac(&message::<N>(), KEY);
        u128::from(first.swap_bytes()) << 64 | u128::from(second.swap_bytes())
    }

    /// Those of the reference implementation's `vectors_sip128` whose messages are whole words.
    #[test]
    fn the_references_vectors() {
        assert_eq!(code::<0>(), 0xa381_7f04_ba25_a8e6_6df6_7214_c755_0293);
        assert_eq!(code::<1>(), 0x3b62_a9ba_6258_f561_0f83_e264_f314_97b4);
        assert_eq!(code::<2>(), 0x6ee2_a4ca_67b0_54bb_fd33_15bf_8523_0577);
        assert_eq!(code::<7>(), 0x1938_f2cf_72d5_4ee9_7e94_166f_a91d_2a36);
    }

    /// Those of `vectors_sip64`.
    #[test]
    fn the_references_shorter_vectors() {
        let code = |code: u64| code.swap_bytes();
        assert_eq!(code(short_mac(&message::<0>(), KEY)), 0x310e_0edd_47db_6f72);
        assert_eq!(code(short_mac(&message::<1>(), KEY)), 0x6224_939a_79f5_f593);
        assert_eq!(code(short_mac(&message::<2>(), KEY)), 0xdb9b_c257_7fcc_2a3f);
    }

    /// One more message, longer than those of the vectors: what OpenSSL 3's SIPHASH makes of octets 0 to 63.
    #[test]
    fn a_message_of_eight_words() {
        assert_eq!(code::<8>(), 0x1eaf_077d_c0d4_cd3f_8cad_4d38_3658_a74b);
    }
}
