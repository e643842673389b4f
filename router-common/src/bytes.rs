//! How bytes of a packet are reached: by copy, at an offset, or not at all.
//!
//! Everything that parses does so through [`Bytes`], so there is one bounds check in one
//! place, and the same parser runs over an XDP frame, a socket buffer and a slice.

/// `N` octets, aligned like a word: compilers for the kernel move them by words, and its
/// verifier wants words on the stack aligned.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Octets<const N: usize>(pub [u8; N]);

impl<const M: usize> Octets<M> {
    /// Writes octets over its own, from `AT` on.
    #[inline(always)]
    pub(crate) fn put<const AT: usize, const N: usize>(&mut self, octets: &Octets<N>) {
        const { assert!(AT + N <= M) };
        let mut i = 0;
        while i < N {
            self.0[AT + i] = octets.0[i];
            i += 1;
        }
    }
}

/// A packet, or the linear part of one.
pub trait Bytes {
    /// The `N` octets at offset `at`; `None` unless all of them are there.
    fn read<const N: usize>(&self, at: usize) -> Option<Octets<N>>;

    /// Whether the packet has at least `length` octets, counting also those that
    /// [`read`](Self::read) cannot reach (the fragments of a multi-buffer frame).
    fn holds(&self, length: usize) -> bool;
}

impl Bytes for [u8] {
    #[inline]
    fn read<const N: usize>(&self, at: usize) -> Option<Octets<N>> {
        self.get(at..)?.first_chunk().copied().map(Octets)
    }

    #[inline]
    fn holds(&self, length: usize) -> bool {
        length <= self.len()
    }
}
