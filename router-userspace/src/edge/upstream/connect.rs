//! A connection to a server: TCP, Unix or TLS.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracing::debug;

use super::{
    server::{OpenConnection, Server, Target},
    tls,
};
use crate::telemetry::shortage;

/// Why there is no place for a request or stream on any server.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(in crate::edge) enum NoPlace {
    /// Health checks find no server up.
    #[error("every server is down")]
    AllDown,
    /// Every server has all it may have, and as many wait as may.
    #[error("the queue for a server is full")]
    QueueFull,
    /// It waited, and its turn did not come.
    #[error("no server had room within {0:?}")]
    QueueTimedOut(Duration),
}

/// No server took a connection. Names the last one.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ConnectError {
    #[error("{server} took no connection within {limit:?}")]
    TimedOut { server: Arc<str>, limit: Duration },
    #[error("{server} cannot be reached: {source}")]
    Failed { server: Arc<str>, source: io::Error },
    /// It says nothing of the server.
    #[error("no connection to {server} could be opened, for want of resources here: {source}")]
    Shortage { server: Arc<str>, source: io::Error },
    #[error("the name in {server} cannot be resolved: {why}")]
    Unresolved { server: Arc<str>, why: Arc<str> },
    #[error("{server} and we do not agree on TLS: {source}")]
    Tls { server: Arc<str>, source: io::Error },
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
}

/// An open connection, counted as one.
pub(super) struct Io {
    carrier: Carrier,
    _open: OpenConnection,
}

/// What octets go over.
enum Carrier {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Boxed: two kilobytes.
    Tls(Box<TlsStream<TcpStream>>),
}

impl ConnectError {
    /// Whether it is this host's own.
    pub(super) fn is_shortage(&self) -> bool {
        matches!(self, Self::Shortage { .. })
    }

    fn of(server: Arc<str>, source: io::Error) -> Self {
        if shortage::met("connecting to servers", &source) {
            Self::Shortage { server, source }
        } else {
            Self::Failed { server, source }
        }
    }

    /// The same, where part of `limit` had gone before it was tried.
    pub(super) fn within(self, limit: Duration) -> Self {
        match self {
            Self::TimedOut { server, .. } => Self::TimedOut { server, limit },
            other => other,
        }
    }
}

/// Connects to `server` within `limit`, name resolution and TLS included.
pub(super) async fn connect(server: &Server, limit: Duration) -> Result<Io, ConnectError> {
    let until = Instant::now() + limit;
    match timeout_at(until, carrier(server, until)).await {
        Ok(carrier) => Ok(Io { carrier: carrier?, _open: server.open_connection() }),
        Err(_elapsed) => Err(ConnectError::TimedOut { server: server.name().clone(), limit }),
    }
}

async fn carrier(server: &Server, until: Instant) -> Result<Carrier, ConnectError> {
    let name = || server.name().clone();
    match server.target() {
        Target::Unix(path) => {
            let failed = |source| ConnectError::of(name(), source);
            Ok(Carrier::Unix(UnixStream::connect(path).await.map_err(failed)?))
        }
        Target::Tcp => Ok(Carrier::Tcp(tcp(server, until).await?)),
        Target::Tls(config, host) => {
            let stream = tcp(server, until).await?;
            let connecting = TlsConnector::from(config.clone()).connect(host.clone(), stream);
            let stream = connecting.await.map_err(|source| ConnectError::Tls { server: name(), source })?;
            Ok(Carrier::Tls(Box::new(stream)))
        }
    }
}

/// To each of the server's addresses in turn; each has its part of the time that is left, so that
/// one where nothing answers does not keep the others from being tried.
async fn tcp(server: &Server, until: Instant) -> Result<TcpStream, ConnectError> {
    let all = addresses(server).await?;
    let first = server.state().addresses().turn() % all.len();
    let mut failure = io::Error::from(io::ErrorKind::TimedOut);
    for tried in 0..all.len() {
        let address = all[(first + tried) % all.len()];
        let left = u32::try_from(all.len() - tried).unwrap_or(u32::MAX);
        let share = until.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(error) => failure = error,
            },
            Ok(Err(error)) if shortage::met("connecting to servers", &error) => {
                return Err(ConnectError::Shortage { server: server.name().clone(), source: error });
            }
            Ok(Err(error)) => failure = io::Error::new(error.kind(), format!("{address}: {error}")),
            Err(_elapsed) => {}
        }
    }
    Err(ConnectError::Failed { server: server.name().clone(), source: failure })
}

async fn addresses(server: &Server) -> Result<Arc<[SocketAddr]>, ConnectError> {
    let known = server.state().addresses().known().await;
    if known.all.is_empty() {
        let why = known.trouble.unwrap_or_else(|| "no answer".into());
        return Err(ConnectError::Unresolved { server: server.name().clone(), why });
    }
    Ok(known.all)
}

impl Io {
    /// Ends the connection when what was sent is not acknowledged within `after` (TCP_USER_TIMEOUT): the server's host
    /// is gone, or the path to it. Not for connections on which a server may close its window for longer.
    pub(super) fn end_unacknowledged(&self, after: Duration) {
        let socket = match &self.carrier {
            Carrier::Tcp(stream) => SockRef::from(stream),
            Carrier::Tls(stream) => SockRef::from(stream.get_ref().0),
            Carrier::Unix(_) => return,
        };
        if let Err(error) = socket.set_tcp_user_timeout(Some(after)) {
            debug!(%error, "a server that is gone will be found by its timeouts alone");
        }
    }

    /// Makes the drop of this connection a reset at the server's end, not an end. A Unix socket has no resets: its
    /// server sees an end.
    pub(super) fn set_zero_linger(&self) -> io::Result<()> {
        match &self.carrier {
            Carrier::Tcp(stream) => stream.set_zero_linger(),
            Carrier::Tls(stream) => stream.get_ref().0.set_zero_linger(),
            Carrier::Unix(_) => Ok(()),
        }
    }

    /// Whether the server chose HTTP/2 in TLS.
    pub(super) fn agreed_on_http2(&self) -> bool {
        matches!(&self.carrier, Carrier::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2))
    }
}

/// Calls the same function of whatever is inside.
macro_rules! of_carrier {
    ($carrier:expr, $stream:ident => $call:expr) => {
        match $carrier {
            Carrier::Tcp($stream) => $call,
            Carrier::Unix($stream) => $call,
            Carrier::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        of_carrier!(&mut self.get_mut().carrier, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        of_carrier!(&mut self.get_mut().carrier, stream => Pin::new(stream).poll_write(cx, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match data {
            // Most requests are one piece, and `send` costs less than `writev`.
            [whole] => self.poll_write(cx, whole),
            data => of_carrier!(&mut self.get_mut().carrier, stream => Pin::new(stream).poll_write_vectored(cx, data)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        of_carrier!(&self.carrier, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_carrier!(&mut self.get_mut().carrier, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_carrier!(&mut self.get_mut().carrier, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
