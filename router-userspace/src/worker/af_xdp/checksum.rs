//! The internet's checksum (RFC 1071).

/// The sum of the octets as words of 16 bits, in the host's order: the ones' complement sum is the
/// same in any (RFC 1071 section 2).
pub(super) fn sum(octets: &[u8]) -> u64 {
    let (words, rest) = octets.as_chunks::<4>();
    let words: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let (pairs, last) = rest.as_chunks::<2>();
    let pairs: u64 = pairs.iter().map(|pair| u64::from(u16::from_ne_bytes(*pair))).sum();
    words + pairs + last.first().map_or(0, |&octet| u64::from(u16::from_ne_bytes([octet, 0])))
}

/// Carries added in, until 16 bits are left.
pub(super) fn folded(mut sum: u64) -> u16 {
    while sum > u64::from(u16::MAX) {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// What everything adds up to, the checksum among it.
pub(super) const ALL_ONES: u16 = 0xffff;
