//! `sketch` and `sources`: how many first flights came from a prefix.

use crate::{admission::SourcePrefix, frame::Address};

/// Entries of `sources`: beyond them the kernel forgets those that were not looked up for longest.
pub const SOURCES_MAX: u32 = 65_536;

/// Value of `sketch`: what was let through of the prefixes that share the cell.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SketchCell {
    word: u64,
}

const _: () = assert!(size_of::<SketchCell>() == 8);

impl SketchCell {
    /// What [`Rate`](crate::admission::Rate) reckons with.
    pub fn word(&self) -> u64 {
        self.word
    }
}

/// Key of `sources`: the first address of a prefix.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceKey {
    address: [u8; 16],
}

const _: () = assert!(size_of::<SourceKey>() == 16);

impl From<SourcePrefix> for SourceKey {
    #[inline(always)]
    fn from(prefix: SourcePrefix) -> Self {
        Self { address: prefix.address().octets().0 }
    }
}

impl SourceKey {
    /// The first address of the prefix.
    pub fn address(&self) -> Address {
        Address::new(self.address)
    }
}

/// Value of `sources`: first flights of clients of a prefix that have shown that they receive there.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SourceCount {
    word: u64,
    admitted: u64,
    refused: u64,
}

const _: () = assert!(size_of::<SourceCount>() == 24);

impl SourceCount {
    /// After the first one, which is let through.
    #[inline(always)]
    pub fn begin(word: u64) -> Self {
        Self { word, admitted: 1, refused: 0 }
    }

    /// What [`Rate`](crate::admission::Rate) reckons with.
    #[inline(always)]
    pub fn word(&self) -> u64 {
        self.word
    }

    /// Counts one more, which is let through and makes the word `next`, or is not. CPUs may do so at the same time: then
    /// one of them may not be counted.
    #[inline(always)]
    pub fn count(&mut self, next: Option<u64>) {
        match next {
            Some(word) => {
                self.word = word;
                self.admitted = self.admitted.wrapping_add(1);
            }
            None => self.refused = self.refused.wrapping_add(1),
        }
    }

    /// How many were let through.
    pub fn admitted(&self) -> u64 {
        self.admitted
    }

    /// How many were not.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}
