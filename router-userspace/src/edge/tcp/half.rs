//! What a client of HTTP/1.1 says by ending its half of the connection.
//!
//! It may have nothing more to say and wait for its answer (RFC 9112 section 9.6), or be gone: a host that has closed its
//! socket sends no more than that either, until something is sent to it. So a client that has asked, all of it, is answered if that
//! does not take too long. A request that breaks off in its body is over at once.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::requests::Requests;

/// A connection whose end is heard when no client waits for an answer on it.
pub(super) struct Half<S> {
    stream: S,
    requests: Arc<Requests>,
    patience: Duration,
    /// The client's half has ended: until when there has to be something for it.
    ended: Option<Pin<Box<Sleep>>>,
}

impl<S> Half<S> {
    /// `patience` is how long a client whose half has ended may be sent nothing.
    pub(super) fn new(stream: S, requests: Arc<Requests>, patience: Duration) -> Self {
        Self { stream, requests, patience, ended: None }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.requests.one_waits() {
            return Poll::Ready(());
        }
        let patience = self.patience;
        self.ended.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx)
    }

    fn written(&mut self, written: &Poll<io::Result<usize>>) {
        if let (Poll::Ready(Ok(_)), Some(ended)) = (written, &mut self.ended) {
            ended.as_mut().reset(Instant::now() + self.patience);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Half<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended.is_none() {
            let before = buffer.filled().len();
            match ready!(Pin::new(&mut this.stream).poll_read(cx, buffer)) {
                // Without TLS's close_notify. Nothing is lost by it: a request says itself how long it is.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) if buffer.filled().len() > before => return Poll::Ready(Ok(())),
                Ok(()) => {}
            }
        }
        this.poll_end(cx).map(Ok)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Half<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, data);
        this.written(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, data);
        this.written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
