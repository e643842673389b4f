//! The integrity tag of a Retry (RFC 9001 section 5.8), without AES.
//!
//! The tag is that of AES-128-GCM over no plaintext, under a key and a nonce that the standard fixes. What AES has
//! to say is then two constants, the hash key H and the mask E(J0), and what remains is GHASH (NIST SP 800-38D
//! section 6.4): the octets before the tag, as the coefficients of a polynomial, at the point H of GF(2^128).
//!
//! A multiplication by H is linear, so it is the sum of what each octet of the other factor contributes, which
//! tables tell: 16 look-ups for a block of 16 octets. There is no secret in any of it.

use super::answer::WORDS;
use crate::aes::Block;

/// The products of H: for each place of an octet in a block, and each octet there.
pub(super) struct Products([[Block; 256]; 16]);

impl Products {
    /// Those of the hash key `h`: 64 KiB.
    pub(super) const fn of(h: Block) -> Self {
        let mut table = [[[0; 2]; 256]; 16];
        let mut power = h;
        let mut place = 0;
        while place < 16 {
            // The first bit is the coefficient of the lowest power of x.
            let mut bit = 0x80;
            while bit > 0 {
                table[place][bit] = power;
                power = times_x(power);
                bit >>= 1;
            }
            let mut octet = 1_usize;
            while octet < 256 {
                let (lowest, others) = (octet & octet.wrapping_neg(), octet & (octet - 1));
                table[place][octet] = sum(table[place][lowest], table[place][others]);
                octet += 1;
            }
            place += 1;
        }
        Self(table)
    }

    /// `block` times H.
    #[inline(always)]
    fn of_block(&self, block: Block) -> Block {
        let mut product = [0; 2];
        for (place, row) in self.0.iter().enumerate() {
            let octet = block[place / 8] >> (56 - 8 * (place % 8)) & 0xff;
            product = sum(product, row[octet as usize]);
        }
        product
    }
}

/// What a version of QUIC has instead of a key and a nonce.
pub(super) struct RetryIntegrity {
    products: Products,
    mask: Block,
}

impl RetryIntegrity {
    /// Of the hash key H, the key's encryption of zeros, and of E(J0), its encryption of the nonce and the counter 1.
    pub(super) const fn new(h: Block, mask: Block) -> Self {
        Self { products: Products::of(h), mask }
    }

    /// The tag of a Retry: of the first `length` octets of `words`, a Retry Pseudo-Packet with zeros behind it.
    #[inline(always)]
    pub(super) fn tag(&self, words: &[u64; WORDS], length: usize) -> Block {
        let mut hash = [0; 2];
        for (block, words) in words.as_chunks::<2>().0.iter().enumerate() {
            if 16 * block >= length {
                break;
            }
            hash = self.products.of_block(sum(hash, *words));
        }
        // Last come the lengths, in bits, of what is authenticated and of what is encrypted, which is nothing.
        sum(self.products.of_block(sum(hash, [8 * length as u64, 0])), self.mask)
    }
}

/// Of version 1: the key be0c690b9f66575a1d766b54e368c84e and the nonce 461599d35d632bf2239825bb.
pub(super) static VERSION_1: RetryIntegrity =
    RetryIntegrity::new([0x7295_6a45_4ffa_ff54, 0x85a1_3a12_44d0_1d47], [0x555e_4b74_9355_6eea, 0xaf75_d35b_d7fb_a5d8]);

/// In GF(2^128) modulo x^128 + x^7 + x^2 + x + 1, whose bits GCM writes lowest power first.
const fn times_x([high, low]: Block) -> Block {
    let reduction = if low & 1 == 0 { 0 } else { 0xe1 << 56 };
    [high >> 1 ^ reduction, low >> 1 | high << 63]
}

#[inline(always)]
const fn sum(a: Block, b: Block) -> Block {
    [a[0] ^ b[0], a[1] ^ b[1]]
}

#[cfg(test)]
mod tests {
    use std::{boxed::Box, vec::Vec};

    use super::*;
    use crate::aes::RoundKeys;

    const KEY_1: u128 = 0xbe0c_690b_9f66_575a_1d76_6b54_e368_c84e;
    const NONCE_1: u128 = 0x4615_99d3_5d63_2bf2_2398_25bb;
    const KEY_2: u128 = 0x8fb4_b01b_56ac_48e2_60fb_cbce_ad7c_cc92;
    const NONCE_2: u128 = 0xd869_69bc_2d7c_6d99_90ef_b04a;

    fn block(value: u128) -> Block {
        [(value >> 64) as u64, value as u64]
    }

    /// What AES makes of a key and a nonce: H and E(J0).
    fn constants(key: u128, nonce: u128) -> (Block, Block) {
        let key = RoundKeys::expand(&key.to_be_bytes());
        let (mut h, mut mask) = ([0; 2], block(nonce << 32 | 1));
        key.encrypt(&mut h);
        key.encrypt(&mut mask);
        (h, mask)
    }

    fn integrity(key: u128, nonce: u128) -> Box<RetryIntegrity> {
        let (h, mask) = constants(key, nonce);
        Box::new(RetryIntegrity::new(h, mask))
    }

    /// The tag of a Retry that answers an Initial to `original`.
    fn tag(integrity: &RetryIntegrity, original: &[u8], retry: &[u8]) -> [u8; 16] {
        let pseudo_packet = [&[original.len() as u8], original, retry].concat();
        let mut words = [0; WORDS];
        for (i, octet) in pseudo_packet.iter().enumerate() {
            words[i / 8] |= u64::from(*octet) << (56 - 8 * (i % 8));
        }
        let [high, low] = integrity.tag(&words, pseudo_packet.len());
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    const ORIGINAL: &str = "8394c8f03e515708";

    /// RFC 9001 appendix A.4, and RFC 9369 appendix A.4.
    #[test]
    fn the_standards_retries() {
        for (integrity, retry) in [
            (&VERSION_1, "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba"),
            (&*integrity(KEY_1, NONCE_1), "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba"),
            (&*integrity(KEY_2, NONCE_2), "cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6"),
        ] {
            let retry = hex(retry);
            let (retry, expected) = retry.split_last_chunk::<16>().unwrap();
            assert_eq!(tag(integrity, &hex(ORIGINAL), retry), *expected);
        }
    }

    #[test]
    fn the_constants_are_those_of_the_standards_key_and_nonce() {
        let (h, mask) = constants(KEY_1, NONCE_1);
        // The first octet's first bit stands for 1, and its last for x^7.
        assert_eq!(VERSION_1.products.0[0][0x80], h);
        assert_eq!(VERSION_1.mask, mask);
        let (h, mask) = constants(KEY_2, NONCE_2);
        assert_eq!(h, block(0x65f6_bee1_0d70_0eda_919c_5c69_78e4_7a5d));
        assert_eq!(mask, block(0x4e90_1396_e3a9_359f_4535_b65e_5ad6_ae51));
    }

    /// Against a multiplication bit by bit.
    #[test]
    fn a_product_is_the_sum_of_powers() {
        let (h, _) = constants(KEY_1, NONCE_1);
        let mut factor = [1, 2];
        for _ in 0..1_000 {
            factor = VERSION_1.products.of_block(sum(factor, [3, 5]));
            let (mut product, mut power) = ([0; 2], h);
            for bit in (0..128).rev() {
                if (u128::from(factor[0]) << 64 | u128::from(factor[1])) >> bit & 1 == 1 {
                    product = sum(product, power);
                }
                power = times_x(power);
            }
            assert_eq!(VERSION_1.products.of_block(factor), product);
        }
    }
}
