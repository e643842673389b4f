//! Messages that are sound, or sound enough to be answered.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{LIMITS, USUAL, data, frame, headers, outcome, request};
use crate::{MessageLimits, RequestStream, encoded_head, frame::HEADERS, write_head, write_trailers};

/// What comes of a stream that is whole and sound.
fn events(stream: &[u8]) -> Vec<String> {
    let (lines, end) = outcome(LIMITS, [stream]);
    assert_eq!(end, Ok(()));
    lines
}

#[test]
fn a_request_with_everything() {
    let stream = [
        frame(0x21, b"reserved"),
        request(&[("content-length", "5"), ("x", "1"), ("x", "2")]),
        frame(0x40, b""),
        data(b"he"),
        data(b"llo"),
        headers(&[("checksum", "7")]),
        frame(0x1f * 5 + 0x21, b"reserved"),
    ];
    let expected = ["GET https://a.test/ | content-length: 5 | x: 1 | x: 2", "content hello", "trailers | checksum: 7"];
    assert_eq!(events(&stream.concat()), expected);
}

/// RFC 9114 section 7.2.1: DATA may be empty. h3 resets the stream and then closes the connection.
#[test]
fn empty_data_frames_say_nothing() {
    for (lengths, content) in [(&[0, 5][..], 5), (&[5, 0, 5], 10), (&[0], 0), (&[70_000, 0, 16_383], 86_383)] {
        let frames = lengths.iter().flat_map(|&length| data(&vec![b'x'; length]));
        let stream: Vec<u8> = request(&[]).into_iter().chain(frames).collect();
        let lines = events(&stream);
        let expected = (content > 0).then(|| format!("content {}", "x".repeat(content)));
        assert_eq!(lines.get(1), expected.as_ref(), "{lengths:?}");
    }
}

/// RFC 9114 section 4.2.1; mod_h2#201: crumbs count as the one field that they are.
#[test]
fn cookie_crumbs_are_one_field() {
    let crumb = |number: usize| format!("c{number}=v");
    let crumbs: Vec<String> = (0..120).map(crumb).collect();
    let fields: Vec<_> = crumbs.iter().map(|crumb| ("cookie", crumb.as_str())).collect();
    let limits = MessageLimits { max_fields: 1, ..LIMITS };
    let (lines, end) = outcome(limits, [&request(&fields)[..]]);
    assert_eq!(end, Ok(()));
    assert_eq!(lines, [format!("GET https://a.test/ | cookie: {}", crumbs.join("; "))]);
}

#[test]
fn pseudo_header_fields_by_every_representation() {
    // :method GET and :scheme https by index, :authority by name reference, :path `/x` in Huffman code.
    let section = [0, 0, 0xc0 | 17, 0xc0 | 23, 0x50, 1, b'a', 0x51, 0x82, 0x63, 0xcf];
    assert_eq!(events(&frame(HEADERS, &section)), ["GET https://a/x"]);
    // accept: */* by index, user-agent by name reference, a literal name in Huffman code.
    let name = [0x2f, 1, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f, 1, b'v'];
    let section = [&section[..], &[0xc0 | 29, 0x5f, 80, 1, b'u'], &name].concat();
    let expected = "GET https://a/x | accept: */* | user-agent: u | custom-key: v";
    assert_eq!(events(&frame(HEADERS, &section)), [expected]);
}

/// RFC 9204 appendix B.1.
#[test]
fn the_example_of_qpack() {
    let section = [&[0, 0, 0x51, 0x0b][..], b"/index.html"].concat();
    let rest = [0xc0 | 17, 0xc0 | 23, 0x50, 1, b'a'];
    assert_eq!(events(&frame(HEADERS, &[&section[..], &rest].concat())), ["GET https://a/index.html"]);
}

#[test]
fn the_authority_is_the_hosts_where_there_is_no_other() {
    let fields: Vec<_> = USUAL.iter().filter(|(name, _)| *name != ":authority").copied().collect();
    let stream = headers(&[&fields[..], &[("host", "b.test")]].concat());
    assert_eq!(events(&stream), ["GET https://b.test/ | host: b.test"]);
    assert_eq!(events(&request(&[("host", "A.test")])), ["GET https://a.test/ | host: A.test"]);
}

/// RFC 9114 section 4.1.2: they may be answered.
#[test]
fn faults_that_leave_a_request_readable() {
    for (field, fault) in [
        (("connection", "close"), "a connection-specific field"),
        (("transfer-encoding", "chunked"), "a connection-specific field"),
        (("keep-alive", "5"), "a connection-specific field"),
        (("te", "gzip"), "TE beside `trailers`"),
        (("x", " 1"), "a field value begins or ends with a blank"),
        (("content-length", "+5"), "Content-Length is not one number"),
        (("content-length", ""), "Content-Length is not one number"),
    ] {
        let (name, value) = field;
        assert_eq!(events(&request(&[field])), [format!("GET https://a.test/ | {name}: {value} ! {fault}")]);
    }
    let hosts = request(&[("host", "a.test"), ("host", "a.test")]);
    assert_eq!(events(&hosts), ["GET https://a.test/ | host: a.test | host: a.test ! several Host fields"]);
    assert_eq!(events(&request(&[("te", "trailers")])), ["GET https://a.test/ | te: trailers"]);
}

/// RFC 9114 section 4.4, RFC 9220 section 3.
#[test]
fn tunnels_plain_and_extended() {
    let plain = headers(&[(":method", "CONNECT"), (":authority", "a.test:443")]);
    assert_eq!(events(&[plain, data(b"x")].concat()), ["CONNECT a.test:443", "content x"]);
    let extended = headers(&[&[(":method", "CONNECT"), (":protocol", "websocket")], &USUAL[1..]].concat());
    let (lines, end) = outcome(MessageLimits { extended_connect: true, ..LIMITS }, [&extended[..]]);
    assert_eq!((lines, end), (vec!["CONNECT https://a.test/ websocket".to_owned()], Ok(())));
}

#[test]
fn the_priority_is_read_from_all_its_lines() {
    let mut stream = RequestStream::new(LIMITS);
    let mut octets = request(&[("priority", "u=1"), ("priority", "i")]).into();
    let Ok(Some(crate::RequestEvent::Head(head))) = stream.receive(&mut octets) else { panic!("no head") };
    assert_eq!(head.priority(), crate::Priority { urgency: 1, incremental: true });
}

/// What is written is read again: the decoder knows nothing of responses, but of trailers.
#[test]
fn fields_come_back_as_they_were_written() {
    let mut fields = HeaderMap::new();
    let mut add = |name: &'static str, value: HeaderValue| fields.append(name, value);
    add("cache-control", HeaderValue::from_static("no-cache"));
    add("cache-control", HeaderValue::from_static("of no table"));
    add("server", HeaderValue::from_static(""));
    add("x-own", HeaderValue::from_bytes(&[0x80, 0xff]).unwrap());
    let mut secret = HeaderValue::from_static("no-cache");
    secret.set_sensitive(true);
    add("x-secret", secret.clone());
    add("pragma", secret);
    add("x-long", HeaderValue::from_str(&"lowercase-text ".repeat(30).trim_end().replace(' ', "_")).unwrap());
    add("x-long", HeaderValue::from_str(&"\\".repeat(300)).unwrap());
    let mut out = BytesMut::from(&request(&[])[..]);
    write_trailers(&fields, &mut out);
    let (lines, end) = outcome(MessageLimits { max_field_section_size: 65_536, ..LIMITS }, [&out[..]]);
    assert_eq!(end, Ok(()));
    let shown = fields.iter().map(|(name, value)| format!(" | {name}: {}", value.as_bytes().escape_ascii()));
    assert_eq!(lines[1], format!("trailers{}", shown.collect::<String>()));
}

#[test]
fn a_head_is_written_by_the_static_table() {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    headers.insert("content-length", HeaderValue::from_static("12"));
    headers.insert("x", HeaderValue::from_static("y"));
    // `content-type: text/plain` is 53, `content-length` 4.
    let fields = [0xc0 | 53, 0x54, 2, b'1', b'2', 0x21, b'x', 1, b'y'];
    for (status, line) in [(200, &[0xc0 | 25][..]), (500, &[0xff, 8]), (418, &[0x5f, 9, 3, b'4', b'1', b'8'])] {
        let mut out = BytesMut::new();
        write_head(StatusCode::from_u16(status).unwrap(), &headers, &mut out);
        assert_eq!(out, frame(HEADERS, &[&[0, 0], line, &fields].concat()), "{status}");
    }
    let again = encoded_head(StatusCode::OK, &headers);
    let mut out = BytesMut::new();
    write_head(StatusCode::OK, &headers, &mut out);
    assert_eq!(out, again);
}
