//! The body of a request: read only as fast as it is taken, whatever it comes by.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use router_http3::{Code, RequestEvent};
use tokio::{runtime::Handle, time::timeout};

use super::read_meter::ReadMeter;
use crate::edge::{
    http3::request_stream::{NextEvent, ReadFailure, RequestReader},
    pace::{Pace, Waiting},
    tcp::Unread,
};

/// How much of a body that is not wanted is read before its client is told to stop.
const DISCARDED_MAX: u64 = 1024 * 1024;

/// How long it is read.
const DISCARDING_MAX: Duration = Duration::from_secs(10);

/// A request's body, read as it is polled. Dropped early, what is left of it is read for a while
/// and forgotten; a client that goes on for long is told to stop (over HTTP/3 that is no error,
/// RFC 9114 section 4.1).
pub(in crate::edge) struct RequestBody {
    /// None at the end. In a box, as it is large and passed on from one function to the next; most requests have none.
    remaining: Option<Box<Remaining>>,
    meter: Arc<ReadMeter>,
}

/// What was not yet taken of a body.
struct Remaining {
    source: Source,
    /// Read before its turn, by [`peek`](RequestBody::peek) or with the head.
    ahead: Option<Result<Frame<Bytes>, BodyError>>,
    /// How fast the client has to send it; none: as it likes.
    pace: Option<Waiting>,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum BodyError {
    /// Cancelled, malformed, or the connection is gone.
    #[error("the request broke off: {0}")]
    Http3(#[from] ReadFailure),
    /// The same over HTTP/1.1 or HTTP/2.
    #[error("the request broke off: {0}")]
    Connection(#[from] hyper::Error),
    /// Of HTTP/3; hyper has a limit of its own.
    #[error("the request's trailers are beyond `limits.max_header_bytes` or `limits.max_headers`")]
    TrailersTooLarge,
    #[error("the request's body did not come in time")]
    Late,
}

impl BodyError {
    /// What the client is told on the response's half of the stream.
    pub(in crate::edge) fn code(&self) -> Code {
        match self {
            Self::Http3(failure) => failure.code(),
            Self::Connection(_) | Self::Late => Code::H3_REQUEST_CANCELLED,
            Self::TrailersTooLarge => Code::H3_EXCESSIVE_LOAD,
        }
    }

    /// The client has cancelled the request.
    pub(in crate::edge) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Http3(ReadFailure::Reset(_)))
    }
}

impl RequestBody {
    /// None.
    pub(in crate::edge) fn nothing(meter: Arc<ReadMeter>) -> Self {
        Self { remaining: None, meter }
    }

    /// The body that follows a head which was just read by `reader`, and what is there of it already. The client has
    /// to send it at this pace, until the response begins.
    pub(in crate::edge) fn http3(mut reader: RequestReader, first: Option<NextEvent>, pace: Pace) -> Self {
        let meter = Arc::clone(reader.meter());
        let ahead = first.map(|first| content(first, &mut reader));
        if let Some(None) = ahead {
            return Self::nothing(meter);
        }
        let ahead = ahead.flatten().inspect(|ahead| meter.add_content(octets(ahead)));
        let remaining = Remaining { source: Source::Http3(reader), ahead, pace: Some(Waiting::new(pace)) };
        Self { remaining: Some(Box::new(remaining)), meter }
    }

    /// The body of a request that came by HTTP/1.1 or HTTP/2, where hyper keeps to Content-Length.
    /// `unread` notes that there is one. The client has to send it at this pace, until the response begins.
    pub(in crate::edge) fn incoming(body: Incoming, unread: impl FnOnce() -> Unread, pace: Pace) -> Self {
        if body.is_end_stream() {
            return Self::nothing(Arc::default());
        }
        let source = Source::Tcp { body, _unread: unread() };
        let remaining = Remaining { source, ahead: None, pace: Some(Waiting::new(pace)) };
        Self { remaining: Some(Box::new(remaining)), meter: Arc::default() }
    }

    /// It, with nothing left in its place.
    pub(in crate::edge) fn take(&mut self) -> Self {
        Self { remaining: self.remaining.take(), meter: Arc::clone(&self.meter) }
    }

    /// Has the octets of it that were read.
    pub(in crate::edge) fn meter(&self) -> &Arc<ReadMeter> {
        &self.meter
    }

    /// Finds out whether there is a body at all, so that a request without one is not given a
    /// chunked one. For methods whose meaning has no body (RFC 9110 section 9.3), and where Content-Length says that
    /// there is none, this waits for a moment, as the stream's end may come a packet later than the head; a client that
    /// leaves its stream open after that does not hold up its own request.
    pub(in crate::edge) async fn peek(&mut self, method: &Method) -> Result<(), BodyError> {
        let first = match poll_fn(|cx| Poll::Ready(self.poll_next(cx))).await {
            Poll::Ready(first) => first,
            Poll::Pending => {
                let is_empty = self.size_hint().exact() == Some(0);
                let usually_without = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE];
                if !is_empty && !usually_without.contains(method) {
                    return Ok(());
                }
                // In a box: a future is as large as the rarest of what it may wait for.
                match Box::pin(timeout(END_LATE_MAX, poll_fn(|cx| self.poll_next(cx)))).await {
                    Ok(first) => first,
                    Err(_elapsed) => {
                        if is_empty {
                            self.discard();
                        }
                        return Ok(());
                    }
                }
            }
        };
        let first = first.transpose()?;
        if let Some(remaining) = &mut self.remaining {
            remaining.ahead = first.map(Ok);
        }
        Ok(())
    }

    /// The same once more, if there is nothing in it.
    pub(in crate::edge) fn again(&self) -> Option<Self> {
        self.is_end_stream().then(|| Self::nothing(Arc::clone(&self.meter)))
    }

    /// Octets of the request stream read so far: grows while the client sends and we take it.
    pub(in crate::edge) fn progress(&self) -> impl Fn() -> u64 + Send + use<> {
        let meter = Arc::clone(&self.meter);
        move || meter.read()
    }

    /// Reads what is left and forgets it. Returns the octets of data.
    pub(in crate::edge) async fn read_to_end(&mut self) -> Result<u64, BodyError> {
        let mut received = 0;
        while let Some(frame) = poll_fn(|cx| self.poll_next(cx)).await.transpose()? {
            received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Ok(received)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<NextFrame> {
        let Some(remaining) = &mut self.remaining else { return Poll::Ready(None) };
        if let Some(ahead) = remaining.ahead.take() {
            if ahead.is_err() {
                self.remaining = None;
            }
            return Poll::Ready(Some(ahead));
        }
        let next = match (remaining.source.poll_next(cx, &self.meter), &mut remaining.pace) {
            (Poll::Ready(next), pace) => {
                if let Some(pace) = pace {
                    pace.moved(next.as_ref().map_or(0, octets));
                }
                next
            }
            (Poll::Pending, Some(pace)) if !self.meter.is_answered() => {
                ready!(pace.poll_late(cx));
                Some(Err(BodyError::Late))
            }
            (Poll::Pending, pace) => {
                pace.iter_mut().for_each(Waiting::pause);
                return Poll::Pending;
            }
        };
        match &next {
            Some(frame @ Ok(_)) => self.meter.add_content(octets(frame)),
            // Behind trailers, too, the stream's end is read.
            Some(Err(_)) | None => self.remaining = None,
        }
        Poll::Ready(next)
    }

    /// What is left is read for a while, and forgotten.
    ///
    /// A client that sends on after its response was begun is no faulty one, and to stop a client
    /// whose stream's end comes in a packet of its own would look to it like a failure.
    fn discard(&mut self) {
        let Some(mut remaining) = self.remaining.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let (meter, most) = (Arc::clone(&self.meter), remaining.source.discarded_max());
        let discarded = async move {
            let mut received = 0;
            while received < most
                && let Some(Ok(frame)) = poll_fn(|cx| remaining.source.poll_next(cx, &meter)).await
            {
                received += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
        };
        runtime.spawn(timeout(DISCARDING_MAX, discarded));
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame> {
        self.get_mut().poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let Some(remaining) = &self.remaining else { return SizeHint::with_exact(0) };
        let ahead = remaining.ahead.as_ref().map_or(0, octets) as u64;
        let left = match &remaining.source {
            Source::Http3(reader) => reader.content_left(),
            Source::Tcp { body, .. } => body.size_hint().exact(),
        };
        left.map_or_else(SizeHint::default, |left| SizeHint::with_exact(ahead + left))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.discard();
    }
}

/// What is polled of a body: a frame of it, or why it ends early; none at its end.
type NextFrame = Option<Result<Frame<Bytes>, BodyError>>;

/// Octets of content in a frame.
fn octets(frame: &Result<Frame<Bytes>, BodyError>) -> usize {
    frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len)
}

/// Where a body is read from.
#[expect(clippy::large_enum_variant, reason = "it is in a box already, with what was read ahead of it")]
enum Source {
    Http3(RequestReader),
    Tcp { body: Incoming, _unread: Unread },
}

impl Source {
    /// How much of it is read to be thrown away. Over HTTP/1.1 there is no way to tell a client to stop but to close
    /// the connection, and what it sends then makes the kernel forget the response it has not read.
    fn discarded_max(&self) -> u64 {
        match self {
            Self::Http3(_) => DISCARDED_MAX,
            Self::Tcp { .. } => u64::MAX,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, meter: &ReadMeter) -> Poll<NextFrame> {
        match self {
            Self::Http3(reader) => {
                let event = ready!(reader.poll_next(cx));
                Poll::Ready(content(event, reader))
            }
            Self::Tcp { body, .. } => {
                let next = ready!(Pin::new(body).poll_frame(cx));
                if let Some(data) = next.as_ref().and_then(|next| next.as_ref().ok()?.data_ref()) {
                    meter.add_read(data.len());
                }
                Poll::Ready(next.map(|next| next.map_err(BodyError::from)))
            }
        }
    }
}

/// What an event behind the head says of the body.
fn content(event: NextEvent, reader: &mut RequestReader) -> NextFrame {
    match event {
        Ok(Some(RequestEvent::Data(data))) => Some(Ok(Frame::data(data))),
        Ok(Some(RequestEvent::Trailers(trailers))) => Some(Ok(Frame::trailers(trailers))),
        Ok(Some(RequestEvent::TrailersTooLarge)) => {
            reader.stop(Code::H3_EXCESSIVE_LOAD);
            Some(Err(BodyError::TrailersTooLarge))
        }
        // The head was read.
        Ok(Some(RequestEvent::Head(_) | RequestEvent::HeadTooLarge) | None) => None,
        Err(failure) => Some(Err(failure.into())),
    }
}

/// How long the end of a request may come behind its head before the request is passed on as if it had content.
const END_LATE_MAX: Duration = Duration::from_millis(200);
