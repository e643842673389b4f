//! A connection to a server: TCP, Unix or TLS, and a stream for raw QUIC on one of the first two.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tracing::debug;

use super::{
    resolve::Addresses,
    server::{Lease, Open, Server, State},
    tls,
};
use crate::telemetry::shortage;

/// Where a server is, and what is spoken first.
pub(super) enum Target {
    /// At the addresses of its [`State`].
    Tcp,
    /// At the same, in TLS.
    Tls(Arc<ClientConfig>, ServerName<'static>),
    /// A socket's path.
    Unix(PathBuf),
}

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
    _open: Open,
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
        Ok(carrier) => Ok(Io { carrier: carrier?, _open: Open::new(&server.state) }),
        Err(_elapsed) => Err(ConnectError::TimedOut { server: server.state.name.clone(), limit }),
    }
}

async fn carrier(server: &Server, until: Instant) -> Result<Carrier, ConnectError> {
    let name = || server.state.name.clone();
    match &server.target {
        Target::Unix(path) => {
            let failed = |source| ConnectError::of(name(), source);
            Ok(Carrier::Unix(UnixStream::connect(path).await.map_err(failed)?))
        }
        Target::Tcp => Ok(Carrier::Tcp(tcp(&server.state, until).await?)),
        Target::Tls(config, host) => {
            let stream = tcp(&server.state, until).await?;
            let connecting = TlsConnector::from(config.clone()).connect(host.clone(), stream);
            let stream = connecting.await.map_err(|source| ConnectError::Tls { server: name(), source })?;
            Ok(Carrier::Tls(Box::new(stream)))
        }
    }
}

/// To each of the server's addresses in turn; each has its part of the time that is left, so that
/// one where nothing answers does not keep the others from being tried.
async fn tcp(state: &State, until: Instant) -> Result<TcpStream, ConnectError> {
    let all = addresses(state).await?;
    let first = state.next_address.fetch_add(1, Relaxed) % all.len();
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
                return Err(ConnectError::Shortage { server: state.name.clone(), source: error });
            }
            Ok(Err(error)) => failure = io::Error::new(error.kind(), format!("{address}: {error}")),
            Err(_elapsed) => {}
        }
    }
    Err(ConnectError::Failed { server: state.name.clone(), source: failure })
}

async fn addresses(state: &State) -> Result<Arc<[SocketAddr]>, ConnectError> {
    // Cannot fail: the sender is ours.
    let known = match state.addresses.subscribe().wait_for(Addresses::are_known).await {
        Ok(known) => known.clone(),
        Err(_closed) => Addresses::default(),
    };
    if known.all.is_empty() {
        let why = known.trouble.unwrap_or_else(|| "no answer".into());
        return Err(ConnectError::Unresolved { server: state.name.clone(), why });
    }
    Ok(known.all)
}

impl Io {
    /// Ends the connection when what was sent is not acknowledged for so long: the server's host is gone, or the way to
    /// it. Not for connections on which a server may close its window for longer.
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

    /// Whether the server chose HTTP/2 in TLS.
    pub(super) fn agreed_on_http2(&self) -> bool {
        matches!(&self.carrier, Carrier::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2))
    }
}

/// A stream to a server, for a raw QUIC stream. Counts as in flight until it is dropped.
pub(in crate::edge) struct Stream {
    io: Io,
    _lease: Lease,
}

impl Stream {
    pub(super) fn new(io: Io, lease: Lease) -> Self {
        Self { io, _lease: lease }
    }

    /// Makes the drop of this stream a reset at the server's end, not an end. A Unix socket has no
    /// resets: its server sees an end.
    pub(in crate::edge) fn set_zero_linger(&self) -> io::Result<()> {
        match &self.io.carrier {
            Carrier::Tcp(stream) => stream.set_zero_linger(),
            Carrier::Tls(stream) => stream.get_ref().0.set_zero_linger(),
            Carrier::Unix(_) => Ok(()),
        }
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
