//! Where an answer is built that the kernel gives itself: fields of any length, one behind the other.
//!
//! As words, so that a field is two shifts wherever it comes to stand, and its place is within the buffer by a
//! mask, which the kernel's verifier sees. What has been built is then moved to the buffer's other part, where it
//! begins at a fixed place.

use crate::{
    aes::Block,
    bytes::Octets,
    connection_id::{ConnectionId, MAX_LENGTH},
    frame::Address,
};

/// Room for an answer, in octets: the longest is a Retry to an IPv6 address, of 132.
pub const ANSWER_MAX: usize = 136;

/// Room for its headers, in octets: 62 at most, and two so that it is whole words.
pub const HEADERS_MAX: usize = 64;

/// Words that fields are built in: a power of two.
pub(super) const WORDS: usize = 32;

/// Memory to build an answer in, and the answer; of no other use. In the kernel an entry of a map: its stack has
/// no room for it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Scratch {
    words: [u64; WORDS],
    answer: Octets<ANSWER_MAX>,
    headers: Octets<HEADERS_MAX>,
}

const _: () = assert!(size_of::<Scratch>() == 456);

impl Scratch {
    /// With nothing in it.
    pub const EMPTY: Self =
        Self { words: [0; WORDS], answer: Octets([0; ANSWER_MAX]), headers: Octets([0; HEADERS_MAX]) };

    /// The answer, and zeros behind it. What built it tells its length.
    #[inline(always)]
    pub fn answer(&self) -> &Octets<ANSWER_MAX> {
        &self.answer
    }

    /// The headers before it: Ethernet, IP and UDP.
    #[inline(always)]
    pub fn headers(&self) -> &Octets<HEADERS_MAX> {
        &self.headers
    }

    #[inline(always)]
    pub(super) fn headers_mut(&mut self) -> &mut Octets<HEADERS_MAX> {
        &mut self.headers
    }

    /// Fields that begin anew.
    #[inline(always)]
    pub(super) fn fields(&mut self) -> Fields<'_> {
        self.words = [0; WORDS];
        Fields { scratch: self, length: 0 }
    }
}

/// Fields, the first at the upper end of the first word.
pub(super) struct Fields<'a> {
    scratch: &'a mut Scratch,
    length: usize,
}

impl Fields<'_> {
    /// Octets in all of them.
    #[inline(always)]
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The fields as words; zeros behind the last one.
    #[inline(always)]
    pub(super) fn words(&self) -> &[u64; WORDS] {
        &self.scratch.words
    }

    /// Adds the upper `octets` octets of `value`, 8 at most; the others must be zero.
    #[inline(always)]
    fn push(&mut self, value: u64, octets: usize) {
        let (word, shift) = (self.length / 8, 8 * (self.length % 8));
        let words = &mut self.scratch.words;
        words[word % WORDS] |= value >> shift;
        words[(word + 1) % WORDS] |= value << 1 << (63 - shift);
        self.length += octets;
    }

    #[inline(always)]
    pub(super) fn u8(&mut self, value: u8) {
        self.push(u64::from(value) << 56, 1);
    }

    #[inline(always)]
    pub(super) fn u16(&mut self, value: u16) {
        self.push(u64::from(value) << 48, 2);
    }

    #[inline(always)]
    pub(super) fn u32(&mut self, value: u32) {
        self.push(u64::from(value) << 32, 4);
    }

    #[inline(always)]
    pub(super) fn u64(&mut self, value: u64) {
        self.push(value, 8);
    }

    #[inline(always)]
    pub(super) fn block(&mut self, [high, low]: Block) {
        self.u64(high);
        self.u64(low);
    }

    /// Adds an address: 4 octets or 16.
    #[inline(always)]
    pub(super) fn address(&mut self, address: Address) {
        let [high, low] = address_words(address);
        if address.is_ipv4() {
            self.push(low << 32, 4);
        } else {
            self.block([high, low]);
        }
    }

    /// Adds a connection ID behind its length, as long headers and tokens have it.
    #[inline(always)]
    pub(super) fn connection_id(&mut self, id: &ConnectionId) {
        let end = self.length + 1 + id.len().min(MAX_LENGTH);
        self.u8(id.len() as u8);
        // All 20 octets, whatever its length: those behind it are zero, and the next field takes their place.
        let [first, second, third] = id.words().map(u64::swap_bytes);
        self.u64(first);
        self.u64(second);
        self.push(third, 4);
        self.length = end;
    }

    /// Makes what comes behind the first `start` octets the answer; how long that is.
    #[inline(always)]
    pub(super) fn answer_from(self, start: usize) -> usize {
        let Scratch { words, answer, .. } = self.scratch;
        let (from, shift) = (start / 8, 8 * (start % 8));
        for (i, octets) in answer.0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let (word, next) = (words[(from + i) % WORDS], words[(from + i + 1) % WORDS]);
            *octets = (word << shift | next >> 1 >> (63 - shift)).to_be_bytes();
        }
        self.length - start
    }
}

/// An address as two words, big-endian.
#[inline(always)]
pub(super) fn address_words(address: Address) -> [u64; 2] {
    let Octets([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]) = address.octets();
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Wherever fields come to stand, and whatever stood in the buffer before.
        #[test]
        fn fields_stand_one_behind_the_other(
            before: [u64; WORDS],
            ids in [proptest::collection::vec(any::<u8>(), 0..=20), proptest::collection::vec(any::<u8>(), 0..=20)],
            address: [u8; 16],
            ipv4: bool,
            numbers: (u8, u16, u32, u64),
        ) {
            let address = if ipv4 { Address::ipv4(*address.first_chunk().unwrap()) } else { Address::new(address) };
            let mut scratch = Scratch { words: before, answer: Octets([7; ANSWER_MAX]), ..Scratch::EMPTY };
            let mut fields = scratch.fields();
            let mut expected = Vec::new();
            for id in &ids {
                fields.connection_id(&ConnectionId::new(id).unwrap());
                expected.push(id.len() as u8);
                expected.extend(id);
                fields.u8(numbers.0);
                expected.extend(numbers.0.to_be_bytes());
                fields.address(address);
                let octets = address.octets().0;
                expected.extend(if address.is_ipv4() { &octets[12..] } else { &octets[..] });
                fields.u16(numbers.1);
                expected.extend(numbers.1.to_be_bytes());
                fields.u32(numbers.2);
                expected.extend(numbers.2.to_be_bytes());
                fields.u64(numbers.3);
                expected.extend(numbers.3.to_be_bytes());
            }
            prop_assert_eq!(fields.length(), expected.len());
            let start = 1 + ids[0].len();
            prop_assert_eq!(fields.answer_from(start), expected.len() - start);
            let (answer, rest) = scratch.answer().0.split_at(expected.len() - start);
            prop_assert_eq!(answer, &expected[start..]);
            prop_assert!(rest.iter().all(|&octet| octet == 0));
        }
    }
}
