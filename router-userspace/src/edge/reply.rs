//! A response on its way to an HTTP/3 client.
//!
//! It ends in one of two ways: [`Reply::finish`], or a RESET_STREAM with H3_INTERNAL_ERROR. A
//! response that breaks off never looks complete.

use bytes::Bytes;
use h3::{
    error::{Code, StreamError},
    server::RequestStream,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use super::transport::SendStream;

const SLOT: HeaderName = HeaderName::from_static("x-quic-router-slot");

/// The sending half of a request stream.
pub(super) struct Reply {
    stream: RequestStream<SendStream, Bytes>,
    slot: Option<HeaderValue>,
    /// To HEAD: a body may be described but not sent (RFC 9110 section 9.3.2).
    bodiless: bool,
    finished: bool,
}

/// Why no complete response was given. The client sees a reset stream, if it is still there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    /// Cancelled, or the connection is gone.
    #[error("the client did not take the response: {0}")]
    Client(#[from] StreamError),
    /// The response had begun, so that there is no other way to tell.
    #[error("the upstream broke off: {0}")]
    Upstream(#[from] hyper::Error),
    /// The request could not be read to its end.
    #[error(transparent)]
    Request(#[from] super::body::BodyError),
}

impl Reply {
    /// The answer to a request with `method`. `slot` is added to every head.
    pub(super) fn new(stream: RequestStream<SendStream, Bytes>, method: &Method, slot: Option<HeaderValue>) -> Self {
        Self { stream, slot, bodiless: method == Method::HEAD, finished: false }
    }

    pub(super) async fn head(&mut self, mut response: Response<()>) -> Result<(), StreamError> {
        if let Some(slot) = &self.slot {
            response.headers_mut().insert(SLOT, slot.clone());
        }
        self.stream.send_response(response).await
    }

    /// Waits until the connection's send buffer has room for all of it.
    pub(super) async fn data(&mut self, data: Bytes) -> Result<(), StreamError> {
        self.stream.send_data(data).await
    }

    pub(super) async fn trailers(&mut self, trailers: HeaderMap) -> Result<(), StreamError> {
        self.stream.send_trailers(trailers).await
    }

    pub(super) async fn finish(&mut self) -> Result<(), StreamError> {
        self.stream.finish().await?;
        self.finished = true;
        Ok(())
    }

    /// Breaks off with a code that says more than H3_INTERNAL_ERROR does.
    pub(super) fn abort(mut self, code: Code) {
        self.stream.stop_stream(code);
        self.finished = true;
    }

    /// All of a response in one.
    pub(super) async fn whole(&mut self, response: Response<()>, body: Bytes) -> Result<(), ReplyError> {
        self.head(response).await?;
        if !body.is_empty() && !self.bodiless {
            self.data(body).await?;
        }
        Ok(self.finish().await?)
    }

    /// `status` with a sentence for the person in front of the client.
    pub(super) async fn text(&mut self, status: StatusCode, sentence: &str) -> Result<(), ReplyError> {
        let body = Bytes::from(format!("{} {sentence}\n", status.as_u16()));
        let response = Response::builder()
            .status(status)
            .header("content-type", "text/plain; charset=utf-8")
            .header("content-length", body.len())
            .body(())
            .expect("constant header names and plain values");
        self.whole(response, body).await
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.finished {
            self.stream.stop_stream(Code::H3_INTERNAL_ERROR);
        }
    }
}
