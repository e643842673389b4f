//! What is written of requests.

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, uri::PathAndQuery};

use crate::{
    BodyEncoder, ContentPart, EncodeError,
    RequestContent::{self, Absent, Present},
    RequestLine, write_request,
};

fn fields(all: &[(&'static str, &'static str)]) -> HeaderMap {
    let field =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let mut map = HeaderMap::new();
    for (name, value) in all.iter().map(field) {
        map.append(name, value);
    }
    map
}

fn head(method: &str, target: &'static str, all: &[(&'static str, &'static str)], content: RequestContent) -> String {
    let (fields, mut out) = (fields(all), BytesMut::new());
    let line = RequestLine {
        method: &Method::from_bytes(method.as_bytes()).unwrap(),
        target: &PathAndQuery::from_static(target),
        host: &HeaderValue::from_static("a.test"),
    };
    write_request(&line, &fields, &BodyEncoder::new(&fields, content), &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn a_head_says_once_how_long_its_content_is() {
    for (all, content, expected) in [
        (&[][..], Absent, "host: a.test\r\n"),
        (&[("x", "1"), ("host", "b.test"), ("x", "2")], Absent, "x: 1\r\nx: 2\r\nhost: a.test\r\n"),
        (&[("host", "b.test"), ("host", "c.test")], Absent, "host: a.test\r\n"),
        (&[("host", "a"), ("content-length", "5")], Present, "host: a.test\r\ncontent-length: 5\r\n"),
        (&[("host", "a"), ("content-length", "0")], Absent, "host: a.test\r\ncontent-length: 0\r\n"),
        (&[("host", "a")], Present, "host: a.test\r\ntransfer-encoding: chunked\r\n"),
        // What cannot be one number is none.
        (
            &[("host", "a"), ("content-length", "5"), ("content-length", "05")],
            Present,
            "host: a.test\r\ncontent-length: 5\r\n",
        ),
        (&[("host", "a"), ("content-length", "5, 6")], Present, "host: a.test\r\ntransfer-encoding: chunked\r\n"),
        (&[("host", "a"), ("content-length", "-1")], Absent, "host: a.test\r\n"),
        (&[("host", "a"), ("transfer-encoding", "gzip")], Absent, "host: a.test\r\n"),
        (
            &[("host", "a"), ("transfer-encoding", "gzip"), ("content-length", "5")],
            Present,
            "host: a.test\r\ncontent-length: 5\r\n",
        ),
    ] {
        assert_eq!(head("PUT", "/x", all, content), format!("PUT /x HTTP/1.1\r\n{expected}\r\n"), "{all:?}");
    }
}

#[test]
fn a_target_is_in_origin_form() {
    for (target, expected) in [("/a?b", "/a?b"), ("?b", "/?b"), ("*", "*"), ("//a", "//a")] {
        assert_eq!(head("get", target, &[], Absent), format!("get {expected} HTTP/1.1\r\nhost: a.test\r\n\r\n"));
    }
}

/// Pieces of content, and whether the last is known to be it; then the end, with trailers or without.
fn content(all: &[(&'static str, &'static str)], pieces: &[&str], ends: bool) -> Result<String, EncodeError> {
    let (mut encoder, mut out) = (BodyEncoder::new(&fields(all), Present), BytesMut::new());
    for (number, piece) in pieces.iter().enumerate() {
        let is_last = ends && number + 1 == pieces.len();
        let part = if is_last { ContentPart::Last(piece.len()) } else { ContentPart::Inner(piece.len()) };
        let behind = encoder.data(part, &mut out)?;
        out.put_slice(piece.as_bytes());
        out.put_slice(behind);
    }
    encoder.end(&mut out)?;
    assert!(encoder.is_ended());
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

#[test]
fn content_is_framed_as_the_head_says() {
    let five = &[("content-length", "5")];
    for ends in [false, true] {
        assert_eq!(content(five, &["he", "llo"], ends).unwrap(), "hello");
        assert_eq!(
            content(&[], &["hello", "", "0123456789abcdef"], ends).unwrap(),
            "5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
        );
        assert_eq!(content(five, &["hello", "!"], ends), Err(EncodeError::TooLong));
        assert_eq!(content(five, &["hell"], ends), Err(EncodeError::TooShort));
    }
    assert_eq!(content(&[], &[], false).unwrap(), "0\r\n\r\n");
    assert_eq!(content(&[], &["a", ""], true).unwrap(), "1\r\na\r\n0\r\n\r\n");
    assert_eq!(content(five, &[], false), Err(EncodeError::TooShort));
}

#[test]
fn trailers_are_those_that_were_announced() {
    let trailers = fields(&[("x-a", "1"), ("x-b", "2"), ("x-c", "3")]);
    let mut out = BytesMut::new();
    let announced = fields(&[("trailer", "X-A , x-d"), ("trailer", "x-c")]);
    BodyEncoder::new(&announced, Present).trailers(&trailers, &mut out).unwrap();
    assert_eq!(out, "0\r\nx-a: 1\r\nx-c: 3\r\n\r\n");
    // With a length there is no place for them.
    let mut out = BytesMut::new();
    let mut encoder = BodyEncoder::new(&fields(&[("content-length", "0"), ("trailer", "x-a")]), Present);
    encoder.trailers(&trailers, &mut out).unwrap();
    assert_eq!(out, "");
}
