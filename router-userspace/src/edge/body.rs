//! The body of a request: a stream that is read only as fast as somebody takes it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::{
    error::{Code, StreamError},
    server::RequestStream,
};
use http::Method;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;

use super::transport::{Allowance, RecvStream};

/// How much of a body that nobody wants is read before its client is told to stop.
const DISCARDED_MAX: u64 = 1024 * 1024;

/// A request's body, read from its stream as it is polled. Dropped early, it stops the client.
pub(super) struct RequestBody {
    /// None at the end.
    rest: Option<Rest>,
    /// Read before its turn, by [`peek`](Self::peek).
    ahead: Option<Frame<Bytes>>,
    allowance: Arc<Allowance>,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// Cancelled, malformed, or the connection is gone.
    #[error("the request broke off: {0}")]
    Stream(#[from] StreamError),
    /// RFC 9114 section 4.1.2.
    #[error("the request's body is not as long as its Content-Length says")]
    Length,
    /// A frame that isn't DATA: trailers or an unknown one.
    #[error("a frame of the request takes more than {} octets", Allowance::BYTES)]
    TooBig,
}

impl BodyError {
    /// What the client is told on the response's half of the stream.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Stream(_) => Code::H3_REQUEST_CANCELLED,
            Self::Length => Code::H3_MESSAGE_ERROR,
            Self::TooBig => Code::H3_EXCESSIVE_LOAD,
        }
    }
}

impl RequestBody {
    /// The body that follows a head which was just read from `stream`.
    pub(super) fn new(
        stream: RequestStream<RecvStream, Bytes>,
        allowance: Arc<Allowance>,
        content_length: Option<u64>,
    ) -> Self {
        let rest = Rest {
            stream,
            allowance: allowance.clone(),
            // The head was read.
            progressed: true,
            trailers: false,
            remaining: content_length,
        };
        Self { rest: Some(rest), ahead: None, allowance }
    }

    /// Finds out whether there is a body at all, so that a request without one is not given a
    /// chunked one. For methods whose meaning has no body (RFC 9110 section 9.3) this waits, as
    /// the stream's end may come a packet later than the head.
    pub(super) async fn peek(&mut self, method: &Method) -> Result<(), BodyError> {
        let waits = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE].contains(method);
        let first = poll_fn(|cx| match self.poll_next(cx) {
            Poll::Pending if !waits => Poll::Ready(None),
            first => first,
        });
        self.ahead = first.await.transpose()?;
        Ok(())
    }

    /// The same once more, if there is nothing in it.
    pub(super) fn again(&self) -> Option<Self> {
        self.is_end_stream().then(|| Self { rest: None, ahead: None, allowance: self.allowance.clone() })
    }

    /// Octets of the request stream read so far: grows while the client sends and we take it.
    pub(super) fn progress(&self) -> impl Fn() -> u64 + Send + use<> {
        let allowance = self.allowance.clone();
        move || allowance.delivered()
    }

    /// Reads what is left and forgets it. Returns the octets of data.
    pub(super) async fn read_to_end(&mut self) -> Result<u64, BodyError> {
        self.read(u64::MAX).await
    }

    /// Reads what is left of a body that wasn't wanted, unless it is long: then the client is told
    /// to stop, which is no error (RFC 9114 section 4.1). To be called after the response.
    pub(super) async fn discard(mut self) {
        // Whatever is wrong with it: it has been answered.
        let _ = self.read(DISCARDED_MAX).await;
    }

    async fn read(&mut self, at_most: u64) -> Result<u64, BodyError> {
        let mut received = 0;
        while received < at_most
            && let Some(frame) = poll_fn(|cx| self.poll_next(cx)).await.transpose()?
        {
            received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(received)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let next = ready!(rest.poll_next(cx));
        if !matches!(&next, Some(Ok(frame)) if frame.is_data()) {
            self.rest = None;
        }
        Poll::Ready(next)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.get_mut().poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.ahead.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        match self.rest.as_ref().map(|rest| rest.remaining) {
            None => SizeHint::with_exact(ahead),
            Some(Some(remaining)) => SizeHint::with_exact(ahead + remaining),
            Some(None) => SizeHint::default(),
        }
    }
}

impl Drop for RequestBody {
    /// Who reads by Content-Length has all octets, but perhaps not the stream's end, which may
    /// come in a packet of its own. To stop a client that has sent everything would look to it
    /// like a failure.
    fn drop(&mut self) {
        let Some(mut rest) = self.rest.take_if(|rest| rest.remaining == Some(0)) else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { while let Some(Ok(_)) = poll_fn(|cx| rest.poll_next(cx)).await {} });
        }
    }
}

/// What was not yet read.
struct Rest {
    stream: RequestStream<RecvStream, Bytes>,
    allowance: Arc<Allowance>,
    /// Data came since the allowance was renewed.
    progressed: bool,
    /// The data is over.
    trailers: bool,
    /// Octets still to come by Content-Length.
    remaining: Option<u64>,
}

impl Rest {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = if self.trailers { ready!(self.poll_trailers(cx)) } else { ready!(self.poll_data(cx)) };
        if let Some(Err(BodyError::Length)) = next {
            self.stream.stop_sending(Code::H3_MESSAGE_ERROR);
        }
        Poll::Ready(next)
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let data = match self.stream.poll_recv_data(cx) {
                Poll::Ready(Ok(Some(mut data))) => data.copy_to_bytes(data.remaining()),
                Poll::Ready(Ok(None)) if self.remaining.is_some_and(|remaining| remaining > 0) => {
                    return Poll::Ready(Some(Err(BodyError::Length)));
                }
                Poll::Ready(Ok(None)) => {
                    self.trailers = true;
                    self.allowance.renew();
                    return self.poll_trailers(cx);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                // h3 has made data of all that it could: let it have more.
                Poll::Pending if self.allowance.is_spent() && self.progressed => {
                    self.progressed = false;
                    self.allowance.renew();
                    continue;
                }
                Poll::Pending if self.allowance.is_spent() => return Poll::Ready(Some(Err(BodyError::TooBig))),
                Poll::Pending => return Poll::Pending,
            };
            self.progressed = true;
            if let Some(remaining) = &mut self.remaining {
                match remaining.checked_sub(data.len() as u64) {
                    Some(left) => *remaining = left,
                    None => return Poll::Ready(Some(Err(BodyError::Length))),
                }
            }
            // An empty DATA frame says nothing, and would end a chunked body.
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.stream.poll_recv_trailers(cx) {
            Poll::Pending if self.allowance.is_spent() => Poll::Ready(Some(Err(BodyError::TooBig))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(Ok(trailers)) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
        }
    }
}
