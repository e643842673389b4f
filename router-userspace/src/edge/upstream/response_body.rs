//! A response's body on its way from a server. Pieces go through as they are, trailers without the fields that have no
//! place in them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    failure::ExchangeError,
    http1::content::{Content, ContentError},
    pool::Connection,
    pooled_server::PooledServer,
    queue::RequestPermit,
    request_body::{Broke, Forwarded, with_proper_trailers},
};
use crate::edge::http::body::RequestBody;

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

/// A body, by the version of HTTP that it comes by.
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
    pub(super) pooled: Arc<PooledServer<B>>,
    pub(super) permit: RequestPermit,
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
        let Some(Held { pooled, permit, good }) = self.held.take() else { return };
        if good {
            pooled.server().answered();
        }
        drop(permit);
        match &mut self.incoming {
            Incoming::Http1(content) => content.take_connection().into_iter().for_each(|kept| pooled.keep(kept)),
            Incoming::Http2 { connection, .. } => connection.take().into_iter().for_each(|used| pooled.release(used)),
        }
    }

    /// It broke off, by the server's fault unless the request did.
    fn fail(&mut self, error: ResponseError) -> ResponseError {
        let Some(Held { pooled, .. }) = self.held.take() else { return error };
        match error {
            ResponseError::Request => return error,
            ResponseError::Silent(_) => {
                if let Incoming::Http2 { connection: Some(connection), .. } = &self.incoming {
                    connection.retire();
                }
            }
            ResponseError::Broken(_) => {}
        }
        pooled.server().failed(&error);
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
        } else if let Some(Held { pooled, good: true, .. }) = &self.held {
            // The client has enough of it, which says nothing against the server.
            pooled.server().answered();
        }
    }
}
