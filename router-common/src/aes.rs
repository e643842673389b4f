//! AES-128 (FIPS 197), with tables: the form that the kernel's verifier accepts.
//!
//! A packet without a flow entry costs one block here (single pass) or three to four, so
//! this is written for speed: four tables of 256 words do a round's substitution, row
//! shift and column mixing in sixteen look-ups, and the rounds are written out, so that
//! every access to a round key has a constant place.
//!
//! It is not constant-time, and where it runs need not be. What a cache-timing attack
//! needs is another program on the same core that times each block; in the kernel a block
//! is one packet among interrupts, and what the key protects is not the traffic, only that
//! an observer cannot tell a connection ID's worker. Userspace, where an attacker could
//! share a core for long, uses the processor's AES instructions instead.

/// 16 octets, as two big-endian words.
pub type Block = [u64; 2];

/// A key, expanded for both directions.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoundKeys {
    encrypt: [u32; WORDS],
    decrypt: [u32; WORDS],
}

const _: () = assert!(size_of::<RoundKeys>() == 352);

impl RoundKeys {
    /// No key.
    pub(crate) const NONE: Self = Self { encrypt: [0; WORDS], decrypt: [0; WORDS] };

    /// Expands `key` (FIPS 197 section 5.2; for decryption the equivalent inverse cipher's
    /// keys, section 5.3.5).
    pub fn expand(key: &[u8; 16]) -> Self {
        let encrypt = expand(key);
        let mut decrypt = [0; WORDS];
        for (round, words) in encrypt.as_chunks::<4>().0.iter().rev().enumerate() {
            for (column, &word) in words.iter().enumerate() {
                let inner = (1..ROUNDS).contains(&round);
                decrypt[4 * round + column] = if inner { mix_inverse(word) } else { word };
            }
        }
        Self { encrypt, decrypt }
    }

    /// Encrypts one block.
    // In the kernel a function of its own: the four-pass network calls it up to four times.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub fn encrypt(&self, block: &mut Block) {
        let key = &self.encrypt;
        let mut state = whiten(block, key);
        rounds!(state, key, ENCRYPT, [0, 1, 2, 3]);
        *block = last_round(state, key, &SUBSTITUTE, [0, 1, 2, 3]);
    }

    /// Decrypts one block.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub fn decrypt(&self, block: &mut Block) {
        let key = &self.decrypt;
        let mut state = whiten(block, key);
        rounds!(state, key, DECRYPT, [0, 3, 2, 1]);
        *block = last_round(state, key, &SUBSTITUTE_INVERSE, [0, 3, 2, 1]);
    }
}

/// The nine inner rounds, written out. Columns are taken `shift` places further on for each row.
macro_rules! rounds {
    ($state:ident, $key:ident, $tables:ident, $shift:expr) => {
        rounds!($state, $key, $tables, $shift, 1 2 3 4 5 6 7 8 9)
    };
    ($state:ident, $key:ident, $tables:ident, $shift:expr, $($round:literal)+) => {
        $(
            $state = [
                u64::from($key[4 * $round]) ^ column($state, 0, &$tables, $shift),
                u64::from($key[4 * $round + 1]) ^ column($state, 1, &$tables, $shift),
                u64::from($key[4 * $round + 2]) ^ column($state, 2, &$tables, $shift),
                u64::from($key[4 * $round + 3]) ^ column($state, 3, &$tables, $shift),
            ];
        )+
    };
}
use rounds;

/// One column after substitution, row shift and mixing.
#[inline(always)]
fn column(state: State, at: usize, tables: &[[u32; 256]; 4], shift: [usize; 4]) -> u64 {
    let row = |row: usize| u64::from(tables[row][octet(state, at + shift[row], row)]);
    row(0) ^ row(1) ^ row(2) ^ row(3)
}

/// The octet in a row of a column.
#[inline(always)]
fn octet(state: State, column: usize, row: usize) -> usize {
    (state[column & 3] >> (24 - 8 * row) & 0xff) as usize
}

/// The state after the first round key.
#[inline(always)]
fn whiten(&[high, low]: &Block, key: &[u32; WORDS]) -> State {
    let column = |half: u64, at: usize| half & 0xffff_ffff ^ u64::from(key[at]);
    [column(high >> 32, 0), column(high, 1), column(low >> 32, 2), column(low, 3)]
}

/// The last round, which mixes no columns.
#[inline(always)]
fn last_round(state: State, key: &[u32; WORDS], table: &[u8; 256], shift: [usize; 4]) -> Block {
    let column = |at: usize| {
        let row = |row: usize| u64::from(table[octet(state, at + shift[row], row)]) << (24 - 8 * row);
        u64::from(key[4 * ROUNDS + at]) ^ (row(0) | row(1) | row(2) | row(3))
    };
    [column(0) << 32 | column(1), column(2) << 32 | column(3)]
}

/// Four columns of 32 bits. In words of 64, because the kernel's instruction set has no
/// narrower registers on every machine, and would mask after each step.
type State = [u64; 4];

/// FIPS 197 section 5.2, with Nk = 4.
fn expand(key: &[u8; 16]) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    for (word, octets) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*octets);
    }
    let mut constant = 1;
    for i in 4..WORDS {
        let mut word = words[i - 1];
        if i % 4 == 0 {
            word = substitute(word.rotate_left(8)) ^ u32::from(constant) << 24;
            constant = double(constant);
        }
        words[i] = words[i - 4] ^ word;
    }
    words
}

fn substitute(word: u32) -> u32 {
    u32::from_be_bytes(word.to_be_bytes().map(|octet| SUBSTITUTE[usize::from(octet)]))
}

/// A column through the inverse of MixColumns (FIPS 197 section 5.3.3).
fn mix_inverse(word: u32) -> u32 {
    let [a, b, c, d] = word.to_be_bytes().map(|octet| usize::from(SUBSTITUTE[usize::from(octet)]));
    DECRYPT[0][a] ^ DECRYPT[1][b] ^ DECRYPT[2][c] ^ DECRYPT[3][d]
}

/// In GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.
const fn double(octet: u8) -> u8 {
    octet << 1 ^ if octet & 0x80 == 0 { 0 } else { 0x1b }
}

const fn multiply(octet: u8, by: u8) -> u32 {
    let (mut product, mut power, mut rest) = (0, octet, by);
    while rest > 0 {
        if rest & 1 == 1 {
            product ^= power;
        }
        power = double(power);
        rest >>= 1;
    }
    product as u32
}

/// The S-box, computed as FIPS 197 section 5.1.1 defines it: inverse, then affine map.
const fn substitutes() -> [u8; 256] {
    let mut table = [0; 256];
    // Powers of 3 run through every octet but 0, powers of its inverse 0xf6 through their inverses.
    let (mut octet, mut inverse) = (1_u8, 1_u8);
    loop {
        let i = inverse;
        table[octet as usize] = i ^ i.rotate_left(1) ^ i.rotate_left(2) ^ i.rotate_left(3) ^ i.rotate_left(4) ^ 0x63;
        octet ^= double(octet);
        inverse = multiply(inverse, 0xf6) as u8;
        if octet == 1 {
            break;
        }
    }
    table[0] = 0x63;
    table
}

const fn inverted(table: [u8; 256]) -> [u8; 256] {
    let mut inverse = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        inverse[table[octet] as usize] = octet as u8;
        octet += 1;
    }
    inverse
}

/// For each row a table from an octet to the column it makes: `table`'s octet times `factors`.
const fn columns(table: [u8; 256], factors: [u8; 4]) -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut octet = 0;
    while octet < 256 {
        let s = table[octet];
        let column = multiply(s, factors[0]) << 24
            | multiply(s, factors[1]) << 16
            | multiply(s, factors[2]) << 8
            | multiply(s, factors[3]);
        let mut row = 0;
        while row < 4 {
            tables[row][octet] = column.rotate_right(8 * row as u32);
            row += 1;
        }
        octet += 1;
    }
    tables
}

const ROUNDS: usize = 10;
/// Words of an expanded key.
const WORDS: usize = 4 * (ROUNDS + 1);

static SUBSTITUTE: [u8; 256] = substitutes();
static SUBSTITUTE_INVERSE: [u8; 256] = inverted(substitutes());
static ENCRYPT: [[u32; 256]; 4] = columns(substitutes(), [2, 1, 1, 3]);
static DECRYPT: [[u32; 256]; 4] = columns(inverted(substitutes()), [14, 9, 13, 11]);

#[cfg(test)]
mod tests {
    use ::aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
    use proptest::prelude::*;

    use super::*;

    fn block(octets: [u8; 16]) -> Block {
        let [high, low] = *octets.as_chunks::<8>().0 else { unreachable!("16 octets are two words") };
        [u64::from_be_bytes(high), u64::from_be_bytes(low)]
    }

    /// FIPS 197 appendix A.1: the expansion of the key 2b7e1516...
    #[test]
    fn expands_the_standards_key() {
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let words = RoundKeys::expand(&key).encrypt;
        assert_eq!(words[4..8], [0xa0fa_fe17, 0x8854_2cb1, 0x23a3_3939, 0x2a6c_7605]);
        assert_eq!(words[40..], [0xd014_f9a8, 0xc9ee_2589, 0xe13f_0cc8, 0xb663_0ca6]);
    }

    /// FIPS 197 appendices B and C.1.
    #[test]
    fn the_standards_blocks() {
        for (key, plain, cipher) in [
            (
                0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128,
                0x3243_f6a8_885a_308d_3131_98a2_e037_0734_u128,
                0x3925_841d_02dc_09fb_dc11_8597_196a_0b32_u128,
            ),
            (
                0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f,
                0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
                0x69c4_e0d8_6a7b_0430_d8cd_b780_70b4_c55a,
            ),
        ] {
            let keys = RoundKeys::expand(&key.to_be_bytes());
            let mut octets = block(plain.to_be_bytes());
            keys.encrypt(&mut octets);
            assert_eq!(octets, block(cipher.to_be_bytes()));
            keys.decrypt(&mut octets);
            assert_eq!(octets, block(plain.to_be_bytes()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn agrees_with_the_crate(key: [u8; 16], plain: [u8; 16]) {
            let (ours, theirs) = (RoundKeys::expand(&key), ::aes::Aes128::new(&key.into()));
            let (mut our_block, mut their_block) = (block(plain), plain.into());
            ours.encrypt(&mut our_block);
            theirs.encrypt_block(&mut their_block);
            prop_assert_eq!(our_block, block(their_block.into()));
            ours.decrypt(&mut our_block);
            theirs.decrypt_block(&mut their_block);
            prop_assert_eq!(our_block, block(plain));
            prop_assert_eq!(<[u8; 16]>::from(their_block), plain);
        }
    }
}
