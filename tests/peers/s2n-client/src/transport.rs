//! s2n-quic's connections and streams as the h3 crate wants them.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use h3::{
    error::Code,
    quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf},
};
use s2n_quic::{
    application,
    connection::{Error as ConnectionError, Handle, StreamAcceptor},
    stream::{BidirectionalStream, Error as StreamError, ReceiveStream, SendStream},
};

/// A connection.
pub(crate) struct Connection {
    opener: Opener,
    acceptor: StreamAcceptor,
}

impl Connection {
    pub(crate) fn new(connection: s2n_quic::Connection) -> Self {
        let (handle, acceptor) = connection.split();
        Self { opener: Opener(handle), acceptor }
    }
}

impl<B: Buf> quic::Connection<B> for Connection {
    type RecvStream = Receiving;
    type OpenStreams = Opener;

    fn poll_accept_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Receiving, ConnectionErrorIncoming>> {
        let stream = ready!(self.acceptor.poll_accept_receive_stream(cx)).map_err(of_connection)?;
        Poll::Ready(stream.map(Receiving).ok_or_else(ended))
    }

    fn poll_accept_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both<B>, ConnectionErrorIncoming>> {
        let stream = ready!(self.acceptor.poll_accept_bidirectional_stream(cx)).map_err(of_connection)?;
        Poll::Ready(stream.map(Both::new).ok_or_else(ended))
    }

    fn opener(&self) -> Opener {
        self.opener.clone()
    }
}

impl<B: Buf> quic::OpenStreams<B> for Connection {
    type BidiStream = Both<B>;
    type SendStream = Sending<B>;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both<B>, StreamErrorIncoming>> {
        self.opener.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sending<B>, StreamErrorIncoming>> {
        self.opener.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        quic::OpenStreams::<B>::close(&mut self.opener, code, reason);
    }
}

/// What opens streams.
#[derive(Clone)]
pub(crate) struct Opener(Handle);

impl<B: Buf> quic::OpenStreams<B> for Opener {
    type BidiStream = Both<B>;
    type SendStream = Sending<B>;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<Both<B>, StreamErrorIncoming>> {
        self.0.poll_open_bidirectional_stream(cx).map_ok(Both::new).map_err(lost)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Sending<B>, StreamErrorIncoming>> {
        self.0.poll_open_send_stream(cx).map_ok(Sending::new).map_err(lost)
    }

    fn close(&mut self, code: Code, _: &[u8]) {
        self.0.close(error(code.value()));
    }
}

/// Both directions of a stream.
pub(crate) struct Both<B> {
    sending: Sending<B>,
    receiving: Receiving,
}

impl<B> Both<B> {
    fn new(stream: BidirectionalStream) -> Self {
        let (receiving, sending) = stream.split();
        Self { sending: Sending::new(sending), receiving: Receiving(receiving) }
    }
}

impl<B: Buf> quic::BidiStream<B> for Both<B> {
    type SendStream = Sending<B>;
    type RecvStream = Receiving;

    fn split(self) -> (Sending<B>, Receiving) {
        (self.sending, self.receiving)
    }
}

impl<B: Buf> quic::SendStream<B> for Both<B> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.sending.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.sending.poll_finish(cx)
    }

    fn reset(&mut self, code: u64) {
        self.sending.reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.sending.send_id()
    }
}

impl<B> quic::RecvStream for Both<B> {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.receiving.poll_data(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        self.receiving.stop_sending(code);
    }

    fn recv_id(&self) -> StreamId {
        self.receiving.recv_id()
    }
}

/// What is sent on a stream.
pub(crate) struct Sending<B> {
    stream: SendStream,
    waiting: Option<WriteBuf<B>>,
}

impl<B> Sending<B> {
    fn new(stream: SendStream) -> Self {
        Self { stream, waiting: None }
    }
}

impl<B: Buf> quic::SendStream<B> for Sending<B> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(waiting) = self.waiting.as_mut().filter(|waiting| waiting.has_remaining()) {
            let room = ready!(self.stream.poll_send_ready(cx)).map_err(of_stream)?;
            let length = room.min(waiting.chunk().len());
            self.stream.send_data(waiting.copy_to_bytes(length)).map_err(of_stream)?;
        }
        self.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<B>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.waiting.is_some() {
            let connection_error = ConnectionErrorIncoming::InternalError("the data before is not sent yet".into());
            return Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error });
        }
        self.waiting = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        ready!(self.poll_ready(cx))?;
        Poll::Ready(self.stream.finish().map_err(of_stream))
    }

    fn reset(&mut self, code: u64) {
        // One that has ended needs none.
        let _ = self.stream.reset(error(code));
    }

    fn send_id(&self) -> StreamId {
        number(self.stream.id())
    }
}

/// What comes on a stream.
pub(crate) struct Receiving(ReceiveStream);

impl quic::RecvStream for Receiving {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.0.poll_receive(cx).map_err(of_stream)
    }

    fn stop_sending(&mut self, code: u64) {
        // One that has ended needs none.
        let _ = self.0.stop_sending(error(code));
    }

    fn recv_id(&self) -> StreamId {
        number(self.0.id())
    }
}

/// An error code of HTTP/3.
pub(crate) fn error(code: u64) -> application::Error {
    application::Error::new(code).unwrap_or(application::Error::UNKNOWN)
}

fn number(id: u64) -> StreamId {
    StreamId::try_from(id).expect("a stream's number has 62 bits")
}

fn ended() -> ConnectionErrorIncoming {
    ConnectionErrorIncoming::ApplicationClose { error_code: Code::H3_NO_ERROR.value() }
}

fn lost(error: ConnectionError) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error: of_connection(error) }
}

fn of_connection(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::Application { error, .. } => ConnectionErrorIncoming::ApplicationClose { error_code: *error },
        ConnectionError::IdleTimerExpired { .. } => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn of_stream(error: StreamError) -> StreamErrorIncoming {
    match error {
        StreamError::ConnectionError { error, .. } => lost(error),
        StreamError::StreamReset { error, .. } => StreamErrorIncoming::StreamTerminated { error_code: *error },
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}
