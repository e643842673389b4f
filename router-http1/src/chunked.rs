//! The chunked transfer coding (RFC 9112 section 7.1), strictly: each line ends in CRLF, extensions and trailers are
//! bounded, and between a chunk's data and the next size there is CRLF and nothing else.

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    Violation,
    body::{Piece, take},
};

/// Where in a chunked message a reader is.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    /// Octets of extensions so far.
    extensions: usize,
    /// Octets of trailers that are known not to hold the end.
    seen: usize,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Ended,
}

impl Chunks {
    pub(crate) fn are_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    pub(crate) fn decode(&mut self, octets: &mut BytesMut) -> Result<Option<Piece>, Violation> {
        loop {
            match &mut self.state {
                State::Size => match self.size(octets)? {
                    None => return Ok(None),
                    Some(0) => self.state = State::Trailers,
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(left) => {
                    let data = take(octets, *left);
                    *left -= data.len() as u64;
                    if *left == 0 {
                        self.state = State::DataEnd;
                    }
                    return Ok((!data.is_empty()).then_some(Piece::Data(data)));
                }
                State::DataEnd => match &octets[..] {
                    [b'\r', b'\n', ..] => {
                        octets.advance(2);
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(violation("a chunk is longer than its size says")),
                },
                State::Trailers => {
                    let trailers = self.trailers(octets)?;
                    return Ok(trailers.filter(|trailers| !trailers.is_empty()).map(Piece::Trailers));
                }
                State::Ended => return Ok(None),
            }
        }
    }

    /// The line in front of a chunk.
    fn size(&mut self, octets: &mut BytesMut) -> Result<Option<u64>, Violation> {
        let digits = octets.iter().take(SIZE_MAX + 1).take_while(|octet| octet.is_ascii_hexdigit()).count();
        if digits > SIZE_MAX || (digits == 0 && !octets.is_empty()) {
            return Err(violation("a chunk's size is no number of at most 16 digits"));
        }
        let Some(end) = memchr::memchr(b'\n', octets) else {
            return match octets.len() > SIZE_MAX + EXTENSIONS_MAX {
                true => Err(violation("a chunk's extensions are too long")),
                false => Ok(None),
            };
        };
        let line = octets.split_to(end + 1);
        let Some(extension) = line[digits..].strip_suffix(b"\r\n") else {
            return Err(violation("a chunk's size does not end in CRLF"));
        };
        // Blanks behind the size, or a semicolon (section 7.1.1).
        if !matches!(extension.trim_ascii_start().first(), None | Some(b';')) {
            return Err(violation("a chunk's size is followed by something else than an extension"));
        }
        if extension.iter().any(|octet| octet.is_ascii_control() && *octet != b'\t') {
            return Err(violation("a chunk's extension has control characters"));
        }
        self.extensions += extension.len();
        if self.extensions > EXTENSIONS_MAX {
            return Err(violation("the chunks' extensions are too long"));
        }
        // Sixteen digits fit.
        let value = |digit: &u8| u64::from(char::from(*digit).to_digit(16).unwrap_or_default());
        Ok(Some(line[..digits].iter().fold(0, |size, digit| size << 4 | value(digit))))
    }

    /// What is behind the last chunk; empty if that is nothing.
    fn trailers(&mut self, octets: &mut BytesMut) -> Result<Option<HeaderMap>, Violation> {
        match &octets[..] {
            [b'\r', b'\n', ..] => {
                octets.advance(2);
                self.state = State::Ended;
                return Ok(Some(HeaderMap::new()));
            }
            [] | [b'\r'] => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(violation("a line behind the last chunk does not end in CRLF")),
            _ => {}
        }
        let from = self.seen.saturating_sub(END.len() - 1);
        let Some(end) = memchr::memmem::find(&octets[from..], END) else {
            self.seen = octets.len();
            return match octets.len() > TRAILERS_MAX {
                true => Err(violation("the trailers are too long")),
                false => Ok(None),
            };
        };
        let end = from + end + END.len();
        if end > TRAILERS_MAX {
            return Err(violation("the trailers are too long"));
        }
        self.state = State::Ended;
        fields(&octets.split_to(end)).map(Some)
    }
}

fn fields(section: &[u8]) -> Result<HeaderMap, Violation> {
    let mut lines = 0;
    for at in memchr::memchr_iter(b'\n', section) {
        if at == 0 || section[at - 1] != b'\r' {
            return Err(violation("a trailer's line does not end in CRLF"));
        }
        lines += 1;
    }
    let mut parsed = vec![httparse::EMPTY_HEADER; lines];
    let parsed = match httparse::parse_headers(section, &mut parsed) {
        Ok(httparse::Status::Complete((length, parsed))) if length == section.len() => parsed,
        Ok(_) | Err(_) => return Err(violation("the trailers are malformed")),
    };
    let mut fields = HeaderMap::with_capacity(parsed.len());
    for line in parsed {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) else {
            return Err(violation("the trailers are malformed"));
        };
        fields.append(name, value);
    }
    Ok(fields)
}

fn violation(what: &'static str) -> Violation {
    Violation { section: "RFC 9112 section 7.1", what }
}

const END: &[u8] = b"\r\n\r\n";

/// Digits of a chunk's size.
const SIZE_MAX: usize = 16;

/// Octets of extensions, of all chunks together. Nothing is made of them.
const EXTENSIONS_MAX: usize = 16 * 1024;

/// Octets of trailers.
const TRAILERS_MAX: usize = 16 * 1024;
