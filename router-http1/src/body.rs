//! A response's content, by its [`BodyLength`].

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use crate::{Violation, chunked::Chunks, framing::BodyLength};

/// Reads the content of one response.
#[derive(Debug)]
pub struct BodyDecoder(State);

#[derive(Debug)]
enum State {
    Exact(u64),
    Chunked(Chunks),
    UntilClose,
    Ended,
}

/// A part of a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Content; never empty.
    Data(Bytes),
    /// What is behind it.
    Trailers(HeaderMap),
}

impl BodyDecoder {
    /// For content of that length.
    pub fn new(length: BodyLength) -> Self {
        Self(match length {
            BodyLength::Exact(0) => State::Ended,
            BodyLength::Exact(length) => State::Exact(length),
            BodyLength::Chunked => State::Chunked(Chunks::default()),
            BodyLength::UntilClose => State::UntilClose,
        })
    }

    /// Takes the next piece from the front of `octets`; none if more has to come first, or the response has ended.
    pub fn decode(&mut self, octets: &mut BytesMut) -> Result<Option<Piece>, Violation> {
        match &mut self.0 {
            State::Exact(left) => {
                let data = take(octets, *left);
                *left -= data.len() as u64;
                if *left == 0 {
                    self.0 = State::Ended;
                }
                Ok((!data.is_empty()).then_some(Piece::Data(data)))
            }
            State::Chunked(chunks) => {
                let piece = chunks.decode(octets)?;
                if chunks.are_ended() {
                    self.0 = State::Ended;
                }
                Ok(piece)
            }
            State::UntilClose => Ok((!octets.is_empty()).then(|| Piece::Data(octets.split().freeze()))),
            State::Ended => Ok(None),
        }
    }

    /// The connection has ended, and all that came was decoded.
    pub fn close(&mut self) -> Result<(), Violation> {
        match self.0 {
            State::UntilClose => self.0 = State::Ended,
            State::Ended => {}
            State::Exact(_) | State::Chunked(_) => {
                let what = "the connection ended within the response's content";
                return Err(Violation { section: "RFC 9112 section 8", what });
            }
        }
        Ok(())
    }

    /// Nothing more belongs to the response.
    pub fn is_ended(&self) -> bool {
        matches!(self.0, State::Ended)
    }

    /// Octets of content that are still to come, if that is known.
    pub fn left(&self) -> Option<u64> {
        match self.0 {
            State::Exact(left) => Some(left),
            State::Ended => Some(0),
            State::Chunked(_) | State::UntilClose => None,
        }
    }
}

/// At most so many octets.
pub(crate) fn take(octets: &mut BytesMut, most: u64) -> Bytes {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(octets.len());
    octets.split_to(most).freeze()
}
