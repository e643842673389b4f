//! A request on its way to a server: its head, and its content as the client sends it. Head and content that is there
//! leave together.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use router_http1::{BodyEncoder, ContentPart, EncodeError};
use tokio::io::{AsyncWrite, WriteHalf};

use crate::edge::upstream::{
    connect::Io,
    request_body::{Forwarded, with_proper_trailers},
};

/// What is left to be sent of a request.
pub(super) struct Upload<B: Forwarded> {
    body: B,
    encoder: BodyEncoder,
    /// To be written: the head or what frames the content, the content, and what is behind it.
    before: BytesMut,
    content: Bytes,
    behind: &'static [u8],
    /// The content has not been asked for.
    is_first: bool,
    /// Nothing was written.
    is_unsent: bool,
    /// The server would take more, and the client does not send it.
    waits: bool,
}

/// Why a request was not sent whole.
pub(super) enum UploadError<E> {
    /// The client's part broke off.
    Request(E),
    Length(EncodeError),
    /// The server takes no more. It may have answered.
    Write(io::Error),
}

impl<B: Forwarded> Upload<B> {
    /// Of a request whose head is `head`.
    pub(super) fn new(head: BytesMut, encoder: BodyEncoder, body: B) -> Self {
        Self {
            body,
            encoder,
            before: head,
            content: Bytes::new(),
            behind: b"",
            is_first: true,
            is_unsent: true,
            waits: false,
        }
    }

    /// Ready when all of it is sent.
    pub(super) fn poll<W: AsyncWrite + Unpin>(
        &mut self,
        way: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), UploadError<B::Error>>> {
        loop {
            if !self.encoder.is_ended() && (self.is_first || self.is_written()) {
                self.is_first = false;
                let next = self.poll_content(cx)?;
                self.waits = next.is_pending();
                if next.is_pending() && self.is_written() {
                    ready!(Pin::new(way).poll_flush(cx)).map_err(UploadError::Write)?;
                    return Poll::Pending;
                }
            }
            if self.is_written() {
                if self.encoder.is_ended() {
                    return Pin::new(way).poll_flush(cx).map_err(UploadError::Write);
                }
                continue;
            }
            let written = ready!(self.poll_write(way, cx)).map_err(UploadError::Write)?;
            self.is_unsent &= written == 0;
            self.advance(written);
        }
    }

    /// The same, from a task of its own; gives back what it was written to.
    pub(super) async fn run(mut self, mut way: WriteHalf<Io>) -> Result<WriteHalf<Io>, UploadError<B::Error>> {
        poll_fn(|cx| self.poll(&mut way, cx)).await?;
        Ok(way)
    }

    pub(super) fn waits_for_the_client(&self) -> bool {
        self.waits
    }

    pub(super) fn progress(&self) -> u64 {
        self.body.progress()()
    }

    /// Nothing was written, and nothing taken from the client.
    pub(super) fn is_unsent(&self) -> bool {
        self.is_unsent
    }

    /// The body, and where its head was written.
    pub(super) fn into_parts(self) -> (B, BytesMut) {
        (self.body, self.before)
    }

    fn is_written(&self) -> bool {
        self.before.is_empty() && self.content.is_empty() && self.behind.is_empty()
    }

    /// Takes the next piece of content to be written.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError<B::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
            return Poll::Ready(self.encoder.end(&mut self.before).map_err(UploadError::Length));
        };
        match with_proper_trailers(frame.map_err(UploadError::Request)?).into_data() {
            Ok(content) => {
                let part = match self.body.is_end_stream() {
                    true => ContentPart::Last(content.len()),
                    false => ContentPart::Inner(content.len()),
                };
                let behind = self.encoder.data(part, &mut self.before);
                let behind = behind.map_err(UploadError::Length)?;
                if content.len() <= COPIED_MAX {
                    self.before.put_slice(&content);
                    self.before.put_slice(behind);
                } else {
                    (self.content, self.behind) = (content, behind);
                }
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                self.encoder.trailers(&trailers, &mut self.before).map_err(UploadError::Length)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<W: AsyncWrite + Unpin>(&self, way: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let way = Pin::new(way);
        let written = ready!(if self.content.is_empty() && self.behind.is_empty() {
            way.poll_write(cx, &self.before)
        } else {
            way.poll_write_vectored(cx, &[&self.before, &self.content[..], self.behind].map(IoSlice::new))
        })?;
        match written {
            0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn advance(&mut self, mut written: usize) {
        let mut of = |length: usize| {
            let part = written.min(length);
            written -= part;
            part
        };
        self.before.advance(of(self.before.len()));
        self.content.advance(of(self.content.len()));
        self.behind = &self.behind[of(self.behind.len())..];
    }
}

/// Content that is copied behind its head, as one buffer is written for less than three.
const COPIED_MAX: usize = 4 * 1024;
