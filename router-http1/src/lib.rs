//! The client's side of HTTP/1.1 (RFC 9112), without input and output: octets of responses in, heads and content out;
//! requests in, octets out. There is no clock here, no task, and nothing that panics on what a server sends.
//!
//! This is where one message can be taken for two, or two for one. So there is one answer to how long a message is
//! (`framing`, RFC 9112 section 6.3), what has two readings is refused ([`Violation`] names the section), and a
//! connection is used again only if both sides must agree on where the response ended ([`Framing::is_reusable`]).
//!
//! | octets | where |
//! |---|---|
//! | a request's head | [`write_request`] |
//! | a request's content | [`BodyEncoder`] |
//! | a response's head | [`HeadDecoder`] → [`ResponseHead`] |
//! | a response's content | [`ResponseHead::framing`] → [`BodyDecoder`] |
//!
//! Every limit holds as octets arrive, and work is in proportion to octets whatever their pieces.

#![forbid(unsafe_code)]

mod body;
mod chunked;
mod framing;
mod head;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::{
    body::{BodyDecoder, Piece},
    framing::{BodyLength, Framing},
    head::{HeadDecoder, HeadError, ResponseHead},
    request::{BodyEncoder, ContentPart, EncodeError, RequestContent, RequestLine, write_request},
};

/// What in a response is against the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The section that says so.
    pub section: &'static str,
    /// In words.
    pub what: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.section)
    }
}

impl std::error::Error for Violation {}
