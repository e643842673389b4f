//! One request and its response, in a task of its own. What goes wrong with it ends the connection only where RFC 9114
//! says so.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use http::{Request, StatusCode};
use quinn::VarInt;
use router_http3::{Code, MessageLimits, RequestEvent, RequestHead, Violation};
use tokio::time;
use tracing::debug;

use super::{
    Shared,
    early_data::Handshake,
    request_stream::{ReadFailure, RequestReader},
    response_stream::{ResponseWriter, WriteFailure},
};
use crate::edge::{
    Serving,
    client::Client,
    http::{
        body::RequestBody,
        handler::{self, RequestContext},
        interim::Interim,
        request::{self, Refusal},
        response::Unanswered,
    },
    memory::Held,
    pace::Pace,
};

/// A request stream that was just accepted.
pub(super) struct Exchange {
    pub(super) send: quinn::SendStream,
    pub(super) recv: quinn::RecvStream,
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
    pub(super) async fn serve(self) {
        let Self { send, recv, shared, client, early, held: _held } = self;
        // One request is served by one configuration, from its head to its end.
        let serving = shared.site.now.load_full();
        let reader = RequestReader::new(recv, limits(&serving), Arc::clone(&shared));
        let mut writer = ResponseWriter::new(send, Pace::new(serving.limits.send_timeout, serving.limits.min_rate));
        let peer = client.address;
        let mut stopped = pin!(writer.stopped());
        let outcome = {
            let asked = RequestContext { client, interim: None, early, memory: Arc::clone(&serving.memory) };
            let responder = Responder { shared: &shared, serving: &serving, writer: &mut writer };
            let mut served = pin!(responder.respond(reader, asked));
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
                debug!(%peer, %end, "a request was not served");
                // A client that stops the response gets its own code back (RFC 9000 section 3.5).
                writer.reset(end.code());
                if end.is_the_clients() {
                    shared.request_was_cancelled();
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

fn limits(serving: &Serving) -> MessageLimits {
    MessageLimits {
        max_field_section_size: serving.limits.max_header_bytes.into(),
        max_fields: serving.limits.max_headers.into(),
        max_ignored: IGNORED_MAX,
        extended_connect: false,
    }
}

/// Octets of frames of unknown types that a request may have: for padding and reserved types, and no more.
const IGNORED_MAX: u64 = 64 * 1024;

/// Where a request is answered.
struct Responder<'e> {
    shared: &'e Shared,
    serving: &'e Serving,
    writer: &'e mut ResponseWriter,
}

impl Responder<'_> {
    /// Reads the request and writes the response.
    async fn respond(self, mut reader: RequestReader, asked: RequestContext) -> Result<(), End> {
        let head = match head(&mut reader, self.serving).await {
            Ok(head) => head,
            Err(NoHead::Failed(failure)) => return Err(End::Unread(failure)),
            Err(NoHead::Refused(refusal)) => {
                let response = handler::refuse_unread(self.serving, refusal, &asked);
                // The rest says nothing that would be understood.
                reader.stop(Code::H3_NO_ERROR);
                return self.writer.send(response).await.map_err(End::Unwritten);
            }
        };
        let (fault, priority) = (head.fault, head.priority());
        self.writer.prioritize(priority);
        let mut request = head.into_request().map_err(|violation| malformed(&mut reader, violation))?;
        let checked = request::check(&mut request, &self.serving.limits);
        // What the check knows is answered with a sentence, which RFC 9114 section 4.1.2 allows.
        if let (Ok(()), Some(violation)) = (&checked, fault) {
            return Err(malformed(&mut reader, violation));
        }
        let pace = Pace::new(self.serving.limits.body_timeout, self.serving.limits.min_rate);
        self.answer(request.map(|()| RequestBody::http3(reader).paced(pace)), checked, asked).await
    }

    async fn answer(
        self,
        request: Request<RequestBody>,
        checked: Result<(), Refusal>,
        asked: RequestContext,
    ) -> Result<(), End> {
        let interim = Interim::default();
        let asked = RequestContext { interim: Some(interim.clone()), ..asked };
        let mut answered = pin!(handler::handle(&self.shared.site, self.serving, request, checked, asked));
        let response = loop {
            // Woken for the answer, it may have found what comes before.
            let next = poll_fn(|cx| match answered.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(Some(answered)),
                Poll::Pending if interim.any() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let next = next.await;
            for before in interim.take() {
                self.writer.interim(before).await.map_err(End::Unwritten)?;
            }
            if let Some(answered) = next {
                break answered.map_err(End::Unanswered)?;
            }
        };
        self.writer.send(response).await.map_err(End::Unwritten)
    }
}

fn malformed(reader: &mut RequestReader, violation: Violation) -> End {
    reader.stop(violation.code);
    End::Unread(ReadFailure::Stream(violation))
}

/// The head, if it comes in time.
async fn head(reader: &mut RequestReader, serving: &Serving) -> Result<RequestHead, NoHead> {
    // Most are there when their stream is, and need no timer.
    let event = match poll_fn(|cx| Poll::Ready(reader.poll_next(cx))).await {
        Poll::Ready(event) => event,
        Poll::Pending => match time::timeout(serving.limits.request_timeout, reader.next()).await {
            Ok(event) => event,
            Err(_elapsed) => {
                return Err(NoHead::Refused(Refusal(StatusCode::REQUEST_TIMEOUT, "the request did not come in time")));
            }
        },
    };
    match event.map_err(NoHead::Failed)? {
        Some(RequestEvent::Head(head)) => Ok(*head),
        Some(RequestEvent::HeadTooLarge) => Err(NoHead::Refused(request::TOO_LARGE)),
        // A head comes first, or there is an error in its place.
        Some(RequestEvent::Data(_) | RequestEvent::Trailers(_) | RequestEvent::TrailersTooLarge) | None => {
            Err(NoHead::Refused(Refusal(StatusCode::BAD_REQUEST, "the request has no head")))
        }
    }
}
