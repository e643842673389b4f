//! Bytes that say by themselves whether they are the right ones, and in the right place.
//!
//! The upstream serves them and the tests compare: octet `i` of a body is octet `i % 8` of
//! a mixed `i / 8`, so no two stretches are alike, and no file is needed.

/// The octets `from..to` of the endless pattern.
pub fn pattern(from: u64, to: u64) -> Vec<u8> {
    let mut octets = Vec::with_capacity(usize::try_from(to - from).unwrap_or_default() + 8);
    for word in from / 8..to.div_ceil(8) {
        octets.extend(mix(word).to_le_bytes());
    }
    octets.drain(..usize::try_from(from % 8).unwrap_or_default());
    octets.truncate(usize::try_from(to - from).unwrap_or_default());
    octets
}

/// The finalizer of SplitMix64.
fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// SHA-256 of `octets` in hex, as the upstream's answers carry it.
pub fn sha256(octets: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref())
}

/// `octets` in hex.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The octets that `hex` stands for.
///
/// # Panics
/// If it is not hex: what is read here was printed by a program.
pub fn unhex(hex: &str) -> Vec<u8> {
    let octet = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(octet).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_stretch_is_a_part_of_the_whole() {
        let whole = pattern(0, 100);
        assert_eq!(whole.len(), 100);
        for (from, to) in [(0, 1), (3, 17), (8, 16), (99, 100), (50, 50)] {
            assert_eq!(pattern(from, to), whole[from as usize..to as usize], "{from}..{to}");
        }
    }

    #[test]
    fn a_known_digest() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
