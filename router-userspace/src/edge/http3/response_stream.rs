//! The sending half of a request stream: a response on its way to a client.
//!
//! It ends in one of two ways: with the stream's end, or a RESET_STREAM. A response that breaks off
//! never looks complete.

use std::{future::poll_fn, pin::Pin, task::Poll};

use bytes::{Bytes, BytesMut};
use http::{Response, response::Parts};
use http_body::{Body, Frame};
use quinn::WriteError;
use router_http3::{Code, Priority, data_header, write_head, write_trailers};

use super::varint;
use crate::edge::{
    http::{
        headers,
        response::{ResponseBody, ResponseError},
    },
    pace::{Pace, TooSlow},
};

/// The sending half of a request stream.
pub(super) struct ResponseWriter {
    stream: quinn::SendStream,
    /// Where heads and the headers of frames are written.
    buffer: BytesMut,
    closed: bool,
    pace: Pace,
}

/// Why no complete response was given.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteFailure {
    /// Cancelled, or the connection is gone.
    #[error("the client did not take the response: {0}")]
    Client(#[from] WriteError),
    /// RFC 9114 section 4.1.1: the response is cancelled.
    #[error(transparent)]
    Slow(#[from] TooSlow),
    #[error(transparent)]
    Response(#[from] ResponseError),
}

impl WriteFailure {
    /// What the client is told, if it is still there.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Client(_) => Code::H3_INTERNAL_ERROR,
            Self::Slow(_) => Code::H3_REQUEST_CANCELLED,
            Self::Response(error) => error.code(),
        }
    }
}

impl ResponseWriter {
    /// `pace` is how fast the client has to take what is written.
    pub(super) fn new(stream: quinn::SendStream, pace: Pace) -> Self {
        Self { stream, buffer: BytesMut::new(), closed: false, pace }
    }

    /// How urgent it is (RFC 9218 section 10). What is as urgent as another takes turns with it.
    pub(super) fn prioritize(&self, priority: Priority) {
        if priority.urgency != Priority::default().urgency {
            // Fails only on a stream that is closed.
            let _ = self.stream.set_priority(-i32::from(priority.urgency) + i32::from(Priority::default().urgency));
        }
    }

    /// A response before the response (RFC 9114 section 4.1).
    pub(super) async fn interim(&mut self, response: Response<()>) -> Result<(), WriteFailure> {
        write_head(response.status(), response.headers(), &mut self.buffer);
        self.flush().await
    }

    /// The response, all of it; each piece as the connection's send buffer has room. The head, and what of the body is
    /// there, go in one.
    pub(super) async fn send(&mut self, response: Response<ResponseBody>) -> Result<(), WriteFailure> {
        let (head, mut body) = response.into_parts();
        let sent = self.send_parts(&head, &mut body).await;
        if let Err(WriteFailure::Slow(_)) = &sent {
            body.timed_out();
        }
        sent
    }

    async fn send_parts(&mut self, head: &Parts, body: &mut ResponseBody) -> Result<(), WriteFailure> {
        self.buffer.reserve(HEAD_USUAL);
        write_head(head.status, &head.headers, &mut self.buffer);
        let mut next = match body.is_end_stream() {
            true => Poll::Ready(None),
            // The head goes first, and waits for room.
            false if body.is_on_disk() => Poll::Pending,
            false => poll_once(body).await,
        };
        loop {
            next = match next {
                Poll::Ready(Some(frame)) => match self.write(frame?, body).await? {
                    true => break,
                    false => poll_once(body).await,
                },
                Poll::Ready(None) => break self.flush().await?,
                Poll::Pending => {
                    self.flush().await?;
                    Poll::Ready(poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await)
                }
            };
        }
        // Fails only on a stream that the client has stopped, and that is no failure of the response.
        let _ = self.stream.finish();
        self.closed = true;
        Ok(())
    }

    /// What is in the buffer, and a frame of the body. Whether it was the last.
    async fn write(&mut self, frame: Frame<Bytes>, body: &ResponseBody) -> Result<bool, WriteFailure> {
        match frame.into_data() {
            // An empty DATA frame says nothing.
            Ok(data) if data.is_empty() => Ok(false),
            Ok(data) => {
                let is_end = body.is_end_stream();
                self.buffer.extend_from_slice(data_header(data.len()).as_ref());
                let mut pieces = [self.buffer.split().freeze(), data];
                self.put(&mut pieces).await?;
                Ok(is_end)
            }
            Err(frame) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    headers::remove_hop_by_hop(&mut trailers);
                    write_trailers(&trailers, &mut self.buffer);
                }
                self.flush().await?;
                Ok(true)
            }
        }
    }

    async fn flush(&mut self) -> Result<(), WriteFailure> {
        let octets = self.buffer.split().freeze();
        self.put(&mut [octets]).await
    }

    /// Gives the connection all of `pieces`, as fast as the client takes it.
    async fn put(&mut self, pieces: &mut [Bytes]) -> Result<(), WriteFailure> {
        // What has been written of them is taken out.
        while let Some(next) = pieces.iter().position(|piece| !piece.is_empty()) {
            let stream = &mut self.stream;
            let step = async { stream.write_chunks(&mut pieces[next..]).await.map(|written| written.bytes) };
            self.pace.within(step).await??;
        }
        Ok(())
    }

    /// Breaks off, unless it is complete.
    pub(super) fn reset(&mut self, code: Code) {
        if !std::mem::replace(&mut self.closed, true) {
            // Fails only on a stream that is closed.
            let _ = self.stream.reset(varint(code));
        }
    }

    /// Resolves when the client has all of it, stopped it with a code, or is gone.
    pub(super) fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<quinn::VarInt>, quinn::StoppedError>> + Send + use<> {
        self.stream.stopped()
    }
}

impl Drop for ResponseWriter {
    fn drop(&mut self) {
        self.reset(Code::H3_INTERNAL_ERROR);
    }
}

/// What of a body is there now.
async fn poll_once(body: &mut ResponseBody) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await
}

/// Octets that most heads, and the header of a frame behind them, fit into.
const HEAD_USUAL: usize = 512;
