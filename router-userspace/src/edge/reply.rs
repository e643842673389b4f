//! A response on its way to an HTTP/3 client.
//!
//! It ends in one of two ways: with the stream's end, or a RESET_STREAM. A response that breaks off
//! never looks complete.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use h3::{
    error::{Code, StreamError},
    server::RequestStream,
};
use http::Response;
use http_body::Body;

use super::{
    headers,
    response::{ResponseBody, ResponseError},
    transport::SendStream,
};

/// The sending half of a request stream.
pub(super) struct Reply<'a> {
    stream: RequestStream<SendStream, Bytes>,
    finished: bool,
    /// The code that it breaks off with, if nobody says another.
    code: &'a AtomicU64,
}

/// Why no complete response was given. The client sees a reset stream, if it is still there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    /// Cancelled, or the connection is gone.
    #[error("the client did not take the response: {0}")]
    Client(#[from] StreamError),
    #[error(transparent)]
    Response(#[from] ResponseError),
}

impl<'a> Reply<'a> {
    pub(super) fn new(stream: RequestStream<SendStream, Bytes>, code: &'a AtomicU64) -> Self {
        Self { stream, finished: false, code }
    }

    /// A response before the response (RFC 9114 section 4.1).
    pub(super) async fn interim(&mut self, response: Response<()>) -> Result<(), ReplyError> {
        Ok(self.stream.send_response(response).await?)
    }

    /// The response, all of it; each piece as the connection's send buffer has room.
    pub(super) async fn send(&mut self, response: Response<ResponseBody>) -> Result<(), ReplyError> {
        let (head, mut body) = response.into_parts();
        self.stream.send_response(Response::from_parts(head, ())).await?;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.inspect_err(|error| self.code.store(error.code().value(), Relaxed))?;
            match frame.into_data() {
                Ok(data) => self.stream.send_data(data).await?,
                Err(frame) => {
                    if let Ok(mut trailers) = frame.into_trailers() {
                        headers::remove_hop_by_hop(&mut trailers);
                        self.stream.send_trailers(trailers).await?;
                    }
                }
            }
        }
        self.stream.finish().await?;
        self.finished = true;
        Ok(())
    }

    /// Breaks off with this code.
    pub(super) fn abort(mut self, code: Code) {
        self.stream.stop_stream(code);
        self.finished = true;
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.stream.stop_stream(Code::from(self.code.load(Relaxed)));
        }
    }
}
