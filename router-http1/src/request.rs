//! A request on its way to a server: its head (RFC 9112 section 3) and how its content is framed (section 6).

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};

use crate::framing::{BodyLength, content_length};

/// What of a head is not in its fields.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'r> {
    /// Any but CONNECT.
    pub method: &'r Method,
    /// In origin form, or `*` (RFC 9112 section 3.2).
    pub target: &'r PathAndQuery,
    /// In place of the one among the fields.
    pub host: &'r HeaderValue,
}

/// Frames a request's content.
#[derive(Debug)]
pub struct BodyEncoder {
    length: BodyLength,
    /// What the head says of it.
    said: Option<u64>,
    /// Trailers that the head announces. Others are left out (RFC 9110 section 6.6.2).
    announced: Vec<HeaderName>,
    is_ended: bool,
}

/// Whether a request has content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestContent {
    /// There is none.
    Absent,
    /// There is some, or there may be.
    Present,
}

/// A part of a request's content, by its length in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentPart {
    /// More follows, or may follow.
    Inner(usize),
    /// Nothing follows.
    Last(usize),
}

/// The content is not what the head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// It is longer.
    TooLong,
    /// It has ended early.
    TooShort,
}

impl BodyEncoder {
    /// For content whose head has these fields. Content-Length counts if it is one number; without, content is sent in
    /// chunks.
    pub fn new(fields: &HeaderMap, content: RequestContent) -> Self {
        let said = content_length(fields).ok().flatten();
        let length = match said {
            Some(length) => BodyLength::Exact(length),
            None => match content {
                RequestContent::Absent => BodyLength::Exact(0),
                RequestContent::Present => BodyLength::Chunked,
            },
        };
        let announced = match length {
            BodyLength::Chunked => fields.get_all(header::TRAILER).iter().flat_map(names).collect(),
            BodyLength::Exact(_) | BodyLength::UntilClose => Vec::new(),
        };
        Self { length, said, announced, is_ended: length == BodyLength::Exact(0) }
    }

    /// Nothing is left to be sent.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Writes what goes in front of a part of the content, and returns what goes behind it.
    pub fn data(&mut self, part: ContentPart, out: &mut BytesMut) -> Result<&'static [u8], EncodeError> {
        let (length, is_last) = match part {
            ContentPart::Inner(length) => (length, false),
            ContentPart::Last(length) => (length, true),
        };
        match &mut self.length {
            BodyLength::Exact(left) => {
                *left = left.checked_sub(length as u64).ok_or(EncodeError::TooLong)?;
                self.is_ended = *left == 0;
                if is_last && !self.is_ended {
                    return Err(EncodeError::TooShort);
                }
                Ok(b"")
            }
            BodyLength::Chunked | BodyLength::UntilClose => {
                // It would be the last.
                if length > 0 {
                    // Memory grows as needed: this does not fail.
                    let _ = write!(out, "{length:x}\r\n");
                }
                self.is_ended = is_last;
                Ok(match (length, is_last) {
                    (0, false) => b"",
                    (0, true) => b"0\r\n\r\n",
                    (_, false) => b"\r\n",
                    (_, true) => b"\r\n0\r\n\r\n",
                })
            }
        }
    }

    /// Writes what is behind the content, as far as it was announced. Nothing follows.
    pub fn trailers(&mut self, trailers: &HeaderMap, out: &mut BytesMut) -> Result<(), EncodeError> {
        if let BodyLength::Exact(_) = self.length {
            return self.end(out);
        }
        self.is_ended = true;
        out.put_slice(b"0\r\n");
        for (name, value) in trailers.iter().filter(|(name, _)| self.announced.contains(name)) {
            field(name, value, out);
        }
        out.put_slice(b"\r\n");
        Ok(())
    }

    /// There is no more content.
    pub fn end(&mut self, out: &mut BytesMut) -> Result<(), EncodeError> {
        if !self.is_ended {
            let behind = self.data(ContentPart::Last(0), out)?;
            out.put_slice(behind);
        }
        Ok(())
    }
}

/// Writes a head for content that `body` frames.
pub fn write_request(line: &RequestLine<'_>, fields: &HeaderMap, body: &BodyEncoder, out: &mut BytesMut) {
    out.put_slice(line.method.as_str().as_bytes());
    out.put_u8(b' ');
    let target = line.target.as_str();
    if !target.starts_with(['/', '*']) {
        out.put_u8(b'/');
    }
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    let is_chunked = body.length == BodyLength::Chunked;
    if !fields.contains_key(header::HOST) {
        field(&header::HOST, line.host, out);
    }
    let (mut host, mut length) = (Some(line.host), body.said.map(HeaderValue::from));
    for (name, value) in fields {
        match *name {
            header::HOST => host.take().into_iter().for_each(|host| field(name, host, out)),
            header::CONTENT_LENGTH => length.take().iter().for_each(|length| field(name, length, out)),
            header::TRANSFER_ENCODING => {}
            _ => field(name, value, out),
        }
    }
    if is_chunked {
        out.put_slice(b"transfer-encoding: chunked\r\n");
    }
    out.put_slice(b"\r\n");
}

fn field(name: &HeaderName, value: &HeaderValue, out: &mut BytesMut) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn names(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    value.as_bytes().split(|&octet| octet == b',').filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
}
