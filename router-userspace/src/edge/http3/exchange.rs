//! One request and its response, in a task of its own. What goes wrong with it ends the connection only where RFC 9114
//! says so.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use futures_util::future::poll_immediate;
use http::{Request, Response, StatusCode};
use quinn::VarInt;
use router_http3::{Code, MessageLimits, RequestEvent, RequestHead, Violation};
use tokio::time;
use tracing::debug;

use super::{
    early_data::Handshake,
    request_stream::{ReadFailure, RequestReader},
    response_stream::{ResponseWriter, WriteFailure},
    shared::Shared,
};
use crate::{
    config::Limits,
    edge::{
        bidirectional_stream::BidirectionalStream,
        client::Client,
        http::{
            body::RequestBody,
            handler,
            interim::Interim,
            request::{self, Refusal},
            request_context::RequestContext,
            response::{ResponseBody, Unanswered},
        },
        memory::Held,
        pace::Pace,
    },
};

/// A request stream that was just accepted.
pub(super) struct Exchange {
    pub(super) stream: BidirectionalStream,
    pub(super) shared: Arc<Shared>,
    pub(super) client: Client,
    /// Of a request that came in 0-RTT.
    pub(super) early: Option<Handshake>,
    /// Its part of the node's memory.
    pub(super) held: Held,
}

/// Why there is no head to be served.
enum NoHead {
    /// It is to be answered.
    Refused(Refusal),
    Failed(ReadFailure),
}

impl Exchange {
    /// Returns when the client has the whole response, or will not get one.
    ///
    /// What is awaited here is within this future, which moves when it is made: the test `sizes` keeps it small.
    #[expect(clippy::manual_async_fn, reason = "what an `async fn` takes by value is in its future twice")]
    pub(super) fn serve(self) -> impl Future<Output = ()> + Send {
        async move {
            let _held = self.held;
            // One request is served by one configuration, from its head to its end.
            let serving = self.shared.site.now.load_full();
            let pace = Pace::new(serving.limits.send_timeout, serving.limits.min_rate);
            let mut writer = ResponseWriter::new(self.stream.send, pace);
            let mut stopped = pin!(writer.stopped());
            let outcome = {
                let (interim, early) = (Interim::default(), self.early.as_ref());
                let (site, client) = (&self.shared.site, &self.client);
                let asked = RequestContext { site, serving: &serving, client, interim: Some(&interim), early };
                let (shared, writer) = (&self.shared, &mut writer);
                let responder = Responder { shared, asked: &asked, interim: &interim, writer };
                let mut served = pin!(responder.respond(self.stream.recv));
                tokio::select! {
                    // First: a response that was stopped also fails to be sent, and would not say why.
                    biased;
                    reason = &mut stopped => match reason {
                        // It has the response; what is left to do is on our side.
                        Ok(None) => return drop(served.await),
                        // Dropping what serves the request cancels it upstream.
                        Ok(Some(code)) => Err(End::Cancelled(code)),
                        Err(_gone) => return,
                    },
                    outcome = &mut served => outcome,
                }
            };
            match outcome {
                Ok(()) => drop(stopped.await),
                Err(end) => {
                    debug!(peer = %self.client.address, %end, "a request was not served");
                    // A client that stops the response gets its own code back (RFC 9000 section 3.5).
                    writer.reset(end.code());
                    if end.is_the_clients() {
                        self.shared.connection.request_was_cancelled();
                    }
                }
            }
        }
    }
}

/// Why an exchange ended before its end.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("cancelled with {}", Code::new(.0.into_inner()))]
    Cancelled(VarInt),
    #[error("{0}")]
    Unread(ReadFailure),
    #[error("{0}")]
    Unanswered(Unanswered),
    #[error("{0}")]
    Unwritten(WriteFailure),
}

impl End {
    fn code(&self) -> Code {
        match self {
            Self::Cancelled(code) => Code::new(code.into_inner()),
            Self::Unread(failure) => failure.code(),
            Self::Unanswered(unanswered) => unanswered.code,
            Self::Unwritten(failure) => failure.code(),
        }
    }

    /// The client has cancelled it.
    fn is_the_clients(&self) -> bool {
        match self {
            Self::Cancelled(_) | Self::Unread(ReadFailure::Reset(_)) => true,
            Self::Unanswered(unanswered) => unanswered.is_cancelled,
            Self::Unwritten(WriteFailure::Response(error)) => error.is_cancelled(),
            Self::Unread(_) | Self::Unwritten(WriteFailure::Client(_) | WriteFailure::Slow(_)) => false,
        }
    }
}

fn message_limits(limits: &Limits) -> MessageLimits {
    MessageLimits {
        max_field_section_size: limits.max_header_bytes.into(),
        max_fields: limits.max_headers.into(),
        max_ignored: IGNORED_MAX,
        extended_connect: false,
    }
}

/// Octets of frames of unknown types that a request may have: for padding and reserved types, and no more.
const IGNORED_MAX: u64 = 64 * 1024;

/// Where a request is answered.
struct Responder<'e> {
    shared: &'e Arc<Shared>,
    asked: &'e RequestContext<'e>,
    interim: &'e Interim,
    writer: &'e mut ResponseWriter,
}

/// A request, and what its check found.
struct Checked {
    request: Request<RequestBody>,
    verdict: Result<(), Refusal>,
}

impl Responder<'_> {
    /// Reads the request and writes the response.
    async fn respond(mut self, recv: quinn::RecvStream) -> Result<(), End> {
        let mut response = match self.head(recv).await {
            // Borrowed from where it is: it is large.
            Ok(Checked { ref mut request, verdict }) => self.answer(request, verdict).await?,
            Err(NoHead::Refused(refusal)) => handler::refuse_unread(self.asked, refusal),
            Err(NoHead::Failed(failure)) => return Err(End::Unread(failure)),
        };
        // Woken for the answer, it may have found what comes before.
        self.take_interim();
        self.writer.send(&mut response).await.map_err(End::Unwritten)
    }

    /// Reads the head, and what came with it.
    async fn head(&mut self, recv: quinn::RecvStream) -> Result<Checked, NoHead> {
        let limits = &self.asked.serving.limits;
        // Dropped without a head, it asks its client to stop: the rest says nothing that would be understood.
        let mut reader = RequestReader::new(recv, message_limits(limits), Arc::clone(&self.shared.connection));
        let head = read_head(&mut reader, limits).await?;
        self.writer.prioritize(head.priority());
        let fault = head.fault;
        let mut request = head.into_request().map_err(|violation| malformed(&mut reader, violation))?;
        let verdict = request::check(&mut request, limits);
        // What the check knows is answered with a sentence, which RFC 9114 section 4.1.2 allows.
        if let (Ok(()), Some(violation)) = (&verdict, fault) {
            return Err(malformed(&mut reader, violation));
        }
        let first = poll_immediate(poll_fn(|cx| reader.poll_next(cx))).await;
        let pace = Pace::new(limits.body_timeout, limits.min_rate);
        Ok(Checked { request: request.map(|()| RequestBody::http3(reader, first, pace)), verdict })
    }

    async fn answer(
        &mut self,
        request: &mut Request<RequestBody>,
        checked: Result<(), Refusal>,
    ) -> Result<Response<ResponseBody>, End> {
        let mut answered = pin!(handler::handle(self.asked, request, checked));
        loop {
            let next = poll_fn(|cx| match answered.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending if self.interim.any() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            if let Some(answered) = next.await {
                return answered.map_err(End::Unanswered);
            }
            self.take_interim();
            // In a box: few have any.
            Box::pin(self.writer.flush()).await.map_err(End::Unwritten)?;
        }
    }

    /// Writes what comes before the response.
    fn take_interim(&mut self) {
        self.interim.take().iter().for_each(|before| self.writer.interim(before));
    }
}

fn malformed(reader: &mut RequestReader, violation: Violation) -> NoHead {
    reader.stop(violation.code);
    NoHead::Failed(ReadFailure::Stream(violation))
}

/// The head, if it comes in time.
async fn read_head(reader: &mut RequestReader, limits: &Limits) -> Result<Box<RequestHead>, NoHead> {
    // Most are there when their stream is, and need no timer.
    let event = match poll_immediate(poll_fn(|cx| reader.poll_next(cx))).await {
        Some(event) => event,
        None => match Box::pin(time::timeout(limits.request_timeout, reader.next())).await {
            Ok(event) => event,
            Err(_elapsed) => {
                return Err(NoHead::Refused(Refusal(StatusCode::REQUEST_TIMEOUT, "the request did not come in time")));
            }
        },
    };
    match event.map_err(NoHead::Failed)? {
        Some(RequestEvent::Head(head)) => Ok(head),
        Some(RequestEvent::HeadTooLarge) => Err(NoHead::Refused(request::TOO_LARGE)),
        // A head comes first, or there is an error in its place.
        Some(RequestEvent::Data(_) | RequestEvent::Trailers(_) | RequestEvent::TrailersTooLarge) | None => {
            Err(NoHead::Refused(Refusal(StatusCode::BAD_REQUEST, "the request has no head")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::{http::proxy, http3};

    /// Octets of the futures of a request, each within the one before. They are moved when they are made, and nearly
    /// all of each at every level: together they were 77,000 once, with 15,440 for the first, and a fifteenth of a small
    /// request's time. What is rare has a box of its own, and what is large is borrowed.
    #[test]
    fn sizes() {
        for (what, size, most) in [
            ("an exchange", size(Exchange::serve), 3_050),
            ("the handler", size(|(asked, request, checked)| handler::handle(asked, request, checked)), 1_750),
            ("the proxy", size(|(set, request, asked, entry)| proxy::forward(set, request, asked, entry)), 1_700),
            ("a response that is sent", size(|(writer, response)| ResponseWriter::send(writer, response)), 550),
            // For as long as its client is there, whether or not that asks.
            ("a connection", size(|(site, arrival, client)| http3::serve(site, arrival, client)), 1_400),
            ("a request", size_of::<Request<RequestBody>>(), 240),
            ("a response", size_of::<Response<ResponseBody>>(), 290),
        ] {
            assert!(size <= most, "{what} has {size} octets, and {most} at most");
        }
    }

    fn size<A, F: Future>(_future: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }
}
