//! An encoded field section (RFC 9204 section 4.5), looked at without being decoded.

/// Why the pseudo-header fields of a request make it malformed, if they do (RFC 9114 section 4.3):
/// one stands behind a regular field, is there twice, or is of responses.
///
/// What cannot be read is left to the decoder, and so are names that nobody knows: they are sound
/// here. So are references to the dynamic table, which we do not offer.
pub(super) fn misused_pseudo_field(section: &[u8]) -> Option<&'static str> {
    let mut rest = section;
    let prefix = integer(&mut rest, 8).and_then(|_required_insert_count| integer(&mut rest, 7));
    let (mut regular_seen, mut seen) = (false, [false; 6]);
    while prefix.is_some() && !rest.is_empty() {
        match next_name(&mut rest)? {
            Name::Regular => regular_seen = true,
            Name::Pseudo(_) | Name::Unknown if regular_seen => {
                return Some("a pseudo-header field after a regular one");
            }
            Name::Pseudo(STATUS) => return Some("`:status` in a request"),
            Name::Pseudo(which) if std::mem::replace(&mut seen[which], true) => {
                return Some("a pseudo-header field twice");
            }
            Name::Pseudo(_) | Name::Unknown => {}
        }
    }
    None
}

/// What a field line's name is.
enum Name {
    Regular,
    /// By its place in [`PSEUDO`].
    Pseudo(usize),
    /// Another one that begins with a colon.
    Unknown,
}

/// Pseudo-header fields, and their names in Huffman code (RFC 7541 appendix B).
const PSEUDO: [(&[u8], &[u8]); 6] = [
    (b":authority", &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f]),
    (b":path", &[0xb9, 0x58, 0xd3, 0x3f]),
    (b":method", &[0xb9, 0x49, 0x53, 0x39, 0xe4]),
    (b":scheme", &[0xb8, 0x82, 0x4e, 0x5a, 0x4b]),
    (b":status", &[0xb8, 0x84, 0x8d, 0x36, 0xa3]),
    (b":protocol", &[0xb9, 0x5d, 0x87, 0x49, 0xc8, 0x7a, 0x3f]),
];
const STATUS: usize = 4;

/// Reads over a field line.
fn next_name(rest: &mut &[u8]) -> Option<Name> {
    let first = *rest.first()?;
    if first & 0x80 != 0 {
        // Indexed; T tells whether in the static table.
        let index = integer(rest, 6)?;
        return (first & 0x40 != 0).then(|| static_name(index));
    }
    let name = if first & 0x40 != 0 {
        // Literal with name reference.
        let index = integer(rest, 4)?;
        (first & 0x10 != 0).then(|| static_name(index))?
    } else if first & 0x20 != 0 {
        // Literal with literal name.
        let length = integer(rest, 3)?;
        literal_name(take(rest, length)?, first & 0x08 != 0)
    } else {
        return None;
    };
    let length = integer(rest, 7)?;
    take(rest, length)?;
    Some(name)
}

/// The static table (RFC 9204 appendix A).
fn static_name(index: u64) -> Name {
    match index {
        0 => Name::Pseudo(0),
        1 => Name::Pseudo(1),
        15..=21 => Name::Pseudo(2),
        22 | 23 => Name::Pseudo(3),
        24..=28 | 63..=71 => Name::Pseudo(STATUS),
        _ => Name::Regular,
    }
}

fn literal_name(name: &[u8], huffman: bool) -> Name {
    match PSEUDO.iter().position(|(plain, coded)| name == if huffman { *coded } else { *plain }) {
        Some(which) => Name::Pseudo(which),
        // The colon's code has seven bits, 1011100.
        None if name.first().is_some_and(|&o| if huffman { o >> 1 == 0b101_1100 } else { o == b':' }) => Name::Unknown,
        None => Name::Regular,
    }
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
    /// `:m`, which nobody knows: 1011100 101001, and ones to the octet's end.
    const UNKNOWN: &[u8] = &[0x2a, 0b1011_1001, 0b0100_1111, 1, b'v'];
    const X_LITERAL: &[u8] = b"\x21x\x01:";
    const LATE: &str = "a pseudo-header field after a regular one";

    #[test]
    fn the_order_is_seen_in_every_representation() {
        for pseudo in [METHOD_GET, PATH_BY_REFERENCE, AUTHORITY_LITERAL, UNKNOWN] {
            for regular in [ACCEPT, X_LITERAL] {
                assert_eq!(misused_pseudo_field(&section(&[pseudo, regular])), None, "{pseudo:?} {regular:?}");
                assert_eq!(misused_pseudo_field(&section(&[regular, pseudo])), Some(LATE), "{regular:?} {pseudo:?}");
            }
        }
    }

    /// Each by reference, in plain and in Huffman code, as an encoder may mix them.
    #[test]
    fn what_is_there_twice_is_seen_in_every_representation() {
        let literal = |name: &[u8], huffman: bool| {
            let length = u8::try_from(name.len() - 7).unwrap();
            [&[if huffman { 0x2f } else { 0x27 }, length], name, &[1, b'v']].concat()
        };
        // Names under seven octets have their length in the first one.
        let short = |name: &[u8], huffman: bool| {
            let length = u8::try_from(name.len()).unwrap();
            [&[if huffman { 0x28 } else { 0x20 } | length], name, &[1, b'v']].concat()
        };
        let line = |name: &[u8], huffman| if name.len() < 7 { short(name, huffman) } else { literal(name, huffman) };
        for ((plain, coded), by_reference) in PSEUDO.into_iter().zip([0xc0, 0xc1, 0xd1, 0xd7, 0xd9]) {
            let forms = [vec![by_reference], line(plain, false), line(coded, true)];
            for one in &forms {
                for other in &forms {
                    let expected =
                        if plain == b":status" { "`:status` in a request" } else { "a pseudo-header field twice" };
                    assert_eq!(misused_pseudo_field(&section(&[one, other])), Some(expected), "{one:x?} {other:x?}");
                }
            }
        }
        let all = [&[0xc0][..], &[0xc1], &[0xd1], &[0xd7], &line(b":protocol", false)];
        assert_eq!(misused_pseudo_field(&section(&all)), None);
    }

    #[test]
    fn what_cannot_be_read_is_the_decoders() {
        let whole = section(&[METHOD_GET, AUTHORITY_LITERAL, X_LITERAL]);
        for length in 0..whole.len() {
            assert_eq!(misused_pseudo_field(&whole[..length]), None, "{length} octets");
        }
        let endless = [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(misused_pseudo_field(&endless), None);
        assert_eq!(misused_pseudo_field(&[0, 0, 0x80]), None, "the dynamic table");
    }
}
