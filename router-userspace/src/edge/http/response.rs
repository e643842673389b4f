//! A response on its way to a client, whatever that speaks: a head, and a body that is read only
//! as fast as the client takes it.

use std::{
    any::Any,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use router_http3::Code;

use super::{body::BodyError, gather::Gathered};
use crate::{
    edge::{access::RequestRecord, files::FileBody, tcp::Taking, upstream},
    telemetry::Outcome,
};

/// The body of a response. It writes the request's entry in the log when it ends, or is dropped.
pub(in crate::edge) struct ResponseBody {
    content: Content,
    /// In a box: it is some hundred octets, and moves.
    entry: Option<Box<RequestRecord>>,
    /// What the client takes of it, where only the body can tell.
    taking: Option<Taking>,
    /// What is left of a piece that was larger than the client is given at once.
    rest: Bytes,
    /// Kept for as long as the body is there.
    _held: Option<Arc<dyn Any + Send + Sync>>,
}

enum Content {
    Nothing,
    Memory(Bytes),
    /// In a box: it is a few hundred octets, and moves.
    Server(Box<upstream::ResponseBody>),
    /// Likewise.
    Gathered(Box<Gathered>),
    File(FileBody),
}

/// Why a response ended before its end.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ResponseError {
    /// The response had begun, so that there is no other way to tell. It is no error's source: hyper would
    /// find in it what went between us and an HTTP/2 server, and tell the client the same.
    #[error("the upstream broke off: {0}")]
    Server(<upstream::ResponseBody as Body>::Error),
    #[error("a file cannot be read on: {0}")]
    File(#[from] io::Error),
}

/// There is no response: the request itself broke off, and its client has to be told.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(in crate::edge) struct Unanswered {
    /// How an HTTP/3 client is told.
    pub(in crate::edge) code: Code,
    /// The client has cancelled it.
    pub(in crate::edge) is_cancelled: bool,
    why: String,
}

impl From<BodyError> for Unanswered {
    fn from(error: BodyError) -> Self {
        Self::because_of(&error)
    }
}

impl Unanswered {
    /// The request's own end has ended it.
    pub(in crate::edge) fn because_of(error: &BodyError) -> Self {
        Self { code: error.code(), is_cancelled: error.is_cancelled(), why: error.to_string() }
    }
}

impl ResponseError {
    /// How an HTTP/3 client is told.
    pub(in crate::edge) fn code(&self) -> Code {
        match self {
            Self::Server(upstream::ResponseError::Request) => Code::H3_REQUEST_CANCELLED,
            Self::Server(_) | Self::File(_) => Code::H3_INTERNAL_ERROR,
        }
    }

    /// The client's own part broke off.
    pub(in crate::edge) fn is_cancelled(&self) -> bool {
        matches!(self, Self::Server(upstream::ResponseError::Request))
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Server(upstream::ResponseError::Request) => Outcome::Cancelled,
            Self::Server(upstream::ResponseError::Silent(_)) => Outcome::TimedOut,
            Self::Server(upstream::ResponseError::Broken(_)) | Self::File(_) => Outcome::UpstreamBroke,
        }
    }
}

impl Drop for ResponseBody {
    /// What writes it out need not ask for more than there is, and knows that from its length before
    /// an HTTP/2 server says that it was the end.
    fn drop(&mut self) {
        if (self.is_end_stream() || self.size_hint().exact() == Some(0))
            && let Some(entry) = &mut self.entry
        {
            entry.complete();
        }
    }
}

impl ResponseBody {
    pub(in crate::edge) fn nothing() -> Self {
        Content::Nothing.into()
    }

    /// What is left of it for HEAD.
    pub(in crate::edge) fn remove_content(&mut self) {
        self.content = Content::Nothing;
    }

    /// Has `entry` follow it to its end.
    pub(in crate::edge) fn follow(&mut self, entry: Box<RequestRecord>) {
        self.entry = Some(entry);
    }

    /// The client did not take it in time.
    pub(in crate::edge) fn timed_out(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.ends(Outcome::TimedOut);
        }
    }

    /// Whether to ask for content costs memory, so that the client should have room for it.
    pub(in crate::edge) fn is_on_disk(&self) -> bool {
        matches!(&self.content, Content::File(body) if body.is_later())
    }

    /// Has `taking` see what the client takes of it.
    pub(in crate::edge) fn taken(mut self, taking: Option<Taking>) -> Self {
        self.taking = taking;
        self
    }

    /// Keeps `what` until it ends.
    pub(in crate::edge) fn holding(mut self, what: Arc<dyn Any + Send + Sync>) -> Self {
        self._held = Some(what);
        self
    }
}

impl From<Content> for ResponseBody {
    fn from(content: Content) -> Self {
        Self { content, entry: None, taking: None, rest: Bytes::new(), _held: None }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Content::Memory(bytes).into()
    }
}

impl From<upstream::ResponseBody> for ResponseBody {
    fn from(mut body: upstream::ResponseBody) -> Self {
        match body.take_whole() {
            Some(bytes) => bytes.into(),
            None => Content::Server(Box::new(body)).into(),
        }
    }
}

impl From<Gathered> for ResponseBody {
    fn from(body: Gathered) -> Self {
        Content::Gathered(Box::new(body)).into()
    }
}

impl From<FileBody> for ResponseBody {
    fn from(body: FileBody) -> Self {
        Content::File(body).into()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ResponseError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ResponseError>>> {
        let this = self.get_mut();
        if let Some(taking) = &this.taking {
            taking.asked();
            if !this.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(taking.piece(&mut this.rest)))));
            }
        }
        let next = match &mut this.content {
            Content::Nothing => None,
            Content::Memory(bytes) => {
                let bytes = std::mem::take(bytes);
                this.content = Content::Nothing;
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Content::Server(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|next| next.map_err(ResponseError::Server))
            }
            Content::Gathered(body) => {
                ready!(Pin::new(&mut **body).poll_frame(cx)).map(|next| next.map_err(ResponseError::Server))
            }
            Content::File(body) => ready!(Pin::new(body).poll_frame(cx)).map(|next| next.map_err(ResponseError::File)),
        };
        if let Some(entry) = &mut this.entry {
            match &next {
                Some(Ok(frame)) => entry.sent(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(error)) => entry.ends(error.outcome()),
                None => entry.complete(),
            }
        }
        Poll::Ready(match (&this.taking, next) {
            (Some(taking), Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    Some(Ok(Frame::data(taking.piece(&mut this.rest))))
                }
                Err(trailers) => Some(Ok(trailers)),
            },
            (_, next) => next,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.content.size_hint().exact() {
            Some(left) => SizeHint::with_exact(self.rest.len() as u64 + left),
            None => SizeHint::default(),
        }
    }
}

impl Content {
    fn is_end_stream(&self) -> bool {
        match self {
            Content::Nothing => true,
            Content::Memory(bytes) => bytes.is_empty(),
            Content::Server(body) => body.is_end_stream(),
            Content::Gathered(body) => body.is_end_stream(),
            Content::File(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Content::Nothing => SizeHint::with_exact(0),
            Content::Memory(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Server(body) => body.size_hint(),
            Content::Gathered(body) => body.size_hint(),
            Content::File(body) => body.size_hint(),
        }
    }
}

/// `status` with a sentence for the person in front of the client.
pub(in crate::edge) fn sentence(status: StatusCode, sentence: &str) -> Response<ResponseBody> {
    text(status, format!("{} {sentence}\n", status.as_u16()))
}

/// A text in memory.
pub(in crate::edge) fn text(status: StatusCode, text: String) -> Response<ResponseBody> {
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(ResponseBody::from(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, length);
    response
}
