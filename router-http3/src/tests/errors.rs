//! What clients do wrong (RFC 9114 section 8.1, RFC 9204 section 6): where the rule stands, the octets, and the exact
//! code.

use super::{LIMITS, USUAL, data, frame, headers, outcome, request, section, unidirectional};
use crate::{Code, CriticalStreams, RequestError, frame::HEADERS};

/// The usual fields, but with this value in place of theirs, or none.
fn with(name: &str, value: Option<&str>) -> Vec<u8> {
    let fields = USUAL.iter().filter_map(|&(usual, theirs)| match usual == name {
        true => value.map(|value| (usual, value)),
        false => Some((usual, theirs)),
    });
    headers(&fields.collect::<Vec<_>>())
}

/// A HEADERS frame of the usual fields and these octets.
fn and(octets: &[u8]) -> Vec<u8> {
    frame(HEADERS, &[&section(USUAL), octets].concat())
}

/// Each stream breaks this rule, which ends the connection.
fn end_the_connection(cases: impl IntoIterator<Item = (&'static str, Vec<u8>, Code)>) {
    for (rule, stream, code) in cases {
        match outcome(LIMITS, [&stream[..]]).1 {
            Err(RequestError::Connection(violation)) => {
                assert_eq!((violation.section, violation.code), (rule, code), "{stream:02x?}");
            }
            other => panic!("{rule}, {stream:02x?}: {other:?}"),
        }
    }
}

#[test]
fn frames_that_end_the_connection_on_request_streams() {
    let get = request(&[]);
    let then = |more: Vec<u8>| [get.clone(), more].concat();
    let connect = headers(&[(":method", "CONNECT"), (":authority", "a.test:443")]);
    let trailers = headers(&[("x", "1")]);
    end_the_connection([
        ("RFC 9114 section 4.1", data(b"x"), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 4.1", data(b""), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 4.1", then([&trailers[..], &trailers].concat()), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 4.1", then([trailers.clone(), data(b"x")].concat()), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 4.4", [&connect[..], &trailers].concat(), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", frame(3, &[0]), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", frame(4, &[]), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", then(frame(7, &[0])), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", then(frame(0xd, &[0])), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", frame(0xf0700, &[0]), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", frame(0xf0701, &[0]), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2.5", then(frame(5, &[0, 0, 0])), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2.8", frame(2, &[0; 5]), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2.8", frame(6, &[0; 8]), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2.8", then(frame(8, &[0; 4])), Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2.8", then(frame(9, &[])), Code::H3_FRAME_UNEXPECTED),
        // The stream ends within a frame, or within a frame's header.
        ("RFC 9114 section 7.1", get[..get.len() - 1].to_vec(), Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", then(vec![0, 2, b'x']), Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", then(vec![0]), Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", then(vec![0x40]), Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", then(vec![0x21, 1]), Code::H3_FRAME_ERROR),
    ]);
}

#[test]
fn field_sections_that_cannot_be_decoded() {
    let cases = [
        ("RFC 9204 section 4.5", frame(HEADERS, &[])),
        ("RFC 9204 section 4.5", frame(HEADERS, &[0])),
        ("RFC 9204 section 4.5", and(&[0x21, b'x'])),
        ("RFC 9204 section 4.5", and(&[0x21, b'x', 2, b'y'])),
        ("RFC 9204 section 4.5", and(&[0x22, b'x'])),
        ("RFC 9204 section 4.5", and(&[0xff])),
        ("RFC 9204 section 4.5.1.1", frame(HEADERS, &[1, 0, 0xd1])),
        ("RFC 9204 section 4.5.1.2", frame(HEADERS, &[0, 0x80, 0xd1])),
        ("RFC 9204 section 3.1", and(&[0xff, 99 - 63])),
        ("RFC 9204 section 3.1", and(&[0x5f, 99 - 15, 0])),
        ("RFC 9204 section 2.2.3", and(&[0x80])),
        ("RFC 9204 section 2.2.3", and(&[0x40, 0])),
        ("RFC 9204 section 2.2.3", and(&[0x10])),
        ("RFC 9204 section 2.2.3", and(&[0x00, 0])),
        ("RFC 9204 section 4.1.1", and(&[&[0xff][..], &[0xff; 12]].concat())),
        ("RFC 9204 section 4.1.2", and(&[0x21, b'x', 0x81, 0])),
        ("RFC 9204 section 4.1.2", and(&[0x21, b'x', 0x81, 0xff])),
        ("RFC 9204 section 4.1.2", and(&[0x29, 0xff, 0])),
        ("RFC 9204 section 4.5", [request(&[]), frame(HEADERS, &[])].concat()),
    ];
    end_the_connection(cases.map(|(rule, stream)| (rule, stream, Code::QPACK_DECOMPRESSION_FAILED)));
}

/// Each stream breaks this rule, which ends the request.
fn end_the_request(cases: impl IntoIterator<Item = (&'static str, Vec<u8>, Code)>) {
    for (rule, stream, code) in cases {
        match outcome(LIMITS, [&stream[..]]).1 {
            Err(RequestError::Stream(violation)) => {
                assert_eq!((violation.section, violation.code), (rule, code), "{}", stream.escape_ascii());
            }
            other => panic!("{rule}, {}: {other:?}", stream.escape_ascii()),
        }
    }
}

#[test]
fn heads_that_are_malformed() {
    let cases = [
        ("RFC 9114 section 4.3.1", with(":method", None)),
        ("RFC 9114 section 4.3.1", with(":method", Some(""))),
        ("RFC 9114 section 4.3.1", with(":method", Some("GET /x HTTP/1.1\r\n"))),
        ("RFC 9114 section 4.3.1", with(":scheme", None)),
        ("RFC 9114 section 4.3.1", with(":scheme", Some("a b"))),
        ("RFC 9114 section 4.3.1", with(":path", None)),
        ("RFC 9114 section 4.3.1", with(":path", Some(""))),
        ("RFC 9114 section 4.3.1", with(":path", Some("x"))),
        ("RFC 9114 section 4.3.1", with(":path", Some("/x y"))),
        ("RFC 9114 section 4.3.1", with(":path", Some("/ HTTP/1.1\r\nhost: b.test"))),
        ("RFC 9114 section 4.3.1", with(":path", Some("http://b.test/"))),
        ("RFC 9114 section 4.3.1", with(":authority", None)),
        ("RFC 9114 section 4.3.1", with(":authority", Some(""))),
        ("RFC 9114 section 4.3.1", with(":authority", Some("a.test/x"))),
        ("RFC 9114 section 4.3.1", request(&[("host", "b.test")])),
        ("RFC 9114 section 4.3.1", request(&[(":path", "/x")])),
        ("RFC 9114 section 4.3.1", request(&[(":method", "GET")])),
        ("RFC 9114 section 4.3", request(&[(":status", "200")]).clone()),
        ("RFC 9114 section 4.3", request(&[(":x", "1")])),
        ("RFC 9114 section 4.3", request(&[(":", "1")])),
        ("RFC 9114 section 4.3", request(&[("x", "1"), (":protocol", "x")])),
        ("RFC 9114 section 4.3", request(&[("cookie", "1"), (":protocol", "x")])),
        ("RFC 9114 section 4.3", headers(&[&[("x", "1")], USUAL].concat())),
        // haproxy#3355: `:protocol` without CONNECT.
        ("RFC 9220 section 3", request(&[(":protocol", "connect-udp")])),
        ("RFC 9220 section 3", headers(&[&[(":method", "CONNECT"), (":protocol", "websocket")], &USUAL[1..]].concat())),
        ("RFC 9114 section 4.4", with(":method", Some("CONNECT"))),
        ("RFC 9114 section 4.2", request(&[("X-A", "1")])),
        ("RFC 9114 section 4.2", request(&[("x a", "1")])),
        ("RFC 9114 section 4.2", request(&[("x:a", "1")])),
        ("RFC 9114 section 4.2", request(&[("", "1")])),
        ("RFC 9114 section 4.2", request(&[("x\r\ny", "1")])),
        ("RFC 9114 section 10.3", request(&[("x", "1\r\ntransfer-encoding: chunked")])),
        ("RFC 9114 section 10.3", request(&[("x", "1\0")])),
        ("RFC 9114 section 10.3", request(&[("cookie", "1\n")])),
    ];
    end_the_request(cases.map(|(rule, stream)| (rule, stream, Code::H3_MESSAGE_ERROR)));
}

#[test]
fn trailers_that_are_malformed() {
    let cases = [
        ("RFC 9114 section 4.3", [request(&[]), headers(&[(":path", "/")])].concat()),
        ("RFC 9114 section 4.3", [request(&[]), headers(&[("x", "1"), (":status", "200")])].concat()),
        ("RFC 9114 section 4.2", [request(&[]), headers(&[("transfer-encoding", "chunked")])].concat()),
        ("RFC 9114 section 4.2", [request(&[]), headers(&[("connection", "x")])].concat()),
        ("RFC 9114 section 4.2", [request(&[]), headers(&[("upgrade", "h2c")])].concat()),
        ("RFC 9114 section 4.2", [request(&[]), headers(&[("te", "gzip")])].concat()),
    ];
    end_the_request(cases.map(|(rule, stream)| (rule, stream, Code::H3_MESSAGE_ERROR)));
}

#[test]
fn content_that_is_not_as_long_as_the_head_says() {
    let cases = [
        ("RFC 9114 section 4.1.2", request(&[("content-length", "5")])),
        ("RFC 9114 section 4.1.2", [request(&[("content-length", "5")]), data(b"four")].concat()),
        ("RFC 9114 section 4.1.2", [request(&[("content-length", "5")]), data(b"123456")].concat()),
        ("RFC 9114 section 4.1.2", [request(&[("content-length", "0")]), data(b"1")].concat()),
        (
            "RFC 9114 section 4.1.2",
            [request(&[("content-length", "5")]), data(b"four"), headers(&[("x", "1")])].concat(),
        ),
    ];
    end_the_request(cases.map(|(rule, stream)| (rule, stream, Code::H3_MESSAGE_ERROR)));
}

#[test]
fn requests_that_are_incomplete() {
    end_the_request([
        ("RFC 9114 section 4.1", vec![], Code::H3_REQUEST_INCOMPLETE),
        ("RFC 9114 section 4.1", frame(0x21, b"x"), Code::H3_REQUEST_INCOMPLETE),
    ]);
}

/// On one connection each: streams that begin as these do, one of which breaks this rule.
fn end_by_unidirectional_streams(cases: &[(&str, &[Vec<u8>], Code)]) {
    for (rule, streams, code) in cases {
        let mut critical = CriticalStreams::default();
        let first = streams.iter().find_map(|stream| unidirectional(&mut critical, stream).err());
        let violation = first.unwrap_or_else(|| panic!("{rule}, {streams:02x?}: no violation"));
        assert_eq!((violation.section, violation.code), (*rule, *code), "{streams:02x?}");
    }
}

#[test]
fn on_control_streams() {
    let control = |frames: &[Vec<u8>]| [&[0][..], &frame(4, &[]), &frames.concat()].concat();
    let settings = |payload: &[u8]| [&[0][..], &frame(4, payload)].concat();
    end_by_unidirectional_streams(&[
        ("RFC 9114 section 6.2.1", &[vec![0, 7, 1, 0]], Code::H3_MISSING_SETTINGS),
        ("RFC 9114 section 6.2.1", &[vec![0, 0x21, 0]], Code::H3_MISSING_SETTINGS),
        ("RFC 9114 section 6.2.1", &[control(&[]), control(&[])], Code::H3_STREAM_CREATION_ERROR),
        ("RFC 9114 section 6.2.2", &[vec![1]], Code::H3_STREAM_CREATION_ERROR),
        ("RFC 9114 section 7.2.4", &[control(&[frame(4, &[])])], Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", &[control(&[frame(0, b"x")])], Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", &[control(&[frame(1, b"x")])], Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2", &[control(&[frame(5, b"x")])], Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2.8", &[control(&[frame(6, &[0; 8])])], Code::H3_FRAME_UNEXPECTED),
        ("RFC 9114 section 7.2.4", &[settings(&[6, 1, 6, 1])], Code::H3_SETTINGS_ERROR),
        ("RFC 9114 section 7.2.4", &[settings(&[0x21, 1, 6, 1, 0x21, 2])], Code::H3_SETTINGS_ERROR),
        ("RFC 9114 section 7.2.4.1", &[settings(&[2, 1])], Code::H3_SETTINGS_ERROR),
        ("RFC 9114 section 7.2.4.1", &[settings(&[3, 1])], Code::H3_SETTINGS_ERROR),
        ("RFC 9114 section 7.2.4.1", &[settings(&[4, 1])], Code::H3_SETTINGS_ERROR),
        ("RFC 9114 section 7.2.4.1", &[settings(&[5, 1])], Code::H3_SETTINGS_ERROR),
        ("RFC 9297 section 2.1.1", &[settings(&[0x33, 2])], Code::H3_SETTINGS_ERROR),
        ("RFC 9220 section 3", &[settings(&[8, 2])], Code::H3_SETTINGS_ERROR),
        ("RFC 9114 section 7.1", &[settings(&[6])], Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", &[settings(&[6, 0x40])], Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", &[control(&[frame(7, &[])])], Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", &[control(&[frame(7, &[0, 0])])], Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", &[control(&[frame(0xd, &[0x40])])], Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", &[control(&[frame(3, &[])])], Code::H3_FRAME_ERROR),
        ("RFC 9114 section 7.1", &[control(&[frame(0xf0700, &[])])], Code::H3_FRAME_ERROR),
        ("RFC 9114 section 5.2", &[control(&[frame(7, &[4]), frame(7, &[5])])], Code::H3_ID_ERROR),
        ("RFC 9114 section 7.2.7", &[control(&[frame(0xd, &[5]), frame(0xd, &[4])])], Code::H3_ID_ERROR),
        ("RFC 9114 section 7.2.3", &[control(&[frame(3, &[0])])], Code::H3_ID_ERROR),
        ("RFC 9218 section 7.2", &[control(&[frame(0xf0701, &[0])])], Code::H3_ID_ERROR),
        ("RFC 9218 section 7.2", &[control(&[frame(0xf0700, &[2])])], Code::H3_ID_ERROR),
    ]);
}

#[test]
fn on_qpack_streams() {
    end_by_unidirectional_streams(&[
        ("RFC 9114 section 6.2.1", &[vec![2], vec![2]], Code::H3_STREAM_CREATION_ERROR),
        ("RFC 9114 section 6.2.1", &[vec![3], vec![3]], Code::H3_STREAM_CREATION_ERROR),
        // quiche#1852: what a table of capacity 0 does not allow.
        ("RFC 9204 section 4.3.1", &[vec![2, 0x3f, 0xe1, 0x1f]], Code::QPACK_ENCODER_STREAM_ERROR),
        ("RFC 9204 section 4.3.1", &[vec![2, 0x20, 0x21]], Code::QPACK_ENCODER_STREAM_ERROR),
        ("RFC 9204 section 3.2.2", &[vec![2, 0xc0, 0]], Code::QPACK_ENCODER_STREAM_ERROR),
        ("RFC 9204 section 3.2.2", &[vec![2, 0x41, b'x', 0]], Code::QPACK_ENCODER_STREAM_ERROR),
        ("RFC 9204 section 4.3.4", &[vec![2, 0x00]], Code::QPACK_ENCODER_STREAM_ERROR),
        ("RFC 9204 section 4.4.1", &[vec![3, 0x80]], Code::QPACK_DECODER_STREAM_ERROR),
        ("RFC 9204 section 4.4.3", &[vec![3, 0x01]], Code::QPACK_DECODER_STREAM_ERROR),
        ("RFC 9204 section 4.4.3", &[vec![3, 0x00]], Code::QPACK_DECODER_STREAM_ERROR),
        ("RFC 9204 section 4.1.1", &[[&[3, 0x7f][..], &[0xff; 9]].concat()], Code::QPACK_DECODER_STREAM_ERROR),
    ]);
}

/// xquic#606: the streams that a connection needs may end neither by FIN nor by reset.
#[test]
fn critical_streams_do_not_end() {
    for (octets, expected) in [
        (&[0, 4, 0][..], Some("RFC 9114 section 6.2.1")),
        (&[2], Some("RFC 9204 section 4.2")),
        (&[3], Some("RFC 9204 section 4.2")),
        (&[0x21, 1, 2, 3], None),
        (&[0x40], None),
        (&[], None),
    ] {
        let (stream, _) = unidirectional(&mut CriticalStreams::default(), octets).unwrap();
        let closed = stream.closed().err();
        assert_eq!(closed.map(|closed| closed.section), expected, "{octets:?}");
        assert!(closed.is_none_or(|closed| closed.code == Code::H3_CLOSED_CRITICAL_STREAM));
    }
}

#[test]
fn what_clients_may_say_on_their_own_streams() {
    let control = [
        frame(4, &[6, 0x40, 0x64, 7, 0, 1, 0, 0x33, 1, 0x21, 0x21]),
        frame(0xd, &[5]),
        frame(0xd, &[5]),
        frame(0x21, b"reserved"),
        frame(0xf0700, b"\x08u=1, i"),
        frame(7, &[9]),
        frame(7, &[9]),
    ];
    let control = [&[0][..], &control.concat()].concat();
    let mut critical = CriticalStreams::default();
    let (_, events) = unidirectional(&mut critical, &control).unwrap();
    assert_eq!(
        events,
        [
            "Settings(Settings { max_field_section_size: Some(100), qpack_max_table_capacity: 0, \
             qpack_blocked_streams: 0, enable_connect_protocol: false, h3_datagram: true })",
            "MaxPushId(5)",
            "MaxPushId(5)",
            "PriorityUpdate { stream: 8, priority: Priority { urgency: 1, incremental: true } }",
            "Goaway { push_id: 9 }",
            "Goaway { push_id: 9 }",
        ]
    );
    // Set Dynamic Table Capacity to 0, twice; Stream Cancellation of 4 and of 1000; a type that is not known.
    for stream in [&[2, 0x20, 0x20][..], &[3, 0x44, 0x7f, 0xa9, 0x07], &[0x21, 1, 2, 3]] {
        assert_eq!(unidirectional(&mut critical, stream).unwrap().1, Vec::<String>::new());
    }
}
