//! The client's unidirectional streams: its settings, and QPACK streams on which little may be said to a table of
//! capacity 0. That one of them ends is noticed (RFC 9114 section 6.2.1).

use std::sync::{Arc, Mutex, PoisonError};

use quinn::{ReadError, RecvStream};
use router_http3::{Code, CriticalStreams, Progress, UnidirectionalStream, Violation};

use super::error_code::varint;

/// Reads a stream to its end; what on it breaks the protocol, if anything does.
pub(super) async fn read(mut stream: RecvStream, critical: Arc<Mutex<CriticalStreams>>) -> Option<Violation> {
    let mut protocol = UnidirectionalStream::default();
    loop {
        match stream.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => {
                let received = {
                    let mut critical = critical.lock().unwrap_or_else(PoisonError::into_inner);
                    // Neither pushes nor priorities are made use of.
                    protocol.receive(&mut critical, &chunk.bytes, |_event| {})
                };
                match received {
                    Ok(Progress::Reading) => {}
                    Ok(Progress::Unknown) => {
                        // Fails only on a stream that is closed.
                        let _ = stream.stop(varint(Code::H3_STREAM_CREATION_ERROR));
                        return None;
                    }
                    Err(violation) => return Some(violation),
                }
            }
            Ok(None) | Err(ReadError::Reset(_)) => return protocol.closed().err(),
            Err(_lost) => return None,
        }
    }
}
