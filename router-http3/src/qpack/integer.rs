//! Prefixed integers (RFC 9204 section 4.1.1, RFC 7541 section 5.1).

use bytes::BufMut;

/// Why there is no integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IntegerError {
    /// More octets belong to it.
    Incomplete,
    /// It takes more than 62 bits, or more octets than one of 62 bits can need.
    TooLarge,
}

/// Octets behind the first that an integer of 62 bits takes at most.
const CONTINUATION_MAX: u32 = 9;

/// An integer whose first octet's low `bits` belong to it.
pub(super) fn read(octets: &mut &[u8], bits: u32) -> Result<u64, IntegerError> {
    let (&first, mut rest) = octets.split_first().ok_or(IntegerError::Incomplete)?;
    let mask = u8::MAX >> (8 - bits);
    let mut value = u64::from(first & mask);
    if first & mask == mask {
        let mut shift = 0;
        loop {
            let (&octet, more) = rest.split_first().ok_or(IntegerError::Incomplete)?;
            rest = more;
            let digit = u64::from(octet & 0x7f);
            // Nine digits of seven bits fit into 63 bits.
            value += digit << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
            if shift == 7 * CONTINUATION_MAX {
                return Err(IntegerError::TooLarge);
            }
        }
        if value >> 62 != 0 {
            return Err(IntegerError::TooLarge);
        }
    }
    *octets = rest;
    Ok(value)
}

/// An integer behind the bits of `first` that are not its own.
pub(super) fn write(first: u8, bits: u32, value: u64, out: &mut impl BufMut) {
    let mask = u64::from(u8::MAX >> (8 - bits));
    if value < mask {
        return out.put_u8(first | value as u8);
    }
    out.put_u8(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541 appendix C.1, and the largest.
    #[test]
    fn the_examples_of_the_rfc() {
        for (value, bits, octets) in [
            (10, 5, &[0b01010][..]),
            (1337, 5, &[0b11111, 0b1001_1010, 0b0000_1010]),
            (42, 8, &[42]),
            ((1 << 62) - 1, 7, &[0x7f, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f]),
        ] {
            let mut written = Vec::new();
            write(0, bits, value, &mut written);
            assert_eq!(written, octets);
            assert_eq!(read(&mut { octets }, bits), Ok(value));
            for end in 0..octets.len() {
                assert_eq!(read(&mut &octets[..end], bits), Err(IntegerError::Incomplete));
            }
        }
    }

    #[test]
    fn what_is_too_large_is_refused_however_long_it_goes_on() {
        let mut above = Vec::new();
        write(0, 7, 1 << 62, &mut above);
        assert_eq!(read(&mut &above[..], 7), Err(IntegerError::TooLarge));
        assert_eq!(read(&mut &[&[0x7f][..], &[0x80; 100]].concat()[..], 7), Err(IntegerError::TooLarge));
        assert_eq!(read(&mut &[&[0x7f][..], &[0xff; 9]].concat()[..], 7), Err(IntegerError::TooLarge));
        assert_eq!(read(&mut &[0x1f, 0x80, 0x80, 0][..], 5), Ok(31), "not the shortest, and allowed");
    }
}
