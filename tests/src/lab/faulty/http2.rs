//! Scripts over HTTP/2 in clear: the frames are the library's, when they come is the script's.

use std::{
    future::poll_fn,
    net::TcpStream,
    task::{Poll, ready},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::{sync::watch, task::JoinSet};

use super::{Act, Entry, GOOD, GOOD_BODY, Log, POURED, Script, script};

pub(super) fn converse(stream: TcpStream, scripts: &[Script], log: &Log) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (Ok(runtime), Ok(())) = (runtime, stream.set_nonblocking(true)) else { return };
    let scripts = scripts.to_vec();
    let log = log.clone();
    runtime.block_on(async move {
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
        let Ok(mut connection) = server::handshake(stream).await else { return };
        let (close, mut closed) = watch::channel(());
        let (leave, mut leaves) = watch::channel(());
        let mut streams = JoinSet::new();
        for number in 1.. {
            let (request, respond) = tokio::select! {
                biased;
                // At once: nothing more is sent, not even that streams end.
                _ = closed.changed() => break,
                _ = leaves.changed() => {
                    connection.graceful_shutdown();
                    continue;
                }
                accepted = connection.accept() => match accepted {
                    Some(Ok(accepted)) => accepted,
                    _ => break,
                },
            };
            let path = request.uri().path().to_owned();
            let (name, acts) = script(&scripts, &path).unwrap_or((GOOD, WELL));
            let acts: Vec<_> = acts.iter().copied().filter(|act| number > 1 || *act != Act::CloseUnlessFirst).collect();
            let stream = Stream::new(log.begin(name, number), request, respond);
            streams.spawn(stream.play(acts, close.clone(), leave.clone()));
        }
        // Closed without a word. Each stream learns it, and writes it down.
        drop(connection);
        streams.join_all().await;
    });
}

/// One request.
struct Stream {
    entry: Entry,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    /// There once the response has begun.
    response: Option<SendStream<Bytes>>,
    /// For its head.
    fields: Vec<(HeaderName, HeaderValue)>,
}

/// The router has ended the stream, in this way.
struct Over(String);

impl From<h2::Error> for Over {
    fn from(error: h2::Error) -> Self {
        Self(error.reason().filter(|_| error.is_reset()).map_or("closed".into(), |reason| format!("reset {reason:?}")))
    }
}

impl Stream {
    fn new(entry: Entry, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Self {
        Self { entry, body: request.into_body(), respond, response: None, fields: Vec::new() }
    }

    async fn play(mut self, acts: Vec<Act>, close: watch::Sender<()>, leave: watch::Sender<()>) {
        for act in acts {
            if act == Act::GoAway {
                let _ = leave.send(());
                continue;
            }
            if matches!(act, Act::Close | Act::CloseUnlessFirst) {
                let _ = close.send(());
                return;
            }
            if let Err(Over(how)) = self.act(act).await {
                return self.entry.ended(how);
            }
            // A reset takes back what has not left yet: the connection's own task has to come by.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn act(&mut self, act: Act) -> Result<(), Over> {
        match act {
            Act::Head(status, fields) => {
                let mut response = Response::new(());
                *response.status_mut() = status.parse().expect("a status");
                *response.headers_mut() = headers(fields);
                response.headers_mut().extend(self.fields.drain(..));
                self.response = Some(self.respond.send_response(response, false)?);
                Ok(())
            }
            Act::Fields(count, octets) => {
                let value = HeaderValue::try_from("x".repeat(octets)).expect("a value");
                let name = |number| HeaderName::try_from(format!("x-{number}")).expect("a name");
                self.fields = (0..count).map(|number| (name(number), value.clone())).collect();
                Ok(())
            }
            Act::Data(text) => self.send(text.as_bytes()).await,
            Act::End => Ok(self.response().send_data(Bytes::new(), true)?),
            Act::Trailers(fields) => Ok(self.response().send_trailers(headers(fields))?),
            Act::Reset(code) => {
                match &mut self.response {
                    Some(response) => response.send_reset(Reason::from(code)),
                    None => self.respond.send_reset(Reason::from(code)),
                }
                Ok(())
            }
            Act::Take => self.take(usize::MAX).await,
            Act::TakeSome(octets) => self.take(octets).await,
            Act::Pour => loop {
                self.send(POURED).await?;
                self.entry.note(|exchange| exchange.poured += POURED.len());
            },
            Act::Wait => {
                let reason = match &mut self.response {
                    Some(response) => poll_fn(|cx| response.poll_reset(cx)).await?,
                    None => poll_fn(|cx| self.respond.poll_reset(cx)).await?,
                };
                Err(Over(format!("reset {reason:?}")))
            }
            Act::AfterOthers => {
                if self.entry.others_ended().await {
                    return Ok(());
                }
                Err(Over("others go on".into()))
            }
            Act::Say(_) | Act::HalfClose | Act::Close | Act::CloseUnlessFirst | Act::Cut | Act::GoAway => {
                unreachable!("{act:?} is not for a stream of HTTP/2")
            }
        }
    }

    fn response(&mut self) -> &mut SendStream<Bytes> {
        self.response.as_mut().expect("the script begins its response with a head")
    }

    /// Sends as the router makes room.
    async fn send(&mut self, octets: &'static [u8]) -> Result<(), Over> {
        let (response, mut octets) = (self.response(), Bytes::from_static(octets));
        while !octets.is_empty() {
            response.reserve_capacity(octets.len());
            let room = poll_fn(|cx| match response.poll_reset(cx) {
                Poll::Ready(Ok(reason)) => Poll::Ready(Err(Over(format!("reset {reason:?}")))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                Poll::Pending => match ready!(response.poll_capacity(cx)) {
                    Some(room) => Poll::Ready(room.map_err(Over::from)),
                    None => Poll::Ready(Err(Over("closed".into()))),
                },
            });
            let now = octets.split_to(room.await?.min(octets.len()));
            response.send_data(now, false)?;
        }
        Ok(())
    }

    async fn take(&mut self, most: usize) -> Result<(), Over> {
        let mut received = 0;
        while received < most {
            let Some(data) = self.body.data().await else {
                let trailers = self.body.trailers().await?.unwrap_or_default();
                let lines = trailers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")));
                self.entry.note(|exchange| exchange.trailers.extend(lines));
                return Ok(());
            };
            let data = data?;
            received += data.len();
            self.entry.note(|exchange| exchange.received += data.len());
            self.body.flow_control().release_capacity(data.len())?;
        }
        Ok(())
    }
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    fields.iter().map(field).collect()
}

const WELL: &[Act] = &[Act::Head("200", &[("content-length", "4")]), Act::Data(GOOD_BODY), Act::End];
