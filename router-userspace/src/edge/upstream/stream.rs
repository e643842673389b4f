//! Streams to servers, for raw QUIC streams.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{
    clients::Upstream,
    connect::{ConnectError, Io, connect},
    proxy_protocol,
    queue::RequestPermit,
    request_body::Forwarded,
    server::Server,
};
use crate::address::Validated;

/// A stream to a server, for a raw QUIC stream. Counts as in flight until it is dropped.
pub(in crate::edge) struct Stream {
    io: Io,
    _permit: RequestPermit,
}

impl<B: Forwarded> Upstream<B> {
    /// A stream to a server, to the next if that can't be reached. It begins with a header of the
    /// PROXY protocol where that is configured: `client`, and `local`, which the client reached.
    ///
    /// # Errors
    ///
    /// No server took it; names the last one that was tried.
    pub(in crate::edge) async fn open(
        self: &Arc<Self>,
        client: Validated,
        local: Option<SocketAddr>,
    ) -> Result<Stream, ConnectError> {
        let settings = self.set().settings();
        let header = settings.proxy_protocol.then(|| proxy_protocol::header(client, local));
        let mut tried = Vec::new();
        let mut last = None;
        loop {
            let (index, permit) = match self.place(client, &tried).await {
                Ok(place) => place,
                Err(none) => return Err(last.unwrap_or(ConnectError::NoPlace(none))),
            };
            let server = &self.set().servers()[index];
            server.count_request();
            match open(server, header.as_deref(), settings.timeouts.connect).await {
                Ok(io) => {
                    server.answered();
                    return Ok(Stream { io, _permit: permit });
                }
                Err(error) => {
                    if !error.is_shortage() {
                        server.failed(&error);
                    }
                    last = Some(error);
                    tried.push(index);
                }
            }
        }
    }
}

/// Connects to a server, and sends it `header`, each within `limit`.
async fn open(server: &Server, header: Option<&[u8]>, limit: Duration) -> Result<Io, ConnectError> {
    let mut io = connect(server, limit).await?;
    if let Some(header) = header {
        let name = || server.name().clone();
        // A new connection's buffers take it at once.
        match timeout(limit, io.write_all(header)).await {
            Ok(Ok(())) => {}
            Ok(Err(source)) => return Err(ConnectError::Failed { server: name(), source }),
            Err(_elapsed) => return Err(ConnectError::TimedOut { server: name(), limit }),
        }
    }
    Ok(io)
}

impl Stream {
    /// Makes the drop of this stream a reset at the server's end, not an end. A Unix socket has no
    /// resets: its server sees an end.
    pub(in crate::edge) fn set_zero_linger(&self) -> io::Result<()> {
        self.io.set_zero_linger()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
