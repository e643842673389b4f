//! The body of a request: read only as fast as somebody takes it, whatever it comes by.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use router_http3::{Code, RequestEvent};
use tokio::{runtime::Handle, time::timeout};

use crate::edge::{
    http3::request_stream::{ReadFailure, RequestReader},
    pace::{Pace, Waiting},
    tcp::Unread,
};

/// How much of a body that nobody wants is read before its client is told to stop.
const DISCARDED_MAX: u64 = 1024 * 1024;

/// How long it is read.
const DISCARDING_MAX: Duration = Duration::from_secs(10);

/// A request's body, read as it is polled. Dropped early, what is left of it is read for a while
/// and forgotten; a client that goes on for long is told to stop (over HTTP/3 that is no error,
/// RFC 9114 section 4.1).
pub(in crate::edge) struct RequestBody {
    /// None at the end.
    rest: Option<Rest>,
    /// Read before its turn, by [`peek`](Self::peek).
    ahead: Option<Frame<Bytes>>,
    meter: Arc<ReadMeter>,
    /// How fast the client has to send it; none: as it likes.
    pace: Option<Waiting>,
}

/// Counts what is read of a request, for those who do not read it themselves. One thread writes: no need for a
/// read-modify-write instruction.
#[derive(Debug, Default)]
pub(in crate::edge) struct ReadMeter {
    read: AtomicU64,
    content: AtomicU64,
    answered: AtomicBool,
}

impl ReadMeter {
    /// Octets of the request that were read, whatever they were.
    pub(in crate::edge) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    /// Octets of its content that were read.
    pub(in crate::edge) fn content(&self) -> u64 {
        self.content.load(Relaxed)
    }

    /// The response has begun: from now on the request may pause for it.
    pub(in crate::edge) fn answered(&self) {
        self.answered.store(true, Relaxed);
    }

    pub(in crate::edge) fn add_read(&self, octets: usize) {
        self.read.store(self.read.load(Relaxed) + octets as u64, Relaxed);
    }

    fn add_content(&self, octets: usize) {
        self.content.store(self.content.load(Relaxed) + octets as u64, Relaxed);
    }
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
    /// The body that follows a head which was just read by `reader`.
    pub(in crate::edge) fn http3(reader: RequestReader) -> Self {
        let meter = Arc::clone(reader.meter());
        Self { rest: Some(Rest::Http3(Box::new(reader))), ahead: None, meter, pace: None }
    }

    /// The body of a request that came by HTTP/1.1 or HTTP/2, where hyper keeps to Content-Length.
    /// `unread` notes that there is one.
    pub(in crate::edge) fn incoming(body: Incoming, unread: impl FnOnce() -> Unread) -> Self {
        let rest = (!body.is_end_stream()).then(|| Rest::Tcp { body, _unread: unread() });
        Self { rest, ahead: None, meter: Arc::default(), pace: None }
    }

    /// The client has to send it at this pace, until the response begins.
    pub(in crate::edge) fn paced(mut self, pace: Pace) -> Self {
        self.pace = Some(Waiting::new(pace));
        self
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
                match timeout(END_LATE_MAX, poll_fn(|cx| self.poll_next(cx))).await {
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
        self.ahead = first.transpose()?;
        Ok(())
    }

    /// The same once more, if there is nothing in it.
    pub(in crate::edge) fn again(&self) -> Option<Self> {
        self.is_end_stream().then(|| Self { rest: None, ahead: None, meter: Arc::clone(&self.meter), pace: None })
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

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let next = match (rest.poll_next(cx, &self.meter), &mut self.pace) {
            (Poll::Ready(next), pace) => {
                let octets = next.as_ref().and_then(|next| next.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
                if let Some(pace) = pace {
                    pace.moved(octets);
                }
                next
            }
            (Poll::Pending, Some(pace)) if !self.meter.answered.load(Relaxed) => {
                ready!(pace.poll_late(cx));
                Some(Err(BodyError::Late))
            }
            (Poll::Pending, pace) => {
                pace.iter_mut().for_each(Waiting::pause);
                return Poll::Pending;
            }
        };
        match &next {
            Some(Ok(frame)) => self.meter.add_content(frame.data_ref().map_or(0, Bytes::len)),
            // Behind trailers, too, the stream's end is read.
            Some(Err(_)) | None => self.rest = None,
        }
        Poll::Ready(next)
    }

    /// What is left is read for a while, and forgotten.
    ///
    /// A client that sends on after its response was begun is no faulty one, and to stop a client
    /// whose stream's end comes in a packet of its own would look to it like a failure.
    fn discard(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let (meter, most) = (Arc::clone(&self.meter), rest.discarded_max());
        let discarded = async move {
            let mut received = 0;
            while received < most
                && let Some(Ok(frame)) = poll_fn(|cx| rest.poll_next(cx, &meter)).await
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
            Some(Rest::Http3(rest)) => rest.content_left(),
            Some(Rest::Tcp { body, .. }) => body.size_hint().exact(),
        };
        remaining.map_or_else(SizeHint::default, |remaining| SizeHint::with_exact(ahead + remaining))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.discard();
    }
}

/// What was not yet read.
enum Rest {
    /// In a box: it is moved from hand to hand until somebody reads it.
    Http3(Box<RequestReader>),
    Tcp {
        body: Incoming,
        _unread: Unread,
    },
}

impl Rest {
    /// How much of it is read for nobody. Over HTTP/1.1 there is no way to tell a client to stop but to close
    /// the connection, and what it sends then makes the kernel forget the response it has not read.
    fn discarded_max(&self) -> u64 {
        match self {
            Self::Http3(_) => DISCARDED_MAX,
            Self::Tcp { .. } => u64::MAX,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, meter: &ReadMeter) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Http3(reader) => poll_reader(reader, cx),
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

fn poll_reader(reader: &mut RequestReader, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Poll::Ready(match ready!(reader.poll_next(cx)) {
        Ok(Some(RequestEvent::Data(data))) => Some(Ok(Frame::data(data))),
        Ok(Some(RequestEvent::Trailers(trailers))) => Some(Ok(Frame::trailers(trailers))),
        Ok(Some(RequestEvent::TrailersTooLarge)) => {
            reader.stop(Code::H3_EXCESSIVE_LOAD);
            Some(Err(BodyError::TrailersTooLarge))
        }
        // The head was read.
        Ok(Some(RequestEvent::Head(_) | RequestEvent::HeadTooLarge) | None) => None,
        Err(failure) => Some(Err(failure.into())),
    })
}

/// How long the end of a request may come behind its head before the request is passed on as if it had content.
const END_LATE_MAX: Duration = Duration::from_millis(200);
