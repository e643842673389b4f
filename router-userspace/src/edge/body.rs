//! The body of a request: read only as fast as somebody takes it, whatever it comes by.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use h3::{
    error::{Code, StreamError},
    server::RequestStream,
};
use http::Method;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{runtime::Handle, time::timeout};

use super::transport::{Allowance, RecvStream};

/// How much of a body that nobody wants is read before its client is told to stop.
const DISCARDED_MAX: u64 = 1024 * 1024;

/// How long it is read.
const DISCARDING_MAX: Duration = Duration::from_secs(10);

/// A request's body, read as it is polled. Dropped early, what is left of it is read for a while
/// and forgotten; a client that goes on for long is told to stop (over HTTP/3 that is no error,
/// RFC 9114 section 4.1).
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
    /// The same over HTTP/1.1 or HTTP/2.
    #[error("the request broke off: {0}")]
    Connection(#[from] hyper::Error),
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
            Self::Stream(_) | Self::Connection(_) => Code::H3_REQUEST_CANCELLED,
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
        let rest = Streamed {
            stream,
            allowance: allowance.clone(),
            // The head was read.
            progressed: true,
            trailers: false,
            remaining: content_length,
        };
        Self { rest: Some(Rest::Http3(Box::new(rest))), ahead: None, allowance }
    }

    /// The body of a request that came by HTTP/1.1 or HTTP/2, where hyper keeps to Content-Length.
    pub(super) fn incoming(body: Incoming) -> Self {
        let rest = (!body.is_end_stream()).then_some(Rest::Tcp(body));
        Self { rest, ahead: None, allowance: Arc::default() }
    }

    /// Has the octets of it that were read.
    pub(super) fn read(&self) -> &Arc<Allowance> {
        &self.allowance
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
        let mut received = 0;
        while let Some(frame) = poll_fn(|cx| self.poll_next(cx)).await.transpose()? {
            received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(received)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let next = ready!(rest.poll_next(cx, &self.allowance));
        if let Some(data) = next.as_ref().and_then(|next| next.as_ref().ok()?.data_ref()) {
            self.allowance.add_content(data.len());
        }
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
        let remaining = match &self.rest {
            None => Some(0),
            Some(Rest::Http3(rest)) => rest.remaining,
            Some(Rest::Tcp(rest)) => rest.size_hint().exact(),
        };
        remaining.map_or_else(SizeHint::default, |remaining| SizeHint::with_exact(ahead + remaining))
    }
}

impl Drop for RequestBody {
    /// A client that sends on after its response was begun is no faulty one, and to stop a client
    /// whose stream's end comes in a packet of its own would look to it like a failure.
    fn drop(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let (read, most) = (self.allowance.clone(), rest.discarded_max());
        let discarded = async move {
            let mut received = 0;
            while received < most
                && let Some(Ok(frame)) = poll_fn(|cx| rest.poll_next(cx, &read)).await
            {
                received += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
        };
        runtime.spawn(timeout(DISCARDING_MAX, discarded));
    }
}

/// What was not yet read.
enum Rest {
    /// In a box: it is moved from hand to hand until somebody reads it.
    Http3(Box<Streamed>),
    Tcp(Incoming),
}

impl Rest {
    /// How much of it is read for nobody. Over HTTP/1.1 there is no way to tell a client to stop but to close
    /// the connection, and what it sends then makes the kernel forget the response it has not read.
    fn discarded_max(&self) -> u64 {
        match self {
            Self::Http3(_) => DISCARDED_MAX,
            Self::Tcp(_) => u64::MAX,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, read: &Allowance) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http3(rest) => rest.poll_next(cx),
            Self::Tcp(body) => {
                let next = ready!(Pin::new(body).poll_frame(cx));
                if let Some(data) = next.as_ref().and_then(|next| next.as_ref().ok()?.data_ref()) {
                    read.spend(data.len());
                }
                Poll::Ready(next.map(|next| next.map_err(BodyError::from)))
            }
        }
    }
}

/// The rest of a request stream of HTTP/3.
struct Streamed {
    stream: RequestStream<RecvStream, Bytes>,
    allowance: Arc<Allowance>,
    /// Data came since the allowance was renewed.
    progressed: bool,
    /// The data is over.
    trailers: bool,
    /// Octets still to come by Content-Length.
    remaining: Option<u64>,
}

impl Streamed {
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
