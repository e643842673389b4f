//! Distinguished names as text (RFC 4514): one name, one text, and two names never the same.
//!
//! Servers decide by this text which client may do what, so `CN="x, O=Admins"` must not read like
//! `CN=x, O=Admins`: every character that separates is escaped where it is part of a value, and a value
//! whose characters are not certain is written in hex.

use std::fmt::Write as _;

use x509_parser::{
    asn1_rs::{Any, Tag, ToDer as _},
    x509::{AttributeTypeAndValue, X509Name},
};

/// The text of `name`, in visible ASCII and spaces alone. `None`: a value cannot be encoded.
pub(in crate::edge) fn text(name: &X509Name<'_>) -> Option<String> {
    let mut text = String::new();
    // The last comes first (section 2.1).
    let parts: Vec<_> = name.iter_rdn().collect();
    for (number, part) in parts.iter().rev().enumerate() {
        if number > 0 {
            text.push(',');
        }
        for (number, attribute) in part.iter().enumerate() {
            if number > 0 {
                text.push('+');
            }
            push(attribute, &mut text)?;
        }
    }
    Some(text)
}

/// Section 2.3: type, `=`, value.
fn push(attribute: &AttributeTypeAndValue<'_>, text: &mut String) -> Option<()> {
    let dotted = attribute.attr_type().to_id_string();
    let known = KEYWORDS.iter().find(|(_, oid)| *oid == dotted);
    text.push_str(known.map_or(dotted.as_str(), |(keyword, _)| keyword));
    text.push('=');
    match known.and_then(|_| characters(attribute.attr_value())) {
        Some(value) => escape(&value, text),
        None => {
            text.push('#');
            push_hex(&attribute.attr_value().to_der_vec().ok()?, text)?;
        }
    }
    Some(())
}

/// Of a string whose characters are certain. Those of Teletex strings are not: programs disagree.
fn characters(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => String::from_utf8(value.data.to_vec()).ok(),
        Tag::PrintableString | Tag::NumericString | Tag::Ia5String | Tag::VisibleString => {
            value.data.is_ascii().then(|| String::from_utf8(value.data.to_vec()).ok())?
        }
        Tag::BmpString => {
            let units: Vec<_> =
                value.data.chunks(2).map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?))).collect();
            String::from_utf16(&units.into_iter().collect::<Option<Vec<_>>>()?).ok()
        }
        _ => None,
    }
}

/// Section 2.4; besides, whatever has no place in a header field.
fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (place, octet) in value.bytes().enumerate() {
        match octet {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => text.extend(['\\', char::from(octet)]),
            b'#' if place == 0 => text.push_str("\\#"),
            b' ' if place == 0 || place == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(octet)),
            _ => {
                text.push('\\');
                // Cannot fail: it is memory.
                let _ = push_hex(&[octet], text);
            }
        }
    }
}

fn push_hex(octets: &[u8], text: &mut String) -> Option<()> {
    octets.iter().try_for_each(|octet| write!(text, "{octet:02x}")).ok()
}

/// Those of section 3, and two that certificates of clients often have.
const KEYWORDS: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
    ("serialNumber", "2.5.4.5"),
];

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::*;

    /// An attribute: the last octet of a type below 2.5.4, a tag, a value.
    type Attribute<'a> = (u8, u8, &'a [u8]);

    /// A name of parts, each of attributes.
    fn text_of(parts: &[&[Attribute<'_>]]) -> String {
        let wrap = |tag: u8, content: Vec<u8>| [vec![tag, u8::try_from(content.len()).unwrap()], content].concat();
        let attribute = |&(kind, tag, value): &Attribute<'_>| {
            wrap(0x30, [wrap(0x06, vec![0x55, 4, kind]), wrap(tag, value.to_vec())].concat())
        };
        let part = |attributes: &&[Attribute<'_>]| wrap(0x31, attributes.iter().flat_map(attribute).collect());
        let der = wrap(0x30, parts.iter().flat_map(part).collect());
        text(&X509Name::from_der(&der).unwrap().1).unwrap()
    }

    const CN: u8 = 3;
    const O: u8 = 10;
    const UTF8: u8 = 12;
    const PRINTABLE: u8 = 19;

    #[test]
    fn names_that_differ_read_differently() {
        let names: [&[&[Attribute<'_>]]; 6] = [
            &[&[(CN, UTF8, b"x, O=Admins")]],
            &[&[(CN, UTF8, b"x,O=Admins")]],
            &[&[(O, UTF8, b"Admins")], &[(CN, UTF8, b"x")]],
            &[&[(CN, UTF8, b"x")], &[(O, UTF8, b"Admins")]],
            &[&[(CN, UTF8, b"x"), (O, UTF8, b"Admins")]],
            &[&[(CN, UTF8, b"x\\")], &[(O, UTF8, b"Admins")]],
        ];
        assert_eq!(
            names.map(text_of),
            [
                r"CN=x\, O\=Admins",
                r"CN=x\,O\=Admins",
                "CN=x,O=Admins",
                "O=Admins,CN=x",
                "CN=x+O=Admins",
                r"O=Admins,CN=x\\",
            ]
        );
    }

    #[test]
    fn what_separates_begins_or_cannot_be_seen_is_escaped() {
        for (value, expected) in [
            (&b" #a# "[..], r"CN=\ #a#\ "),
            (b"#a", r"CN=\#a"),
            (b" ", r"CN=\ "),
            (b"", "CN="),
            (b"a+b;c<d>e\"f", r#"CN=a\+b\;c\<d\>e\"f"#),
            ("J\u{fc}rgen\r\nx: y\0".as_bytes(), r"CN=J\c3\bcrgen\0d\0ax: y\00"),
        ] {
            assert_eq!(text_of(&[&[(CN, UTF8, value)]]), expected);
        }
    }

    #[test]
    fn what_is_not_certain_is_written_in_hex() {
        assert_eq!(text_of(&[&[(42, UTF8, b"given")]]), "2.5.4.42=#0c05676976656e");
        assert_eq!(text_of(&[&[(CN, 20, b"t61")]]), "CN=#1403743631");
        assert_eq!(text_of(&[&[(CN, PRINTABLE, b"\xff")]]), "CN=#1301ff");
        assert_eq!(text_of(&[&[(CN, 30, &[0, b'a', 0x20, 0xac])]]), r"CN=a\e2\82\ac");
        assert_eq!(text_of(&[&[(CN, 30, &[0])]]), "CN=#1e0100");
        assert_eq!(text_of(&[]), "");
    }
}
