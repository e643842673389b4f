//! A request and the head of its response.
//!
//! The response is read while the request is written. A server that takes no more has not failed yet: what it has
//! said is read to the end first (rustical#77: uploads that were refused early were answered with 502). What is left
//! of the request's content when the head is there goes on in a task of its own, whether or not the client takes the
//! response.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderMap, Response, StatusCode};
use router_http1::{BodyEncoder, HeadDecoder, HeadError, RequestContent, RequestLine, ResponseHead, write_request};
use tokio::time::Instant;

use super::{
    connection::{Connection, Way},
    content::Content,
    upload::{Upload, UploadError},
};
use crate::edge::{
    http::interim::Interim,
    upstream::{
        failure::{ExchangeError, Failure, Http1Error, Left, Unanswered},
        limits::{FIELDS_MAX, PROGRESS_CHECKS},
        request_body::Forwarded,
    },
};

/// What is asked, but for the content.
pub(in crate::edge::upstream) struct RequestHead<'r> {
    pub(in crate::edge::upstream) line: RequestLine<'r>,
    pub(in crate::edge::upstream) fields: &'r HeaderMap,
    /// Where interim responses go, if anywhere.
    pub(in crate::edge::upstream) interim: Option<&'r Interim>,
    /// How long nothing may come of the response and nothing go of the request.
    pub(in crate::edge::upstream) limit: Duration,
}

impl Connection {
    /// Sends a request, and waits for the head of its response.
    pub(in crate::edge::upstream) async fn ask<B: Forwarded>(
        mut self: Box<Self>,
        asked: &RequestHead<'_>,
        body: B,
    ) -> Result<Response<Content<B>>, Unanswered<B, B::Error>> {
        let content = if body.is_end_stream() { RequestContent::Absent } else { RequestContent::Present };
        let encoder = BodyEncoder::new(asked.fields, content);
        let mut head = std::mem::take(&mut self.write);
        head.clear();
        write_request(&asked.line, asked.fields, &encoder, &mut head);
        let mut exchange = Exchange {
            connection: &mut self,
            upload: Upload::new(head, encoder, body),
            sending: Sending::Begun,
            decoder: HeadDecoder::new(FIELDS_MAX as usize),
            heard: false,
            watch: None,
        };
        let outcome = poll_fn(|cx| exchange.poll(asked, cx)).await;
        let head = match outcome {
            Ok(head) => head,
            Err(failure) => return Err(Unanswered { failure, left: exchange.left(content) }),
        };
        let Exchange { upload, sending, .. } = exchange;
        let rest = match sending {
            Sending::Begun => Remainder::Unsent(upload),
            Sending::Done => {
                self.write = upload.into_parts().1;
                Remainder::Nothing
            }
            Sending::Broken(_) => {
                self.write = upload.into_parts().1;
                Remainder::Refused
            }
        };
        self.receive(head, asked, rest).map_err(|failure| Unanswered { failure, left: Left::Nothing })
    }

    /// Goes on with the content behind a head.
    fn receive<B: Forwarded>(
        self: Box<Self>,
        mut head: ResponseHead,
        asked: &RequestHead<'_>,
        rest: Remainder<B>,
    ) -> Result<Response<Content<B>>, Failure<B::Error>> {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::Switched);
        }
        let mut framing = head.framing(asked.line.method).map_err(failure)?;
        let upload = match rest {
            Remainder::Nothing => None,
            Remainder::Unsent(upload) => Some(upload),
            Remainder::Refused => {
                framing.is_reusable = false;
                None
            }
        };
        let mut response = Response::new(Content::new(self, framing, upload));
        *response.status_mut() = head.status;
        *response.headers_mut() = head.fields;
        Ok(response)
    }
}

/// What of a request is not sent when the head of its response is there.
enum Remainder<B: Forwarded> {
    Nothing,
    /// It is still to be sent.
    Unsent(Upload<B>),
    /// The server takes no more.
    Refused,
}

/// A request and its response up to the end of its head.
struct Exchange<'c, B: Forwarded> {
    connection: &'c mut Connection,
    upload: Upload<B>,
    sending: Sending,
    decoder: HeadDecoder,
    /// Something came of the response.
    heard: bool,
    watch: Option<Watch>,
}

/// How far the request is.
enum Sending {
    Begun,
    Done,
    /// The server takes no more.
    Broken(io::Error),
}

/// Whether the exchange goes on: looked at [`PROGRESS_CHECKS`] times in the time that it may stand still.
struct Watch {
    due: Instant,
    looks: u32,
    /// What had moved of the request.
    progress: u64,
}

impl<B: Forwarded> Exchange<'_, B> {
    fn poll(&mut self, asked: &RequestHead<'_>, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Failure<B::Error>>> {
        if let Err(failure) = self.poll_upload(cx) {
            return Poll::Ready(Err(failure));
        }
        loop {
            match self.decoder.decode(&mut self.connection.read) {
                Ok(Some(head)) if head.is_interim() => {
                    if let Some(interim) = asked.interim {
                        interim.send(head.status, head.fields);
                    }
                    continue;
                }
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(failure(error))),
            }
            let Poll::Ready(read) = self.connection.poll_fill(cx) else {
                return self.poll_watch(asked.limit, cx).map(Err);
            };
            match (read, &self.sending) {
                (Ok(1..), _) => self.heard = true,
                (Err(error), _) => return Poll::Ready(Err(broken(error))),
                // What the write met says more.
                (Ok(0), Sending::Broken(error)) => return Poll::Ready(Err(broken(copy(error)))),
                (Ok(0), _) => return Poll::Ready(Err(broken(Http1Error::Closed))),
            }
        }
    }

    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Failure<B::Error>> {
        let (Sending::Begun, Way::Whole(io)) = (&self.sending, &mut self.connection.way) else { return Ok(()) };
        match self.upload.poll(io, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.sending = Sending::Done,
            Poll::Ready(Err(UploadError::Write(error))) => self.sending = Sending::Broken(error),
            Poll::Ready(Err(UploadError::Request(error))) => return Err(Failure::Request(error)),
            Poll::Ready(Err(UploadError::Length(error))) => return Err(broken(Http1Error::Length(error))),
        }
        Ok(())
    }

    /// What is left of the request where there is no response.
    fn left(self, content: RequestContent) -> Left<B> {
        let is_unsent = self.upload.is_unsent();
        match content {
            RequestContent::Absent if is_unsent => Left::Unsent(self.upload.into_parts().0),
            RequestContent::Absent if !self.heard => Left::Unheard(self.upload.into_parts().0),
            RequestContent::Absent | RequestContent::Present => Left::Nothing,
        }
    }

    /// Ready when nothing has moved for `limit`.
    fn poll_watch(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<Failure<B::Error>> {
        let period = limit / PROGRESS_CHECKS;
        let new = || Watch { due: Instant::now() + period, looks: 0, progress: self.upload.progress() };
        let watch = self.watch.get_or_insert_with(new);
        loop {
            ready!(self.connection.timer.poll(watch.due, cx));
            let progress = self.upload.progress();
            watch.looks = if progress > watch.progress { 0 } else { watch.looks + 1 };
            (watch.due, watch.progress) = (watch.due + period, progress);
            if watch.looks == PROGRESS_CHECKS {
                let is_the_clients = matches!(self.sending, Sending::Begun) && self.upload.waits_for_the_client();
                return Poll::Ready(if is_the_clients {
                    Failure::RequestLate(limit)
                } else {
                    Failure::TimedOut(limit)
                });
            }
        }
    }
}

fn failure<E>(error: HeadError) -> Failure<E> {
    match error {
        HeadError::Malformed(violation) => broken(violation),
        HeadError::TooLarge => Failure::TooLarge,
        HeadError::Coded => Failure::Coded,
    }
}

fn broken<E>(error: impl Into<Http1Error>) -> Failure<E> {
    Failure::Broken(ExchangeError::Http1(error.into()))
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}
