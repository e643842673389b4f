//! The receiving half of a request stream: what comes by QUIC goes through [`router_http3`], and only as fast as it is
//! asked for.

use std::{
    future::poll_fn,
    mem,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use quinn::{ReadError, VarInt};
use router_http3::{Code, MessageLimits, RequestError, RequestEvent, RequestStream, Violation};

use super::{client_connection::ClientConnection, error_code::varint};
use crate::edge::http::read_meter::ReadMeter;

/// A request stream that is read.
pub(in crate::edge) struct RequestReader {
    stream: quinn::RecvStream,
    protocol: RequestStream,
    /// Read from the stream and not looked at yet: one lock of the connection for several packets.
    pieces: [Bytes; PIECES],
    next: usize,
    /// The client ended or reset the stream, or was asked to stop.
    closed: bool,
    meter: Arc<ReadMeter>,
    connection: Arc<ClientConnection>,
}

/// Pieces that are read at once. Each is a packet's at most.
const PIECES: usize = 8;

/// Why no more comes of a request.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ReadFailure {
    #[error("the client reset the stream with {}", Code::new(.0.into_inner()))]
    Reset(VarInt),
    /// RFC 9114 section 8: of the stream. Its client has been told to stop.
    #[error("{0}")]
    Stream(Violation),
    /// The connection is lost, or is closed for this.
    #[error("{0}")]
    Connection(Violation),
    #[error(transparent)]
    Lost(ReadError),
}

/// The next part of a request; none behind its end.
pub(in crate::edge) type NextEvent = Result<Option<RequestEvent>, ReadFailure>;

impl ReadFailure {
    /// What the response's half of the stream is reset with.
    pub(in crate::edge) fn code(&self) -> Code {
        match self {
            Self::Stream(violation) | Self::Connection(violation) => violation.code,
            Self::Reset(_) | Self::Lost(_) => Code::H3_REQUEST_CANCELLED,
        }
    }
}

impl RequestReader {
    pub(super) fn new(stream: quinn::RecvStream, limits: MessageLimits, connection: Arc<ClientConnection>) -> Self {
        Self {
            stream,
            protocol: RequestStream::new(limits),
            pieces: Default::default(),
            next: PIECES,
            closed: false,
            meter: Arc::default(),
            connection,
        }
    }

    /// Has the octets of it that were read.
    pub(in crate::edge) fn meter(&self) -> &Arc<ReadMeter> {
        &self.meter
    }

    /// Octets of content still to come, if Content-Length says.
    pub(in crate::edge) fn content_left(&self) -> Option<u64> {
        self.protocol.content_left()
    }

    /// The next part of the request; none behind its end.
    pub(super) async fn next(&mut self) -> NextEvent {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, polled.
    pub(in crate::edge) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<NextEvent> {
        loop {
            while let Some(piece) = self.pieces.get_mut(self.next) {
                match self.protocol.receive(piece) {
                    Ok(Some(event)) => return Poll::Ready(Ok(Some(event))),
                    Ok(None) => self.next += 1,
                    Err(error) => return Poll::Ready(Err(self.fail(error))),
                }
            }
            if self.closed {
                return Poll::Ready(Ok(None));
            }
            // Made anew for each poll, as it keeps its state in the stream.
            let read = ready!(pin!(self.stream.read_chunks(&mut self.pieces)).poll(cx));
            match read {
                Ok(Some(read)) => {
                    self.meter.add_read(self.pieces.iter().take(read).map(Bytes::len).sum());
                    // Those behind what was read have been looked at before, and are empty.
                    self.next = 0;
                }
                Ok(None) => {
                    self.closed = true;
                    if let Err(error) = self.protocol.finish() {
                        return Poll::Ready(Err(self.fail(error)));
                    }
                }
                Err(ReadError::Reset(code)) => {
                    self.closed = true;
                    return Poll::Ready(Err(ReadFailure::Reset(code)));
                }
                Err(error) => {
                    self.closed = true;
                    return Poll::Ready(Err(ReadFailure::Lost(error)));
                }
            }
        }
    }

    fn fail(&mut self, error: RequestError) -> ReadFailure {
        self.next = PIECES;
        match error {
            RequestError::Stream(violation) => {
                self.stop(violation.code);
                ReadFailure::Stream(violation)
            }
            RequestError::Connection(violation) => {
                self.closed = true;
                self.connection.close(violation);
                ReadFailure::Connection(violation)
            }
        }
    }

    /// Asks the client to send no more.
    pub(in crate::edge) fn stop(&mut self, code: Code) {
        if !mem::replace(&mut self.closed, true) {
            // Fails only on a stream that is closed.
            let _ = self.stream.stop(varint(code));
        }
    }
}

impl Drop for RequestReader {
    /// RFC 9114 section 4.1: what remains of a request is not needed for its response. Load generators count any other
    /// code as a failure.
    fn drop(&mut self) {
        self.stop(Code::H3_NO_ERROR);
    }
}
