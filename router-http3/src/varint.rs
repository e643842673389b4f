//! Variable-length integers (RFC 9000 section 16), read in whatever pieces they come.

use bytes::{Buf, BufMut};

/// An integer of which some octets may have been read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct VarintReader {
    value: u64,
    /// Octets still to come; none: the first is.
    missing: Option<u8>,
}

impl VarintReader {
    /// Takes octets of it; the integer, when it is whole.
    pub(crate) fn read(&mut self, octets: &mut impl Buf) -> Option<u64> {
        while octets.has_remaining() {
            let octet = octets.get_u8();
            let missing = match self.missing {
                None => {
                    self.value = u64::from(octet & 0x3f);
                    (1 << (octet >> 6)) - 1
                }
                Some(missing) => {
                    self.value = self.value << 8 | u64::from(octet);
                    missing - 1
                }
            };
            self.missing = (missing > 0).then_some(missing);
            if missing == 0 {
                return Some(self.value);
            }
        }
        None
    }

    /// Some octets were read, but not all.
    pub(crate) fn is_partial(&self) -> bool {
        self.missing.is_some()
    }
}

/// An integer that stands whole at the beginning of `octets`.
pub(crate) fn whole(octets: &mut &[u8]) -> Option<u64> {
    VarintReader::default().read(octets)
}

/// Octets that `value` takes.
pub(crate) const fn length(value: u64) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

/// The shortest encoding; of a value above 2^62 - 1 the low 62 bits.
pub(crate) fn write(value: u64, out: &mut impl BufMut) {
    match length(value) {
        1 => out.put_u8(value as u8),
        2 => out.put_u16(value as u16 | 0x4000),
        4 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9000 appendix A.1.
    #[test]
    fn the_examples_of_the_rfc() {
        for (octets, value) in [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ] {
            assert_eq!(whole(&mut { octets }), Some(value));
            let mut written = Vec::new();
            write(value, &mut written);
            assert_eq!(written, octets);
            for end in 0..octets.len() {
                assert_eq!(whole(&mut &octets[..end]), None);
            }
        }
        assert_eq!(whole(&mut &[0x40, 0x25][..]), Some(37), "not the shortest, and allowed");
    }
}
