//! A response's content on its way to a client, read as it is asked for. What has come is looked at one piece ahead, so
//! that the last piece is known to be it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use router_http1::{BodyDecoder, Framing, Piece, Violation};
use tokio::{io::WriteHalf, runtime::Handle, task::JoinHandle};

use super::{
    connection::Connection,
    upload::{Upload, UploadError},
};
use crate::edge::upstream::{connect::Io, failure::Http1Error, request_body::Forwarded};

/// A response's content, and the connection that it comes by.
pub(in crate::edge::upstream) struct Content<B: Forwarded> {
    /// None once all of the response is here.
    connection: Option<Box<Connection>>,
    decoder: BodyDecoder,
    /// What has come, up to its second piece.
    next: Option<Piece>,
    then: Option<Piece>,
    fault: Option<Violation>,
    is_reusable: bool,
    rest: Rest<B>,
}

/// What is left of the request, in a task of its own.
struct Rest<B: Forwarded>(Option<JoinHandle<Sent<B>>>);

type Sent<B> = Result<WriteHalf<Io>, UploadError<<B as http_body::Body>::Error>>;

/// Why content broke off.
pub(in crate::edge::upstream) enum ContentError {
    Server(Http1Error),
    /// The request did, and so the exchange.
    Request,
}

/// A connection whose response has ended.
pub(in crate::edge::upstream) struct Kept<B: Forwarded> {
    connection: Box<Connection>,
    rest: Rest<B>,
}

impl<B: Forwarded> Content<B> {
    pub(super) fn new(mut connection: Box<Connection>, framing: Framing, upload: Option<Upload<B>>) -> Self {
        let rest = upload.and_then(|upload| Some((upload, connection.part()?, Handle::try_current().ok()?)));
        let rest = rest.map(|(upload, writer, runtime)| runtime.spawn(upload.run(writer)));
        let mut content = Self {
            connection: Some(connection),
            decoder: BodyDecoder::new(framing.length),
            next: None,
            then: None,
            fault: None,
            is_reusable: framing.is_reusable,
            rest: Rest(rest),
        };
        content.look_ahead();
        content
    }

    /// All of the response is here.
    pub(in crate::edge::upstream) fn is_received(&self) -> bool {
        self.decoder.is_ended() && self.fault.is_none()
    }

    /// The connection of a response that is all here, if it can take another request.
    pub(in crate::edge::upstream) fn take_connection(&mut self) -> Option<Kept<B>> {
        let connection = self.connection.take()?;
        let is_usable = self.is_received() && self.is_reusable && connection.read.is_empty();
        is_usable.then(|| Kept { connection, rest: Rest(self.rest.0.take()) })
    }

    /// All of it, if it is here and in one piece.
    pub(in crate::edge::upstream) fn take_whole(&mut self) -> Option<Bytes> {
        if !self.is_received() || self.then.is_some() {
            return None;
        }
        match self.next.take() {
            None => Some(Bytes::new()),
            Some(Piece::Data(data)) => Some(data),
            trailers => {
                self.next = trailers;
                None
            }
        }
    }

    pub(in crate::edge::upstream) fn is_end_stream(&self) -> bool {
        self.is_received() && self.next.is_none()
    }

    pub(in crate::edge::upstream) fn size_hint(&self) -> SizeHint {
        let here = [&self.next, &self.then].into_iter().flatten().map(|piece| match piece {
            Piece::Data(data) => Some(data.len() as u64),
            // A length would leave them no place over HTTP/1.1.
            Piece::Trailers(_) => None,
        });
        let length = here.chain([self.decoder.left()]).sum::<Option<u64>>();
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    pub(in crate::edge::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ContentError>>> {
        loop {
            if let Some(piece) = self.next.take() {
                self.next = self.then.take();
                self.look_ahead();
                return Poll::Ready(Some(Ok(match piece {
                    Piece::Data(data) => Frame::data(data),
                    Piece::Trailers(trailers) => Frame::trailers(trailers),
                })));
            }
            if let Some(violation) = self.fault {
                return Poll::Ready(Some(Err(ContentError::Server(violation.into()))));
            }
            if self.decoder.is_ended() {
                return Poll::Ready(None);
            }
            if let Err(error) = self.poll_rest(cx) {
                return Poll::Ready(Some(Err(error)));
            }
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            match ready!(connection.poll_fill(cx)) {
                Ok(0) => self.fault = self.decoder.close().err(),
                Ok(_) => self.look_ahead(),
                Err(error) => return Poll::Ready(Some(Err(ContentError::Server(error.into())))),
            }
        }
    }

    /// Fills the two places with what has come.
    fn look_ahead(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        while self.then.is_none() && self.fault.is_none() {
            match self.decoder.decode(&mut connection.read) {
                Ok(None) => return,
                Ok(Some(piece)) if self.next.is_none() => self.next = Some(piece),
                Ok(Some(piece)) => self.then = Some(piece),
                Err(violation) => self.fault = Some(violation),
            }
        }
    }

    /// Whether the rest of the request is well.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Result<(), ContentError> {
        let Some(task) = &mut self.rest.0 else { return Ok(()) };
        let Poll::Ready(ended) = Pin::new(task).poll(cx) else { return Ok(()) };
        self.rest.0 = None;
        match (ended, &mut self.connection) {
            (Ok(Ok(writer)), Some(connection)) => connection.join(writer),
            (Ok(Err(UploadError::Request(_))), _) => return Err(ContentError::Request),
            // The server's answer counts, and no other request may follow this one.
            (Ok(Ok(_) | Err(UploadError::Write(_) | UploadError::Length(_))) | Err(_), _) => self.is_reusable = false,
        }
        Ok(())
    }
}

impl<B: Forwarded> Kept<B> {
    /// The connection, once the request is all sent too; at once if it is already.
    pub(in crate::edge::upstream) fn into_connection(self) -> Result<Box<Connection>, Self> {
        match self.rest.0 {
            None => Ok(self.connection),
            Some(_) => Err(self),
        }
    }

    /// Waits for the rest of the request. None if the server does not take it.
    pub(in crate::edge::upstream) async fn sent(mut self) -> Option<Box<Connection>> {
        let task = self.rest.0.as_mut()?;
        let writer = task.await.ok()?.ok()?;
        self.connection.join(writer);
        Some(self.connection)
    }
}

impl<B: Forwarded> Drop for Rest<B> {
    /// Its end is not awaited any more.
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
