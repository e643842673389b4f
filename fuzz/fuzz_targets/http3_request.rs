//! A request stream and the client's own streams in arbitrary pieces: the same comes of them as if they came at once,
//! and nothing panics.
//!
//! `cargo +nightly fuzz run http3_request` (from this folder's parent).

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use router_http3::{CriticalStreams, MessageLimits, RequestEvent, RequestStream, UnidirectionalStream};

const LIMITS: MessageLimits =
    MessageLimits { max_field_section_size: 4096, max_fields: 32, max_ignored: 4096, extended_connect: true };

/// The events of a request stream, its content put together, and how it ends.
fn request(octets: &[u8], size: usize) -> (Vec<String>, Vec<u8>, String) {
    let (mut stream, mut events, mut content) = (RequestStream::new(LIMITS), Vec::new(), Vec::new());
    for piece in octets.chunks(size) {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            match stream.receive(&mut piece) {
                Ok(None) => break,
                Ok(Some(RequestEvent::Data(data))) => content.extend_from_slice(&data),
                Ok(Some(event)) => events.push(format!("{event:?}")),
                // How much of the content came before it depends on the pieces.
                Err(error) => return (events, Vec::new(), format!("{error:?}")),
            }
        }
        assert!(piece.is_empty());
    }
    (events, content, format!("{:?}", stream.finish()))
}

fn unidirectional(octets: &[u8], size: usize) -> (Vec<String>, String) {
    let (mut critical, mut stream) = (CriticalStreams::default(), UnidirectionalStream::default());
    let mut events = Vec::new();
    for piece in octets.chunks(size) {
        if let Err(violation) = stream.receive(&mut critical, piece, |event| events.push(format!("{event:?}"))) {
            return (events, violation.to_string());
        }
    }
    (events, format!("{:?}", stream.closed()))
}

fuzz_target!(|input: &[u8]| {
    let [size, octets @ ..] = input else { return };
    let (size, whole) = (usize::from(*size).max(1), octets.len().max(1));
    assert_eq!(request(octets, size), request(octets, whole));
    assert_eq!(unidirectional(octets, size), unidirectional(octets, whole));
});
