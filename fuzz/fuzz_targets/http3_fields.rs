//! Fields that are encoded come back as they were.
//!
//! `cargo +nightly fuzz run http3_fields` (from this folder's parent).

#![no_main]

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use router_http3::{MessageLimits, RequestEvent, RequestStream, write_trailers};

const LIMITS: MessageLimits =
    MessageLimits { max_field_section_size: 1 << 20, max_fields: 10_000, max_ignored: 4096, extended_connect: false };

/// A HEADERS frame: GET, `https`, authority `a`, path `/`.
const HEAD: [u8; 10] = [1, 8, 0, 0, 0xd1, 0xd7, 0x50, 1, b'a', 0xc1];

fuzz_target!(|input: &[u8]| {
    let mut fields = HeaderMap::new();
    for line in input.split(|&octet| octet == b'\n') {
        let (name, value) = line.split_at(line.iter().position(|&octet| octet == b':').unwrap_or(line.len()));
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            // What makes trailers malformed is for the other target; cookies are put together.
            let is_special = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];
            if !is_special.contains(&name.as_str()) && name != "cookie" && fields.len() < 1000 {
                fields.append(name, value);
            }
        }
    }
    let mut stream = RequestStream::new(LIMITS);
    let mut octets = BytesMut::from(&HEAD[..]);
    write_trailers(&fields, &mut octets);
    let mut octets: Bytes = octets.freeze();
    assert!(matches!(stream.receive(&mut octets), Ok(Some(RequestEvent::Head(_)))));
    match stream.receive(&mut octets) {
        Ok(Some(RequestEvent::Trailers(read))) => assert_eq!(read, fields),
        other => panic!("{other:?}"),
    }
});
