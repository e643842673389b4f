//! A quinn connection as the h3 crate wants to see it.
//!
//! Three things set it apart from the adapter that comes with h3: a request that isn't read to
//! its end is stopped with H3_NO_ERROR and at any time (a load generator counts any other code
//! as a failure); whoever serves a request learns when the client cancels it or has received the
//! whole response; and h3 is given at most [`Allowance::BYTES`] of a request that it can't make
//! anything of, because it would store the rest of an endless frame.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::stream::{self, BoxStream, StreamExt};
use h3::{
    error::Code,
    quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf},
};
use quinn::{ConnectionError, ReadError, StoppedError, VarInt, WriteError};

use super::control_stream::Watch;

/// Accepts a connection's streams for h3.
pub(super) struct Connection {
    opener: Opener,
    requests: BoxStream<'static, Result<(quinn::SendStream, quinn::RecvStream), ConnectionError>>,
    unidirectional: BoxStream<'static, Result<quinn::RecvStream, ConnectionError>>,
    latest: Option<Accepted>,
}

/// What h3 has no word for about a request stream.
pub(super) struct Accepted {
    pub(super) allowance: Arc<Allowance>,
    pub(super) stopped: Stopped,
    /// It was opened before the handshake was complete (0-RTT).
    pub(super) early: bool,
}

/// Resolves when the client received the whole response (`None`), stopped it with a code, or is
/// gone.
pub(super) type Stopped = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

impl Connection {
    pub(super) fn new(connection: quinn::Connection) -> Self {
        let requests =
            stream::unfold(connection.clone(), |connection| async { Some((connection.accept_bi().await, connection)) });
        let unidirectional = stream::unfold(connection.clone(), |connection| async {
            Some((connection.accept_uni().await, connection))
        });
        Self {
            opener: Opener { connection, opening: None },
            requests: requests.boxed(),
            unidirectional: unidirectional.boxed(),
            latest: None,
        }
    }

    /// Of the request stream that h3 accepted last. Once for each.
    pub(super) fn latest(&mut self) -> Option<Accepted> {
        self.latest.take()
    }
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<RecvStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.unidirectional.poll_next_unpin(cx)).unwrap_or(Err(ConnectionError::LocallyClosed));
        Poll::Ready(accepted.map(|stream| RecvStream::of_client(stream, self.opener.connection.clone())).map_err(lost))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, ConnectionErrorIncoming>> {
        let accepted = ready!(self.requests.poll_next_unpin(cx)).unwrap_or(Err(ConnectionError::LocallyClosed));
        Poll::Ready(accepted.map_err(lost).map(|(send, recv)| {
            let allowance = Arc::new(Allowance::default());
            let early = recv.is_0rtt();
            self.latest = Some(Accepted { allowance: allowance.clone(), stopped: Box::pin(send.stopped()), early });
            BidiStream { send: SendStream::new(send), recv: RecvStream::of_request(recv, allowance) }
        }))
    }

    fn opener(&self) -> Opener {
        Opener { connection: self.opener.connection.clone(), opening: None }
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.opener.close(code, reason);
    }
}

/// Opens the server's control and QPACK streams.
pub(super) struct Opener {
    connection: quinn::Connection,
    opening: Option<Opening>,
}

type Opening = Pin<Box<dyn Future<Output = Result<quinn::SendStream, ConnectionError>> + Send>>;

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    /// An HTTP/3 server opens no bidirectional streams (RFC 9114 section 6.1).
    fn poll_open_bidi(&mut self, _cx: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        let connection_error = ConnectionErrorIncoming::InternalError("a server opens no requests".into());
        Poll::Ready(Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error }))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let connection = &self.connection;
        let opening = self.opening.get_or_insert_with(|| {
            let connection = connection.clone();
            Box::pin(async move { connection.open_uni().await })
        });
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        Poll::Ready(opened.map(SendStream::new).map_err(stream_lost))
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.connection.close(varint(code.value()), reason);
    }
}

/// A request stream.
pub(super) struct BidiStream {
    send: SendStream,
    recv: RecvStream,
}

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.recv.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.send.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// The server's half of a request stream, or one of its own streams.
pub(super) struct SendStream {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
}

impl SendStream {
    fn new(stream: quinn::SendStream) -> Self {
        Self { stream, writing: None }
    }
}

impl quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        if let Some(data) = &mut self.writing {
            while data.has_remaining() {
                let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data.chunk())).map_err(write_failed)?;
                data.advance(written);
            }
            self.writing = None;
        }
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        debug_assert!(self.writing.is_none(), "h3 waits until the stream is ready");
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(self.stream.finish().map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, code: u64) {
        // Fails only on a stream that is already finished and acknowledged, or reset.
        let _ = self.stream.reset(varint(code));
    }

    fn send_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

/// The client's half of a request stream, or one of the client's own streams.
pub(super) struct RecvStream {
    stream: quinn::RecvStream,
    /// The client ended or reset it, or was asked to stop.
    over: bool,
    kind: Kind,
}

enum Kind {
    Request(Arc<Allowance>),
    /// One of the client's own.
    Unidirectional {
        watch: Watch,
        connection: quinn::Connection,
    },
}

impl RecvStream {
    fn of_request(stream: quinn::RecvStream, allowance: Arc<Allowance>) -> Self {
        Self { stream, over: false, kind: Kind::Request(allowance) }
    }

    fn of_client(stream: quinn::RecvStream, connection: quinn::Connection) -> Self {
        Self { stream, over: false, kind: Kind::Unidirectional { watch: Watch::default(), connection } }
    }
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        if let Kind::Request(allowance) = &self.kind
            && allowance.is_spent()
        {
            // Whoever polls h3 sees the same and either renews the allowance or gives up.
            return Poll::Pending;
        }
        // Made anew for each poll, as it keeps its state in the stream.
        match ready!(pin!(self.stream.read_chunk(usize::MAX, true)).poll(cx)) {
            Ok(Some(chunk)) => {
                match &mut self.kind {
                    Kind::Request(allowance) => allowance.spend(chunk.bytes.len()),
                    Kind::Unidirectional { watch, connection } => {
                        if watch.pass(&chunk.bytes).is_err() {
                            connection.close(varint(Code::H3_EXCESSIVE_LOAD.value()), b"a frame is too long");
                        }
                    }
                }
                Poll::Ready(Ok(Some(chunk.bytes)))
            }
            Ok(None) => {
                self.over = true;
                Poll::Ready(Ok(None))
            }
            Err(error) => {
                self.over = true;
                Poll::Ready(Err(read_failed(error)))
            }
        }
    }

    fn stop_sending(&mut self, code: u64) {
        self.over = true;
        // Fails only on a stream that is over.
        let _ = self.stream.stop(varint(code));
    }

    fn recv_id(&self) -> StreamId {
        stream_id(self.stream.id())
    }
}

impl Drop for RecvStream {
    /// RFC 9114 section 4.1: what remains of a request isn't needed for its response.
    fn drop(&mut self) {
        if !self.over {
            quic::RecvStream::stop_sending(self, Code::H3_NO_ERROR.value());
        }
    }
}

/// How much more of a request stream h3 is given before it must have made something of it.
#[derive(Default)]
pub(super) struct Allowance {
    delivered: AtomicU64,
    renewed: AtomicU64,
    content: AtomicU64,
}

impl Allowance {
    /// More than a HEADERS frame of the largest field section we take can have.
    pub(super) const BYTES: u64 = 128 * 1024;

    /// Nothing more is read until it is renewed.
    pub(super) fn is_spent(&self) -> bool {
        self.delivered.load(Relaxed) - self.renewed.load(Relaxed) >= Self::BYTES
    }

    /// What was read so far was made use of.
    pub(super) fn renew(&self) {
        self.renewed.store(self.delivered.load(Relaxed), Relaxed);
    }

    /// Bytes of the stream that were read at all.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Octets of the request's content that were read.
    pub(super) fn content(&self) -> u64 {
        self.content.load(Relaxed)
    }

    /// More of it.
    pub(super) fn add_content(&self, bytes: usize) {
        self.content.store(self.content.load(Relaxed) + bytes as u64, Relaxed);
    }

    pub(super) fn spend(&self, bytes: usize) {
        // One thread writes: no need for a read-modify-write instruction.
        self.delivered.store(self.delivered.load(Relaxed) + bytes as u64, Relaxed);
    }
}

fn varint(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

fn stream_id(id: quinn::StreamId) -> StreamId {
    VarInt::from(id).into_inner().try_into().expect("quinn's stream IDs are below 2^62, as h3's")
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn stream_lost(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
}

fn read_failed(error: ReadError) -> StreamErrorIncoming {
    match error {
        ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        ReadError::ConnectionLost(error) => stream_lost(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn write_failed(error: WriteError) -> StreamErrorIncoming {
    match error {
        WriteError::Stopped(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
        WriteError::ConnectionLost(error) => stream_lost(error),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
