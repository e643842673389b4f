//! What becomes of congestion marks at the end of a tunnel (RFC 6040 section 4.2).

/// The DS field of a packet that comes out of a tunnel, of its own and that of the packet around it. `None`: it is to be
/// dropped, because a router would have dropped it had it not been in a tunnel.
///
/// A packet goes in with its own DS field copied outwards (normal mode, section 4.1).
#[inline(always)]
pub fn decapsulated(inner: u8, outer: u8) -> Option<u8> {
    match (inner & ECN, outer & ECN) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) | (CE, _) => Some(inner),
        (_, CE) => Some(inner | CE),
        (ECT_0, ECT_1) => Some(inner & !ECN | ECT_1),
        (_, _) => Some(inner),
    }
}

const ECN: u8 = 3;
const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// Figure 4 of the RFC, with a code point of differentiated services that stays.
    #[test]
    fn by_the_table() {
        let dscp = 0xb8;
        for (inner, expected) in [
            (NOT_ECT, [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None]),
            (ECT_0, [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)]),
            (ECT_1, [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)]),
            (CE, [Some(CE); 4]),
        ] {
            for (outer, expected) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(expected) {
                let left = decapsulated(dscp | inner, outer);
                assert_eq!(left, expected.map(|mark| dscp | mark), "{inner} in {outer}");
            }
        }
    }
}
