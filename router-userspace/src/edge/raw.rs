//! A raw QUIC connection: each bidirectional stream is a TCP connection to the upstream, and what
//! ends one ends the other in the same way.
//!
//! | on the stream | on the TCP connection |
//! |---|---|
//! | FIN from the client | FIN to the server, the other direction goes on |
//! | FIN from the server | FIN to the client, the other direction goes on |
//! | RESET_STREAM or STOP_SENDING from the client; its other direction gets [`STREAM_CANCELLED`] | RST to the server |
//! | the connection is lost | RST to the server |
//! | RESET_STREAM and STOP_SENDING with [`UPSTREAM_RESET`] | RST from the server |
//! | RESET_STREAM and STOP_SENDING with [`STREAM_CANCELLED`]: the client took nothing for too long | RST to the server |
//! | STOP_SENDING with [`UPSTREAM_CLOSED`], the other direction goes on | the server takes no more |
//! | RESET_STREAM and STOP_SENDING with [`UPSTREAM_UNREACHABLE`] | no server can be reached |
//!
//! Unidirectional streams have no counterpart and are stopped with [`STREAM_REFUSED`].

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::BytesMut;
use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tracing::debug;

use super::{
    access::{AccessSink, StreamEntry},
    bidirectional_stream::BidirectionalStream,
    client::Client,
    pace::{Pace, TooSlow},
    route::RawRoute,
    upstream::Stream,
};
use crate::{address::path::Path, telemetry::Outcome};

/// Application error code: unidirectional streams are not taken.
pub const STREAM_REFUSED: u32 = 2;
/// Application error code: none of the upstream's servers took a connection.
pub const UPSTREAM_UNREACHABLE: u32 = 3;
/// Application error code: the server reset its connection.
pub const UPSTREAM_RESET: u32 = 4;
/// Application error code: the server takes no more data on its connection.
pub const UPSTREAM_CLOSED: u32 = 5;

/// Application error code: the client broke off the other direction of the stream, or did not take what came from the
/// server in time.
pub const STREAM_CANCELLED: u32 = 6;

/// Octets read from a server at once.
const BUFFER: usize = 64 * 1024;

/// A raw connection that has a route.
pub(super) struct RawConnection<'c> {
    pub(super) connection: &'c quinn::Connection,
    /// Where its client is.
    pub(super) path: Path,
    /// Its client, as it was when it began.
    pub(super) client: Client,
    pub(super) route: Arc<RawRoute>,
    pub(super) book: AccessSink,
    /// What its client has to take of each stream.
    pub(super) pace: Pace,
}

impl RawConnection<'_> {
    /// Serves streams until the connection ends.
    pub(super) async fn serve(mut self) {
        loop {
            tokio::select! {
                accepted = self.connection.accept_bi() => match accepted {
                    Ok(stream) => {
                        // It may have moved since the last stream.
                        let client = Client { address: self.path.address(), ..self.client.clone() };
                        let (route, pace) = (Arc::clone(&self.route), self.pace);
                        let entry = StreamEntry::begin(&self.book, Arc::clone(&route), &client);
                        let stream = RawStream { stream: stream.into(), client, route, entry, pace };
                        tokio::spawn(stream.serve());
                    }
                    Err(error) => return debug!(%error, "raw connection ended"),
                },
                accepted = self.connection.accept_uni() => match accepted {
                    // Fails only on a stream that the client has already reset.
                    Ok(mut recv) => drop(recv.stop(STREAM_REFUSED.into())),
                    Err(error) => return debug!(%error, "raw connection ended"),
                },
            }
        }
    }
}

/// A stream of a raw connection.
struct RawStream {
    stream: BidirectionalStream,
    client: Client,
    route: Arc<RawRoute>,
    entry: StreamEntry,
    pace: Pace,
}

impl RawStream {
    async fn serve(mut self) {
        let BidirectionalStream { send, recv } = &mut self.stream;
        let connected = tokio::select! {
            connected = self.route.upstream.open(self.client.address, self.client.local) => connected,
            _ = send.stopped() => return self.stream.abort(STREAM_CANCELLED.into()),
        };
        let stream = match connected {
            Ok(connected) => connected,
            Err(error) => {
                debug!(%error, "no upstream for a stream");
                self.entry.ends(Outcome::UpstreamBroke);
                return self.stream.abort(UPSTREAM_UNREACHABLE.into());
            }
        };
        let mut server = Server { stream, clean: false };
        let (from_server, to_server) = tokio::io::split(&mut server.stream);
        let up = async {
            match upload(recv, to_server, &self.entry.received).await {
                // The server may still have something to say.
                Err(Broken::Server(_)) => drop(recv.stop(UPSTREAM_CLOSED.into())),
                outcome => outcome?,
            }
            Ok(())
        };
        match tokio::try_join!(up, download(send, self.pace, from_server, &self.entry.sent)) {
            Ok(((), ())) => {
                server.clean = true;
                self.entry.ends(Outcome::Complete);
            }
            Err(broken) => {
                debug!(%broken, "stream broke off");
                let (code, outcome) = match broken {
                    Broken::Server(_) => (UPSTREAM_RESET, Outcome::UpstreamBroke),
                    Broken::Read(_) | Broken::Write(_) => (STREAM_CANCELLED, Outcome::Cancelled),
                    Broken::Slow(_) => (STREAM_CANCELLED, Outcome::TimedOut),
                };
                self.entry.ends(outcome);
                self.stream.abort(code.into());
            }
        }
    }
}

/// What broke a direction; it breaks the other with it.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the client: {0}")]
    Read(#[from] ReadError),
    #[error("the client: {0}")]
    Write(#[from] WriteError),
    #[error(transparent)]
    Slow(#[from] TooSlow),
    #[error("the server: {0}")]
    Server(#[from] io::Error),
}

async fn upload(
    recv: &mut RecvStream,
    mut to_server: WriteHalf<&mut Stream>,
    octets: &AtomicU64,
) -> Result<(), Broken> {
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
        to_server.write_all(&chunk.bytes).await?;
        octets.fetch_add(chunk.bytes.len() as u64, Relaxed);
    }
    Ok(to_server.shutdown().await?)
}

async fn download(
    send: &mut SendStream,
    mut pace: Pace,
    mut from_server: ReadHalf<&mut Stream>,
    octets: &AtomicU64,
) -> Result<(), Broken> {
    let mut stopped = std::pin::pin!(send.stopped());
    let mut buffer = BytesMut::with_capacity(BUFFER);
    loop {
        // Takes a new allocation only when quinn still holds all of the last.
        buffer.reserve(BUFFER / 4);
        let read = tokio::select! {
            biased;
            read = from_server.read_buf(&mut buffer) => read?,
            stopped = &mut stopped => return Err(match stopped {
                Ok(code) => WriteError::Stopped(code.unwrap_or_default()),
                Err(error) => error.into(),
            }.into()),
        };
        if read == 0 {
            // Fails only if the client stopped the stream, which ends it as well.
            let _ = send.finish();
            return Ok(());
        }
        let mut pieces = [buffer.split().freeze()];
        while !pieces[0].is_empty() {
            let written = async { send.write_chunks(&mut pieces).await.map(|written| written.bytes) };
            let written = pace.within(written).await??;
            octets.fetch_add(written as u64, Relaxed);
        }
    }
}

/// A server's TCP connection, which is reset unless both directions came to their end.
struct Server {
    stream: Stream,
    clean: bool,
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.clean
            && let Err(error) = self.stream.set_zero_linger()
        {
            debug!(%error, "the server is told that a stream ended, but not that it broke off");
        }
    }
}
