//! Bodies on their way: a request's to the server, the response's back. Pieces go through as they
//! are, trailers without the fields that have no place in them.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    failure::ExchangeError,
    http1::{Content, ContentError},
    pool::{Connection, Member},
    server::Lease,
};
use crate::edge::http::{body::RequestBody, names};

/// The body of a request that can be forwarded.
pub(in crate::edge) trait Forwarded:
    Body<Data = Bytes, Error: Error + Send + Sync + 'static> + Send + Unpin + Sized + 'static
{
    /// The same once more, if there is nothing in it.
    fn again(&self) -> Option<Self>;

    /// Tells how much of the request has moved so far, also when the body is elsewhere.
    fn progress(&self) -> impl Fn() -> u64 + Send + use<Self>;
}

impl Forwarded for RequestBody {
    fn again(&self) -> Option<Self> {
        self.again()
    }

    fn progress(&self) -> impl Fn() -> u64 + Send + use<> {
        self.progress()
    }
}

/// A request's body in hyper's hands, on its way to an HTTP/2 server. If it breaks off, why is found where [`Broke`] is, as hyper
/// does not always tell.
pub(super) struct Outgoing<B: Body> {
    pub(super) body: B,
    broke: Broke<B::Error>,
}

/// Why a request's body broke off; nothing is kept for a body without anything in it.
pub(super) struct Broke<E>(Option<Arc<Fate<E>>>);

/// What is known of a request's body while hyper has it.
struct Fate<E> {
    why: Mutex<Option<E>>,
    /// hyper has asked for more, and nothing has come yet.
    waits: AtomicBool,
}

impl<E> Default for Fate<E> {
    fn default() -> Self {
        Self { why: Mutex::default(), waits: AtomicBool::new(false) }
    }
}

/// Stands for the error that [`Broke`] holds. hyper tells an HTTP/2 server the reason that is its source.
#[derive(Debug, thiserror::Error)]
#[error("the request broke off")]
pub(super) struct RequestBroke(#[source] h2::Error);

impl<B: Body> Outgoing<B> {
    pub(super) fn new(body: B) -> (Self, Broke<B::Error>) {
        let broke = Broke((!body.is_end_stream()).then(Arc::default));
        (Self { body, broke: Broke(broke.0.clone()) }, broke)
    }
}

impl<E> Broke<E> {
    pub(super) fn take(&self) -> Option<E> {
        self.0.as_ref().and_then(|fate| fate.why.lock().unwrap_or_else(PoisonError::into_inner).take())
    }

    /// Whether the server would take more of the body, and the client does not send it.
    pub(super) fn waits_for_the_client(&self) -> bool {
        self.0.as_ref().is_some_and(|fate| fate.waits.load(Relaxed))
    }

    fn note(&self, waits: bool) {
        if let Some(fate) = &self.0 {
            fate.waits.store(waits, Relaxed);
        }
    }

    fn store(&self, error: E) {
        if let Some(fate) = &self.0 {
            *fate.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outgoing<B> {
    type Data = Bytes;
    type Error = RequestBroke;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestBroke>>> {
        let this = self.get_mut();
        let next = Pin::new(&mut this.body).poll_frame(cx);
        this.broke.note(next.is_pending());
        let next = next.map_ok(with_proper_trailers);
        next.map_err(|error| {
            this.broke.store(error);
            RequestBroke(h2::Reason::CANCEL.into())
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Data as it is; trailers without what must not pass in them, whichever version they go on by.
pub(super) fn with_proper_trailers(mut frame: Frame<Bytes>) -> Frame<Bytes> {
    if let Some(trailers) = frame.trailers_mut() {
        names::take_from_trailers(trailers);
    }
    frame
}

/// Why a response's body ended early.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ResponseError {
    /// The server, or the way to it.
    #[error("the response broke off: {0}")]
    Broken(#[from] ExchangeError),
    /// `timeouts.idle`
    #[error("nothing of the response came in {0:?}")]
    Silent(Duration),
    /// The client has broken off its part, and so the exchange.
    #[error("the request broke off")]
    Request,
}

/// A response's body, with the place and the connection that it takes. They are free as soon as all of it has come,
/// whether or not the client has taken it; dropped before, an HTTP/1.1 connection is closed, and an HTTP/2 stream is
/// reset.
pub(in crate::edge) struct ResponseBody<B: Forwarded = RequestBody> {
    incoming: Incoming<B>,
    idle: Duration,
    /// Made when there first is something to wait for.
    silence: Option<Pin<Box<Sleep>>>,
    /// The silence has lasted since the last poll.
    silent: bool,
    held: Option<Held<B>>,
}

/// A body, by what it comes by.
pub(super) enum Incoming<B: Forwarded> {
    Http1(Content<B>),
    /// None of the connection once it is free.
    Http2 {
        body: hyper::body::Incoming,
        connection: Option<Connection<B>>,
        broke: Broke<B::Error>,
    },
}

/// What a response holds while it comes.
pub(super) struct Held<B: Forwarded> {
    pub(super) member: Arc<Member<B>>,
    pub(super) lease: Lease,
    /// The status says nothing against the server.
    pub(super) good: bool,
}

impl<B: Forwarded> Incoming<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        match self {
            Self::Http1(content) => content.poll_frame(cx).map_err(|error| match error {
                ContentError::Server(error) => ResponseError::Broken(error.into()),
                ContentError::Request => ResponseError::Request,
            }),
            Self::Http2 { body, broke, .. } => Pin::new(body).poll_frame(cx).map_err(|error| match broke.take() {
                Some(_) => ResponseError::Request,
                None => ResponseError::Broken(error.into()),
            }),
        }
    }

    /// All of it has come.
    fn is_received(&self) -> bool {
        match self {
            Self::Http1(content) => content.is_received(),
            Self::Http2 { body, .. } => body.is_end_stream(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(content) => content.is_end_stream(),
            Self::Http2 { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(content) => content.size_hint(),
            Self::Http2 { body, .. } => body.size_hint(),
        }
    }
}

impl<B: Forwarded> ResponseBody<B> {
    pub(super) fn new(incoming: Incoming<B>, idle: Duration, held: Held<B>) -> Self {
        let mut body = Self { incoming, idle, silence: None, silent: false, held: Some(held) };
        if body.incoming.is_received() {
            body.end();
        }
        body
    }

    /// All of it, if it is here and nothing but data, as small responses are.
    pub(in crate::edge) fn take_whole(&mut self) -> Option<Bytes> {
        match &mut self.incoming {
            Incoming::Http1(content) => content.take_whole(),
            Incoming::Http2 { .. } => None,
        }
    }

    /// It is all there.
    fn end(&mut self) {
        let Some(Held { member, lease, good }) = self.held.take() else { return };
        if good {
            member.set.answered(member.index);
        }
        drop(lease);
        match &mut self.incoming {
            Incoming::Http1(content) => content.take_connection().into_iter().for_each(|kept| member.keep(kept)),
            Incoming::Http2 { connection, .. } => connection.take().into_iter().for_each(|used| member.release(used)),
        }
    }

    /// It broke off, by the server's fault unless the request did.
    fn fail(&mut self, error: ResponseError) -> ResponseError {
        let Some(Held { member, .. }) = self.held.take() else { return error };
        match error {
            ResponseError::Request => return error,
            ResponseError::Silent(_) => {
                if let Incoming::Http2 { connection: Some(connection), .. } = &self.incoming {
                    connection.retire();
                }
            }
            ResponseError::Broken(_) => {}
        }
        member.set.failed(member.index, &error);
        error
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(idle)));
        if !std::mem::replace(&mut self.silent, true) {
            silence.as_mut().reset(Instant::now() + idle);
        }
        silence.as_mut().poll(cx)
    }
}

impl<B: Forwarded> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let this = self.get_mut();
        let next = match this.incoming.poll_frame(cx) {
            Poll::Ready(next) => next,
            Poll::Pending if this.held.is_none() => return Poll::Pending,
            Poll::Pending => {
                std::task::ready!(this.poll_silence(cx));
                return Poll::Ready(Some(Err(this.fail(ResponseError::Silent(this.idle)))));
            }
        };
        this.silent = false;
        Poll::Ready(match next {
            Some(Ok(frame)) => {
                if let Incoming::Http1(content) = &this.incoming
                    && content.is_received()
                {
                    this.end();
                }
                Some(Ok(with_proper_trailers(frame)))
            }
            Some(Err(error)) => Some(Err(this.fail(error))),
            None => {
                this.end();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl<B: Forwarded> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        if self.incoming.is_received() {
            self.end();
        } else if let Some(Held { member, good: true, .. }) = &self.held {
            // The client has enough of it, which says nothing against the server.
            member.set.answered(member.index);
        }
    }
}
