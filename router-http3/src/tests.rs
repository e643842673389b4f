//! Streams as a client may send them, and what comes of them.

mod bounds;
mod chunking;
mod errors;
mod messages;
mod published;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    CriticalStreams, MessageLimits, RequestError, RequestEvent, RequestStream, UnidirectionalStream, Violation, frame,
    varint,
};

const LIMITS: MessageLimits =
    MessageLimits { max_field_section_size: 4096, max_fields: 100, max_ignored: 4096, extended_connect: false };

/// The pseudo-header fields that requests of tests have.
const USUAL: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];

/// A field section of literals.
fn section(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in fields {
        string(0x20, 3, name, &mut out);
        string(0, 7, value, &mut out);
    }
    out
}

/// A string that is not Huffman-coded (RFC 9204 section 4.1.2), whose length takes at most two octets.
fn string(first: u8, bits: u32, text: &str, out: &mut Vec<u8>) {
    let mask = (1 << bits) - 1;
    if text.len() < mask {
        out.push(first | u8::try_from(text.len()).unwrap());
    } else {
        out.push(first | u8::try_from(mask).unwrap());
        let mut rest = text.len() - mask;
        while rest >= 0x80 {
            out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        out.push(u8::try_from(rest).unwrap());
    }
    out.extend(text.as_bytes());
}

fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(kind, &mut out);
    varint::write(payload.len() as u64, &mut out);
    out.put_slice(payload);
    out
}

fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(frame::HEADERS, &section(fields))
}

/// A HEADERS frame with the usual fields and these.
fn request(fields: &[(&str, &str)]) -> Vec<u8> {
    headers(&[USUAL, fields].concat())
}

fn data(content: &[u8]) -> Vec<u8> {
    frame(frame::DATA, content)
}

/// What comes of a request stream that comes in these pieces and then ends: a line for each event, the content in
/// one, and how it ends.
fn outcome<'p>(
    limits: MessageLimits,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> (Vec<String>, Result<(), RequestError>) {
    let (mut stream, mut lines, mut content) = (RequestStream::new(limits), Vec::new(), BytesMut::new());
    let mut end = Ok(());
    'pieces: for piece in pieces {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match stream.receive(&mut piece) {
                Ok(None) => break,
                Ok(Some(RequestEvent::Data(data))) => {
                    assert!(!data.is_empty());
                    content.extend_from_slice(&data);
                }
                Ok(Some(event)) => {
                    flush(&mut content, &mut lines);
                    lines.push(shown(event));
                }
                Err(error) => {
                    end = Err(error);
                    break 'pieces;
                }
            }
        }
        assert!(piece.is_empty());
    }
    // How much of the content came before an error depends on the pieces.
    if end.is_ok() {
        flush(&mut content, &mut lines);
    }
    (lines, end.and_then(|()| stream.finish()))
}

fn flush(content: &mut BytesMut, lines: &mut Vec<String>) {
    if !content.is_empty() {
        lines.push(format!("content {}", content.split().escape_ascii()));
    }
}

fn shown(event: RequestEvent) -> String {
    let fields = |headers: &http::HeaderMap| {
        let all = headers.iter().map(|(name, value)| format!(" | {name}: {}", value.as_bytes().escape_ascii()));
        all.collect::<String>()
    };
    match event {
        RequestEvent::Head(head) => {
            let fault = head.fault.map(|fault| format!(" ! {}", fault.what)).unwrap_or_default();
            let protocol = head.protocol.as_deref().map(|name| format!(" {}", name.escape_ascii())).unwrap_or_default();
            let headers = fields(&head.headers);
            let request = head.into_request().unwrap();
            format!("{} {}{protocol}{headers}{fault}", request.method(), request.uri())
        }
        RequestEvent::HeadTooLarge => "head too large".into(),
        RequestEvent::Data(_) => unreachable!(),
        RequestEvent::Trailers(trailers) => format!("trailers{}", fields(&trailers)),
        RequestEvent::TrailersTooLarge => "trailers too large".into(),
    }
}

/// What comes of one unidirectional stream beside others of the connection.
fn unidirectional(
    critical: &mut CriticalStreams,
    octets: &[u8],
) -> Result<(UnidirectionalStream, Vec<String>), Violation> {
    let (mut stream, mut events) = (UnidirectionalStream::default(), Vec::new());
    stream.receive(critical, octets, |event| events.push(format!("{event:?}")))?;
    Ok((stream, events))
}
