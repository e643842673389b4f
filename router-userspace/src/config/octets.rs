//! Octets as an operator writes them: in hex or in base64.

use base64::{Engine as _, engine::general_purpose::STANDARD_PAD_INDIFFERENT};

/// An even number of hex digits, after `0x` or without.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| Some((value(pair[0])? << 4) | value(pair[1])?)).collect()
}

/// The standard alphabet (RFC 4648 section 4), padded or not.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_PAD_INDIFFERENT.decode(text).ok()
}

/// Hex if it can be, else base64.
pub(crate) fn from_text(text: &str) -> Option<Vec<u8>> {
    match from_hex(text) {
        None if !is_meant_as_hex(text) => from_base64(text),
        octets => octets,
    }
}

/// Whether all that is wrong with a text that says `0x` may be that it lacks a digit: no base64
/// then, though all its letters are.
fn is_meant_as_hex(text: &str) -> bool {
    text.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// What a hex digit stands for.
fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_comes_before_base64() {
        const CASES: &[(&str, Option<&[u8]>)] = &[
            ("", Some(&[])),
            ("0x", Some(&[])),
            ("00", Some(&[0])),
            ("0x1fA0", Some(&[0x1f, 0xa0])),
            ("AAAA", Some(&[0xaa, 0xaa])),
            ("AAA=", Some(&[0, 0])),
            ("AAA", Some(&[0, 0])),
            ("//79", Some(&[0xff, 0xfe, 0xfd])),
            ("AX", None),
            ("__79", None),
            ("0x0", None),
            ("0x123", None),
            ("+1", None),
            (" 00", None),
            ("é", None),
            ("=", None),
        ];
        for &(text, expected) in CASES {
            assert_eq!(from_text(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn each_form_alone() {
        assert_eq!(from_hex("0x00ff"), Some(vec![0, 0xff]));
        for text in ["0", "0g", "0x0", "0x0x00", "-1", "éé"] {
            assert_eq!(from_hex(text), None, "{text}");
        }
        assert_eq!(from_base64("AAECAwQFBgc="), Some(vec![0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(from_base64("AAECAwQFBgc"), Some(vec![0, 1, 2, 3, 4, 5, 6, 7]));
        for text in ["AAECAwQFBgd=", "A", "AA-_", "AA AA", "AAA=="] {
            assert_eq!(from_base64(text), None, "{text}");
        }
    }
}
