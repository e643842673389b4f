//! One HTTP/3 connection: its requests are accepted here and each is served in a task of its own,
//! so that none holds up another. What goes wrong with a request never ends the connection.

use std::{
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h3::{
    error::Code,
    quic::{RecvStream as _, SendStream as _},
    server::{self, RequestResolver},
};
use tokio::time;
use tracing::debug;

use super::{
    Arrival, Draining, Site,
    answer::{self, Asked},
    body::RequestBody,
    client::Client,
    early_data::Handshake,
    interim::Interim,
    reply::{Reply, ReplyError},
    request,
    transport::{Accepted, Connection},
};
use crate::address::path::Path;

/// How long a client that was told to go elsewhere may be silent before its connection is closed.
const LINGER: Duration = Duration::from_secs(3);

/// How long what crosses the last GOAWAY may be on its way.
const CROSSING: Duration = Duration::from_secs(1);

/// Serves requests until the connection ends, or is drained and its last response acknowledged.
pub(super) async fn serve(site: Arc<Site>, arrival: Arrival, client: Client) {
    let Arrival { connection, address, handshake, draining, .. } = arrival;
    let path = Path::new(connection.clone(), address);
    let peer = client.address;
    let field_section_max = site.now.load().limits.max_header_bytes;
    // GREASE is off: a stream and a frame more per connection, for nothing that we would learn.
    let h3 = server::builder()
        .max_field_section_size(field_section_max.into())
        .send_grease(false)
        .build(Connection::new(connection.clone()))
        .await;
    match h3 {
        Ok(h3) => {
            let alive = Arc::new(());
            let session = Session { h3, site, connection, path, client, handshake, alive, served_any: false };
            session.serve(draining).await;
        }
        Err(error) => debug!(%peer, %error, "HTTP/3 did not begin"),
    }
}

/// A connection and what its requests share.
struct Session {
    h3: server::Connection<Connection, Bytes>,
    site: Arc<Site>,
    connection: quinn::Connection,
    path: Path,
    client: Client,
    handshake: Handshake,
    /// Each request holds a clone until its response is acknowledged or given up.
    alive: Arc<()>,
    served_any: bool,
}

impl Session {
    async fn serve(mut self, mut draining: Draining) {
        loop {
            tokio::select! {
                biased;
                () = draining.begun() => return self.drain().await,
                accepted = self.h3.accept() => match accepted {
                    Ok(Some(resolver)) => self.start(resolver),
                    Ok(None) => return self.finish().await,
                    Err(error) => return debug!(%error, "HTTP/3 connection ended"),
                },
            }
        }
    }

    fn start(&mut self, resolver: RequestResolver<Connection, Bytes>) {
        // The field is h3's only way to the transport; it was set when h3 took the stream.
        let Some(accepted) = self.h3.inner.conn.latest() else { return };
        self.served_any = true;
        let site = self.site.clone();
        // It may have moved since the last request.
        let client = Client { address: self.path.address(), ..self.client.clone() };
        let stream = Stream { resolver, accepted, client, handshake: self.handshake.clone() };
        let alive = self.alive.clone();
        // In a box before it is spawned: it is some kilobytes, and a spawn moves it several times.
        let served = Box::pin(async move { serve_request(&site, stream).await });
        tokio::spawn(async move {
            served.await;
            drop(alive);
        });
    }

    /// RFC 9114 section 5.2. A GOAWAY that names no request asks the client to go elsewhere. What
    /// it asks here all the same is served: clients differ in how well they listen. When it has
    /// been silent for a while, a GOAWAY names the first request that will not be served; one
    /// that crosses it is rejected, so that the client knows that it may send it again elsewhere.
    async fn drain(mut self) {
        let mut silent = pin!(silence(self.connection.clone(), Arc::downgrade(&self.alive)));
        let mut told = false;
        loop {
            // Not before the first request: h3 would then name that one.
            if self.served_any && !told {
                told = true;
                if self.h3.shutdown(usize::MAX).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                biased;
                () = &mut silent => break,
                accepted = self.h3.accept() => match accepted {
                    Ok(Some(resolver)) => self.start(resolver),
                    Ok(None) => return self.finish().await,
                    Err(_lost) => return,
                },
            }
        }
        // Counts from the last accepted request: 1 is the one after it.
        if self.h3.shutdown(1).await.is_err() {
            return;
        }
        let mut crossed = pin!(time::sleep(CROSSING));
        loop {
            tokio::select! {
                // Dropping `h3` closes the connection with H3_NO_ERROR.
                () = &mut crossed => return,
                accepted = self.h3.accept() => match accepted {
                    Ok(Some(resolver)) => reject(resolver),
                    Ok(None) => return crossed.await,
                    Err(_lost) => return,
                },
            }
        }
    }

    /// The client begins nothing more: what it has begun is finished.
    async fn finish(self) {
        tokio::select! {
            () = silence(self.connection.clone(), Arc::downgrade(&self.alive)) => {}
            _ = self.connection.closed() => {}
        }
    }
}

/// Waits until no request is in flight and nothing of one came for [`LINGER`].
///
/// A client that is told to go elsewhere closes the connection when it has done with the last
/// response; what it has received and acknowledged but not yet read would be lost to it if we
/// closed. While it reads, it raises its flow control's limits. That it sends PINGs says nothing.
async fn silence(connection: quinn::Connection, alive: Weak<()>) {
    let heard = || {
        let frames = connection.stats().frame_rx;
        [frames.stream, frames.max_data, frames.max_stream_data, frames.stop_sending, frames.reset_stream]
    };
    // One is the session's own.
    let in_flight = || alive.strong_count() > 1;
    let mut before = heard();
    loop {
        time::sleep(LINGER).await;
        let now = heard();
        if now == before && !in_flight() {
            return;
        }
        before = now;
    }
}

/// RFC 9114 section 4.1.1: nothing was done for this request.
fn reject(mut resolver: RequestResolver<Connection, Bytes>) {
    let code = Code::H3_REQUEST_REJECTED.value();
    resolver.frame_stream.stream.stop_sending(code);
    resolver.frame_stream.reset(code);
}

/// A request stream that was just accepted.
struct Stream {
    resolver: RequestResolver<Connection, Bytes>,
    accepted: Accepted,
    client: Client,
    handshake: Handshake,
}

/// Returns when the client has the whole response, or will not get one.
async fn serve_request(site: &Site, stream: Stream) {
    let Stream { resolver, accepted, client, handshake } = stream;
    let Accepted { allowance, mut stopped, early } = accepted;
    let peer = client.address;
    // One request is served by one configuration, from its head to its end.
    let serving = site.now.load_full();
    let (mut request, stream) =
        match time::timeout(serving.limits.request_timeout, request::resolve(resolver, &allowance)).await {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(error)) => return debug!(%peer, %error, "no request"),
            Err(_elapsed) => return debug!(%peer, "the request's head did not come in time"),
        };
    let (send, recv) = stream.split();
    let breaks_off_with = AtomicU64::new(Code::H3_INTERNAL_ERROR.value());
    let mut reply = Reply::new(send, &breaks_off_with);
    let interim = Interim::default();
    let early = early.then_some(handshake);
    let asked = Asked { client, interim: Some(interim.clone()), early };
    let mut served = pin!(async {
        let checked = request::check(&mut request, serving.limits.max_headers.into());
        let content_length = checked.as_ref().ok().and_then(|facts| facts.content_length);
        let request = request.map(|()| RequestBody::new(recv, allowance, content_length));
        let mut answered = pin!(answer::answer(site, &serving, request, checked, asked));
        let answered = loop {
            tokio::select! {
                biased;
                responses = interim.next() => for response in responses {
                    reply.interim(response).await?;
                },
                answered = &mut answered => break answered,
            }
        };
        match answered {
            Ok(response) => reply.send(response).await?,
            Err(unanswered) => {
                debug!(%peer, %unanswered, "a request broke off");
                reply.abort(unanswered.code);
            }
        }
        Ok::<_, ReplyError>(())
    });
    let outcome = tokio::select! {
        // First: who is stopped also fails to send, and would not say why.
        biased;
        reason = &mut stopped => match reason {
            // It has the response; what is left to do is on our side.
            Ok(None) => return drop(served.await),
            // Dropping what serves the request cancels it upstream, and breaks the response off with the
            // client's own code (RFC 9000 section 3.5).
            Ok(Some(code)) => {
                breaks_off_with.store(code.into_inner(), Relaxed);
                return debug!(%peer, %code, "request cancelled");
            }
            Err(_gone) => return,
        },
        outcome = &mut served => outcome,
    };
    match outcome {
        Ok(()) => drop(stopped.await),
        Err(error) => debug!(%peer, %error, "request not served"),
    }
}
