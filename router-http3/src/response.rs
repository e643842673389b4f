//! Responses as frames (RFC 9114 section 4.1).

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};

use crate::{frame, qpack::encoder};

/// A HEADERS frame with the head of a response, interim ones among them.
pub fn write_head(status: StatusCode, headers: &HeaderMap, out: &mut BytesMut) {
    frame::write(frame::HEADERS as u8, out, |section| {
        // Most fields of responses are some twenty to some forty octets.
        section.reserve(16 + 48 * headers.len());
        section.extend_from_slice(&encoder::PREFIX);
        encoder::write_status(status, section);
        encoder::write_fields(headers, section);
    });
}

/// A HEADERS frame with trailers.
pub fn write_trailers(trailers: &HeaderMap, out: &mut BytesMut) {
    frame::write(frame::HEADERS as u8, out, |section| {
        section.extend_from_slice(&encoder::PREFIX);
        encoder::write_fields(trailers, section);
    });
}

/// The head of a response that is sent more than once: without a dynamic table its frame is the same on every
/// connection.
#[must_use]
pub fn encoded_head(status: StatusCode, headers: &HeaderMap) -> Bytes {
    let mut out = BytesMut::new();
    write_head(status, headers, &mut out);
    out.freeze()
}
