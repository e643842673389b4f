//! A request's body on its way to a server. Pieces go through as they are, trailers without the fields that have no
//! place in them.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

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

/// A request's body in hyper's hands, on its way to an HTTP/2 server. If it breaks off, why is found where [`Broke`] is,
/// as hyper does not always tell.
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
