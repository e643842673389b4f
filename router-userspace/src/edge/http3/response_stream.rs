//! The sending half of a request stream: a response on its way to a client.
//!
//! It ends in one of two ways: with the stream's end, or a RESET_STREAM. A response that breaks off
//! never looks complete.

use std::{future::poll_fn, mem, pin::Pin, task::Poll};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::{Body, Frame};
use quinn::WriteError;
use router_http3::{Code, Priority, data_header, write_head, write_trailers};

use super::error_code::varint;
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
    /// Content behind what is in the buffer.
    content: Bytes,
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
        Self { stream, buffer: BytesMut::new(), content: Bytes::new(), closed: false, pace }
    }

    /// How urgent it is (RFC 9218 section 10). What is as urgent as another takes turns with it.
    pub(super) fn prioritize(&self, priority: Priority) {
        if priority.urgency != Priority::default().urgency {
            // Fails only on a stream that is closed.
            let _ = self.stream.set_priority(-i32::from(priority.urgency) + i32::from(Priority::default().urgency));
        }
    }

    /// A response before the response (RFC 9114 section 4.1): it goes with the next [`flush`](Self::flush), or with the
    /// response.
    pub(super) fn interim(&mut self, response: &Response<()>) {
        write_head(response.status(), response.headers(), &mut self.buffer);
    }

    /// The response, all of it; each piece as the connection's send buffer has room. The head, and what of the body is
    /// there, go in one.
    pub(super) async fn send(&mut self, response: &mut Response<ResponseBody>) -> Result<(), WriteFailure> {
        self.buffer.reserve(HEAD_USUAL);
        write_head(response.status(), response.headers(), &mut self.buffer);
        let body = response.body_mut();
        let sent = self.send_body(body).await;
        if let Err(WriteFailure::Slow(_)) = &sent {
            body.timed_out();
        }
        sent
    }

    async fn send_body(&mut self, body: &mut ResponseBody) -> Result<(), WriteFailure> {
        // The head of what is on disk goes first, and waits for room.
        let mut is_waited_for = body.is_on_disk();
        loop {
            let next = match body.is_end_stream() {
                true => Poll::Ready(None),
                false if is_waited_for => Poll::Pending,
                false => poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await,
            };
            is_waited_for = false;
            let is_last = match next {
                Poll::Ready(next) => self.take_in(next.transpose()?, body),
                // It has to be waited for: what there is goes meanwhile.
                Poll::Pending => {
                    self.flush().await?;
                    let next = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
                    self.take_in(next.transpose()?, body)
                }
            };
            if is_last || !self.content.is_empty() {
                self.flush().await?;
            }
            if is_last {
                break;
            }
        }
        // Fails only on a stream that the client has stopped, and that is no failure of the response.
        let _ = self.stream.finish();
        self.closed = true;
        Ok(())
    }

    /// Puts a frame of the body, none at its end, behind what is in the buffer. Whether it was the last.
    fn take_in(&mut self, frame: Option<Frame<Bytes>>, body: &ResponseBody) -> bool {
        match frame.map(Frame::into_data) {
            None => true,
            // An empty DATA frame says nothing.
            Some(Ok(data)) if data.is_empty() => false,
            Some(Ok(data)) => {
                self.buffer.extend_from_slice(data_header(data.len()).as_ref());
                self.content = data;
                body.is_end_stream()
            }
            Some(Err(frame)) => {
                if let Ok(mut trailers) = frame.into_trailers() {
                    headers::remove_hop_by_hop(&mut trailers);
                    write_trailers(&trailers, &mut self.buffer);
                }
                true
            }
        }
    }

    /// Gives the connection the buffer and the content behind it, as fast as the client takes them.
    pub(super) async fn flush(&mut self) -> Result<(), WriteFailure> {
        let mut pieces = [self.buffer.split().freeze(), mem::take(&mut self.content)];
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
        if !mem::replace(&mut self.closed, true) {
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

/// Octets that most heads, and the header of a frame behind them, fit into.
const HEAD_USUAL: usize = 512;
