//! A response's head: a status line and fields (RFC 9112 sections 4 and 5), taken when all of it is there.
//!
//! Lines may end in LF alone, as servers do it that are otherwise sound (section 2.2). Folded lines, blanks before a
//! colon and bare CR are refused.

use std::{fmt, mem::MaybeUninit};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::Violation;

/// Reads heads: those of interim responses, and that of the response.
#[derive(Debug)]
pub struct HeadDecoder {
    max_field_section_size: usize,
    /// Octets that are known not to hold the end.
    seen: usize,
    /// When there are so many octets, what is there is checked, whole or not.
    check_at: usize,
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// Of an interim response below 200.
    pub status: StatusCode,
    /// In the order in which they came.
    pub fields: HeaderMap,
    /// The server speaks HTTP/1.0.
    pub is_http10: bool,
}

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// It is none, or can be read in two ways.
    Malformed(Violation),
    /// Its fields are more than the caller takes.
    TooLarge,
    /// The content is in a transfer coding that was not asked for (RFC 9112 section 7).
    Coded,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(violation) => violation.fmt(f),
            Self::TooLarge => f.write_str("the response's header fields are too large"),
            Self::Coded => f.write_str("the response has a transfer coding other than chunked"),
        }
    }
}

impl std::error::Error for HeadError {}

impl HeadDecoder {
    /// Takes heads whose fields come to `max_field_section_size` at most, counted as in RFC 9113 section 6.5.2: names,
    /// values, and 32 for each field.
    pub fn new(max_field_section_size: usize) -> Self {
        Self { max_field_section_size, seen: 0, check_at: 1 }
    }

    /// Takes a head from the front of `octets`; none if there is more to come.
    pub fn decode(&mut self, octets: &mut BytesMut) -> Result<Option<ResponseHead>, HeadError> {
        if matches!(octets.first(), Some(b'\r' | b'\n')) {
            return Err(malformed("RFC 9112 section 2.1", "an empty line in place of a status line"));
        }
        let most = self.max_field_section_size + STATUS_LINE_MAX;
        if let Some(end) = end(octets, self.seen) {
            if end > most {
                return Err(HeadError::TooLarge);
            }
            (self.seen, self.check_at) = (0, 1);
            return self.parse(octets.split_to(end).freeze()).map(Some);
        }
        if octets.len() > most {
            return Err(HeadError::TooLarge);
        }
        self.seen = octets.len();
        // Nonsense without an end is not waited for. The steps keep the work in proportion.
        if octets.len() >= self.check_at {
            self.check_at = octets.len() * 2;
            self.check(octets)?;
        }
        Ok(None)
    }

    /// The lines that a section within the limit can have.
    fn lines_max(&self) -> usize {
        self.max_field_section_size / FIELD_OVERHEAD + 1
    }

    fn check(&self, octets: &[u8]) -> Result<(), HeadError> {
        let mut lines = vec![httparse::EMPTY_HEADER; self.lines_max()];
        httparse::Response::new(&mut lines).parse(octets).map(drop).map_err(HeadError::from)
    }

    fn parse(&self, octets: Bytes) -> Result<ResponseHead, HeadError> {
        let mut few = [const { MaybeUninit::uninit() }; LINES_USUAL];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut response, &octets, &mut few) {
            Err(httparse::Error::TooManyHeaders) => {
                let mut many = vec![httparse::EMPTY_HEADER; self.lines_max()];
                let mut response = httparse::Response::new(&mut many);
                let parsed = response.parse(&octets);
                self.head(&octets, parsed, &response)
            }
            parsed => self.head(&octets, parsed, &response),
        }
    }

    fn head(
        &self,
        octets: &Bytes,
        parsed: httparse::Result<usize>,
        response: &httparse::Response<'_, '_>,
    ) -> Result<ResponseHead, HeadError> {
        match parsed? {
            httparse::Status::Complete(length) if length == octets.len() => {}
            httparse::Status::Complete(_) | httparse::Status::Partial => {
                return Err(malformed("RFC 9112 section 2.1", "the head has no clear end"));
            }
        }
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(malformed("RFC 9110 section 15", "no status code"))?;
        let mut fields = HeaderMap::with_capacity(response.headers.len() + ROOM);
        let mut size = 0;
        for line in response.headers.iter() {
            size += line.name.len() + line.value.len() + FIELD_OVERHEAD;
            let name = HeaderName::from_bytes(line.name.as_bytes());
            let value = HeaderValue::from_maybe_shared(octets.slice_ref(line.value));
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(malformed("RFC 9110 section 5.5", "a field's name or value has octets that none may have"));
            };
            fields.try_append(name, value).map_err(|_full| HeadError::TooLarge)?;
        }
        if size > self.max_field_section_size {
            return Err(HeadError::TooLarge);
        }
        Ok(ResponseHead { status, fields, is_http10: response.version == Some(0) })
    }
}

impl From<httparse::Error> for HeadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooLarge,
            httparse::Error::Version => malformed("RFC 9112 section 2.3", "no HTTP/1.0 or HTTP/1.1"),
            httparse::Error::Status => malformed("RFC 9112 section 4", "the status line is malformed"),
            httparse::Error::HeaderName => malformed("RFC 9112 section 5.1", "a field's name is malformed"),
            httparse::Error::HeaderValue => malformed("RFC 9110 section 5.5", "a field's value is malformed"),
            httparse::Error::NewLine | httparse::Error::Token => {
                malformed("RFC 9112 section 2.2", "a line is malformed")
            }
        }
    }
}

pub(crate) fn malformed(section: &'static str, what: &'static str) -> HeadError {
    HeadError::Malformed(Violation { section, what })
}

/// Where the first empty line behind another line ends. There is none that ends within the first `seen` octets.
fn end(octets: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub("\n\r".len());
    memchr::memchr_iter(b'\n', octets.get(from..)?).find_map(|at| match octets.get(from + at + 1..)? {
        [b'\n', ..] => Some(from + at + 2),
        [b'\r', b'\n', ..] => Some(from + at + 3),
        _ => None,
    })
}

/// What a field counts beside its octets.
const FIELD_OVERHEAD: usize = 32;

/// Octets beside the fields, blanks around their values included.
const STATUS_LINE_MAX: usize = 8 * 1024;

/// Lines that most heads have no more of.
const LINES_USUAL: usize = 48;

/// For the fields that a proxy adds.
const ROOM: usize = 4;
