//! An encoded field section (RFC 9204 section 4.5), looked at without being decoded.

/// Whether no pseudo-header field follows a regular one (RFC 9114 section 4.3).
///
/// What cannot be read is left to the decoder: it is in order here. So are references to the
/// dynamic table, which we do not offer.
pub(super) fn pseudo_fields_come_first(section: &[u8]) -> bool {
    let mut rest = section;
    let prefix = integer(&mut rest, 8).and_then(|_required_insert_count| integer(&mut rest, 7));
    let mut regular_seen = false;
    while prefix.is_some() && !rest.is_empty() {
        match next_is_pseudo(&mut rest) {
            Some(true) if regular_seen => return false,
            Some(pseudo) => regular_seen |= !pseudo,
            None => return true,
        }
    }
    true
}

/// Reads over a field line; whether its name begins with a colon.
fn next_is_pseudo(rest: &mut &[u8]) -> Option<bool> {
    let first = *rest.first()?;
    if first & 0x80 != 0 {
        // Indexed; T tells whether in the static table.
        let index = integer(rest, 6)?;
        return (first & 0x40 != 0).then(|| is_pseudo(index));
    }
    let pseudo = if first & 0x40 != 0 {
        // Literal with name reference.
        let index = integer(rest, 4)?;
        (first & 0x10 != 0).then(|| is_pseudo(index))?
    } else if first & 0x20 != 0 {
        // Literal with literal name.
        let length = integer(rest, 3)?;
        let name = take(rest, length)?;
        begins_with_colon(name, first & 0x08 != 0)
    } else {
        return None;
    };
    let length = integer(rest, 7)?;
    take(rest, length)?;
    Some(pseudo)
}

/// Pseudo-header fields in the static table (RFC 9204 appendix A).
fn is_pseudo(index: u64) -> bool {
    matches!(index, 0 | 1 | 15..=28 | 63..=71)
}

/// The colon's code in the Huffman table has seven bits, 1011100 (RFC 7541 appendix B).
fn begins_with_colon(name: &[u8], huffman: bool) -> bool {
    name.first().is_some_and(|&first| if huffman { first >> 1 == 0b101_1100 } else { first == b':' })
}

/// A prefixed integer (RFC 7541 section 5.1) whose first octet's low `bits` belong to it.
fn integer(rest: &mut &[u8], bits: u32) -> Option<u64> {
    let (&first, mut after) = rest.split_first()?;
    let mask = u8::MAX >> (8 - bits);
    let mut value = u64::from(first & mask);
    if first & mask == mask {
        for shift in (0..56).step_by(7) {
            let (&octet, more) = after.split_first()?;
            after = more;
            value += u64::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                *rest = after;
                return Some(value);
            }
        }
        return None;
    }
    *rest = after;
    Some(value)
}

fn take<'s>(rest: &mut &'s [u8], length: u64) -> Option<&'s [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field lines behind the two octets that every section without dynamic references begins with.
    fn section(lines: &[&[u8]]) -> Vec<u8> {
        [&[0, 0], lines.concat().as_slice()].concat()
    }

    const METHOD_GET: &[u8] = &[0xc0 | 17];
    const ACCEPT: &[u8] = &[0xc0 | 29];
    const PATH_BY_REFERENCE: &[u8] = &[0x51, 2, b'/', b'x'];
    const AUTHORITY_LITERAL: &[u8] = b"\x27\x03:authority\x01a";
    /// `:m` in Huffman code: 1011100 101001, and ones to the octet's end.
    const HUFFMAN: &[u8] = &[0x2a, 0b1011_1001, 0b0100_1111, 1, b'v'];
    const X_LITERAL: &[u8] = b"\x21x\x01:";

    #[test]
    fn the_order_is_seen_in_every_representation() {
        for pseudo in [METHOD_GET, PATH_BY_REFERENCE, AUTHORITY_LITERAL, HUFFMAN] {
            for regular in [ACCEPT, X_LITERAL] {
                assert!(pseudo_fields_come_first(&section(&[pseudo, regular])), "{pseudo:?} {regular:?}");
                assert!(!pseudo_fields_come_first(&section(&[METHOD_GET, regular, pseudo])), "{regular:?} {pseudo:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_the_decoders() {
        let whole = section(&[METHOD_GET, X_LITERAL, AUTHORITY_LITERAL]);
        for length in 0..whole.len() {
            assert!(pseudo_fields_come_first(&whole[..length]), "{length} octets");
        }
        assert!(pseudo_fields_come_first(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]));
        assert!(pseudo_fields_come_first(&[0, 0, 0x80]), "the dynamic table");
    }
}
