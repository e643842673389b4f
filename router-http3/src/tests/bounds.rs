//! The caller's limits, and work in proportion to octets whatever their pieces.

use bytes::Bytes;

use super::{LIMITS, USUAL, data, frame, headers, outcome, request};
use crate::{
    CONTROL_FRAME_MAX, CriticalStreams, MessageLimits, RequestEvent, RequestStream, UnidirectionalStream,
    frame::HEADERS, varint, work,
};

/// USUAL counts 7 + 3, 7 + 5, 10 + 6, 5 + 1, and four times 32: 172.
const USUAL_SIZE: u64 = 172;

#[test]
fn a_head_may_be_as_large_as_the_limit_and_no_larger() {
    // The field: 1 + 100 + 32.
    let value = "v".repeat(100);
    let stream = request(&[("x", &value)]);
    let of = |max_field_section_size| {
        let (lines, end) = outcome(MessageLimits { max_field_section_size, ..LIMITS }, [&stream[..]]);
        (lines.concat(), end)
    };
    assert_eq!(of(USUAL_SIZE + 133), (format!("GET https://a.test/ | x: {value}"), Ok(())));
    assert_eq!(of(USUAL_SIZE + 132), ("head too large".into(), Ok(())));
    assert_eq!(of(USUAL_SIZE), ("head too large".into(), Ok(())));
    // The frame itself is longer than that.
    assert_eq!(of(100), ("head too large".into(), Ok(())));
}

/// http#603: a map of the `http` crate panics beyond 24,576 fields.
#[test]
fn fields_beyond_the_limit_are_too_large_and_never_a_panic() {
    let names: Vec<String> = (0..24_577).map(|number| format!("x{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let limits = MessageLimits { max_field_section_size: 1 << 20, max_fields: usize::MAX, ..LIMITS };
    let head = request(&fields);
    assert_eq!(outcome(limits, [&head[..]]).0, ["head too large"]);
    let behind = [request(&[]), headers(&fields)].concat();
    assert_eq!(outcome(limits, [&behind[..]]).0, ["GET https://a.test/", "trailers too large"]);
    let fewer = request(&fields[..100]);
    assert!(outcome(MessageLimits { max_fields: 100, ..limits }, [&fewer[..]]).0[0].starts_with("GET"));
    assert_eq!(outcome(MessageLimits { max_fields: 99, ..limits }, [&fewer[..]]).0, ["head too large"]);
}

/// As soon as the length is there, and what follows is not kept.
#[test]
fn a_frame_that_says_that_it_is_too_large_is_not_waited_for() {
    let mut stream = RequestStream::new(LIMITS);
    let mut octets = Bytes::from_static(&[0x01, 0xbf, 0xff, 0xff, 0xff]);
    assert!(matches!(stream.receive(&mut octets), Ok(Some(RequestEvent::HeadTooLarge))));
    let mut more = Bytes::from(vec![0; 1_000_000]);
    let (event, steps) = work::of(|| stream.receive(&mut more));
    assert!(matches!(event, Ok(None)));
    assert_eq!(steps, 1);
}

#[test]
fn a_path_beyond_what_a_uri_can_be_is_too_large() {
    let limits = MessageLimits { max_field_section_size: 1 << 20, ..LIMITS };
    for (length, expected) in [(65_534, "GET"), (65_535, "head too large")] {
        let path = format!("/{}", "x".repeat(length - 1));
        let stream = headers(&[&USUAL[..3], &[(":path", &path)]].concat());
        assert!(outcome(limits, [&stream[..]]).0[0].starts_with(expected), "{length}");
    }
}

/// A Huffman-coded string may be longer than it says: it ends where the limit is.
#[test]
fn a_string_that_grows_is_cut_off_at_the_limit() {
    // 400 octets of `0`, five bits each.
    let coded = [0u8; 250];
    let line = [&[0x21, b'x', 0xff, 250 - 127][..], &coded].concat();
    let stream = frame(HEADERS, &[super::section(USUAL), line].concat());
    let limits = MessageLimits { max_field_section_size: USUAL_SIZE + 33 + 400, ..LIMITS };
    assert_eq!(outcome(limits, [&stream[..]]).0, [format!("GET https://a.test/ | x: {}", "0".repeat(400))]);
    let limits = MessageLimits { max_field_section_size: USUAL_SIZE + 33 + 399, ..LIMITS };
    assert_eq!(outcome(limits, [&stream[..]]).0, ["head too large"]);
}

/// A HEADERS frame of 100 KB in pieces of one octet took h3 quadratic time.
#[test]
fn steps_are_in_proportion_to_octets_whatever_their_pieces() {
    let limits = MessageLimits { max_field_section_size: 1 << 20, max_fields: 24_000, ..LIMITS };
    let value = "v".repeat(1000);
    let fields: Vec<_> = (0..100).map(|_| ("x", value.as_str())).collect();
    let small: Vec<u8> = (0..50_000).flat_map(|_| [frame(0x21, b""), data(b""), data(b"x")].concat()).collect();
    let crumbs: Vec<_> = (0..20_000).map(|_| ("cookie", "")).collect();
    for stream in [request(&fields), [request(&[]), small].concat(), request(&crumbs)] {
        for size in [1, 2, 7, 1000, stream.len()] {
            let ((lines, end), steps) = work::of(|| outcome(limits, stream.chunks(size)));
            assert!(end.is_ok() && lines[0].starts_with("GET"), "{end:?}");
            assert!(steps <= 4 * stream.len(), "{steps} steps for {} octets in pieces of {size}", stream.len());
        }
    }
}

#[test]
fn a_frame_of_the_control_stream_is_kept_up_to_a_limit_and_others_are_not_at_all() {
    let begin = |kind, length| {
        let mut octets = vec![0, 4, 0];
        varint::write(kind, &mut octets);
        varint::write(length, &mut octets);
        UnidirectionalStream::default().receive(&mut CriticalStreams::default(), &octets, |_| {})
    };
    assert!(begin(0xf0700, CONTROL_FRAME_MAX).is_ok());
    assert_eq!(begin(0xf0700, CONTROL_FRAME_MAX + 1).unwrap_err().code, crate::Code::H3_EXCESSIVE_LOAD);
    assert!(begin(0x21, (1 << 62) - 1).is_ok());
}

#[test]
fn what_is_ignored_is_ignored_up_to_a_limit() {
    let with = |lengths: &[usize]| {
        let frames = lengths.iter().flat_map(|&length| frame(0x21, &vec![0; length]));
        let stream: Vec<u8> = request(&[]).into_iter().chain(frames).collect();
        outcome(LIMITS, [&stream[..]]).1
    };
    assert_eq!(with(&[4000, 0, 96]), Ok(()));
    let Err(crate::RequestError::Stream(violation)) = with(&[4000, 0, 97]) else { panic!("no error") };
    assert_eq!(violation.code, crate::Code::H3_EXCESSIVE_LOAD);
}

#[test]
fn the_content_that_is_left_is_known_from_the_first_octet_on() {
    let mut stream = RequestStream::new(LIMITS);
    let mut octets = Bytes::from([request(&[("content-length", "10")]), data(b"12345")].concat());
    let mut left = Vec::new();
    while let Ok(Some(_)) = stream.receive(&mut octets) {
        left.push(stream.content_left());
    }
    assert_eq!(left, [Some(10), Some(5)]);
    let mut part = Bytes::from_static(&[0, 5, b'6', b'7']);
    assert!(matches!(stream.receive(&mut part), Ok(Some(RequestEvent::Data(_)))));
    assert_eq!(stream.content_left(), Some(3));
}
