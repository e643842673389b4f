//! Responses as servers may send them, and what comes of them; requests, and the octets that they become.

mod differential;
mod requests;
mod responses;

use bytes::BytesMut;
use http::{HeaderMap, Method};

use crate::{BodyDecoder, HeadDecoder, HeadError, Piece, ResponseHead, Violation};

const FIELDS_MAX: usize = 64 * 1024;

/// What is made of a response and the end of its connection.
#[derive(Debug)]
struct Read {
    head: ResponseHead,
    interim: usize,
    content: Vec<u8>,
    trailers: HeaderMap,
    /// How it ends: complete, and whether its connection could take another request if it were not at its end.
    end: Result<bool, Violation>,
}

/// Reads a response to `method` that comes in pieces of `size` octets.
fn read(octets: &[u8], size: usize, method: &Method) -> Result<Option<Read>, HeadError> {
    let mut pieces = octets.chunks(size.max(1));
    let (mut buffer, mut decoder, mut interim) = (BytesMut::new(), HeadDecoder::new(FIELDS_MAX), 0);
    let mut head = loop {
        match decoder.decode(&mut buffer)? {
            Some(head) if head.is_interim() => interim += 1,
            Some(head) => break head,
            None => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => return Ok(None),
            },
        }
    };
    let framing = head.framing(method)?;
    let mut body = BodyDecoder::new(framing.length);
    let (mut content, mut trailers) = (Vec::new(), HeaderMap::new());
    let end = loop {
        match body.decode(&mut buffer) {
            Err(violation) => break Err(violation),
            Ok(Some(Piece::Data(data))) => content.extend_from_slice(&data),
            Ok(Some(Piece::Trailers(all))) => trailers = all,
            Ok(None) if body.is_ended() => {
                break Ok(framing.is_reusable && buffer.is_empty() && pieces.next().is_none());
            }
            Ok(None) => match pieces.next() {
                Some(piece) => buffer.extend_from_slice(piece),
                None => break body.close().map(|()| false),
            },
        }
    };
    Ok(Some(Read { head, interim, content, trailers, end }))
}
