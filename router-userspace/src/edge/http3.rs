//! One HTTP/3 connection: its requests are accepted here and each is served in a task of its own,
//! so that none holds up another. What goes wrong with a request never ends the connection.

use std::{convert::Infallible, future::Future, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use h3::{
    error::Code,
    quic::{RecvStream as _, SendStream as _},
    server::{self, RequestResolver},
};
use http::{Request, StatusCode};
use tokio::{sync::mpsc, time};
use tracing::debug;

use super::{
    Site,
    body::RequestBody,
    page, proxy,
    reply::{Reply, ReplyError},
    request::{self, Refusal},
    transport::{Accepted, Connection},
};

/// The largest field section we take, octets as RFC 9114 section 4.2.2 counts them.
const FIELD_SECTION_MAX: u64 = 64 * 1024;

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client that was told to go elsewhere may be silent before its connection is closed.
const LINGER: Duration = Duration::from_secs(3);

/// Serves requests until the connection ends, or is drained and its last response acknowledged.
pub(super) async fn serve(site: Arc<Site>, connection: quinn::Connection) {
    let peer = connection.remote_address();
    let mut draining = site.draining.subscribe();
    let (alive, all_served) = mpsc::channel(1);
    // GREASE is off: a stream and a frame more per connection, for nothing that we would learn.
    let h3 = server::builder()
        .max_field_section_size(FIELD_SECTION_MAX)
        .send_grease(false)
        .build(Connection::new(connection.clone()))
        .await;
    let mut session = match h3 {
        Ok(h3) => Session { h3, site, connection, alive, all_served, served_any: false },
        Err(error) => return debug!(%peer, %error, "HTTP/3 did not begin"),
    };
    // Cannot fail while the session holds the site, which holds the sender.
    let signal = async { drop(draining.wait_for(|draining| *draining).await) };
    match session.accept_until(signal).await {
        Ended::Signalled => session.drain().await,
        Ended::ByPeer => session.finish().await,
        Ended::Lost => {}
    }
}

/// A connection and what its requests share.
struct Session {
    h3: server::Connection<Connection, Bytes>,
    site: Arc<Site>,
    connection: quinn::Connection,
    /// Each request holds a clone until its response is acknowledged or given up.
    alive: mpsc::Sender<Infallible>,
    all_served: mpsc::Receiver<Infallible>,
    served_any: bool,
}

/// Why no more requests are accepted.
enum Ended {
    /// What was waited for happened.
    Signalled,
    /// The client said GOAWAY and has its responses.
    ByPeer,
    /// The connection is closed.
    Lost,
}

impl Session {
    async fn accept_until(&mut self, signal: impl Future<Output = ()>) -> Ended {
        let mut signal = pin!(signal);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut signal => return Ended::Signalled,
                accepted = self.h3.accept() => accepted,
            };
            match accepted {
                Ok(Some(resolver)) => self.start(resolver),
                Ok(None) => return Ended::ByPeer,
                Err(error) => {
                    debug!(%error, "HTTP/3 connection ended");
                    return Ended::Lost;
                }
            }
        }
    }

    fn start(&mut self, resolver: RequestResolver<Connection, Bytes>) {
        // The field is h3's only way to the transport; it was set when h3 took the stream.
        let Some(accepted) = self.h3.inner.conn.latest() else { return };
        self.served_any = true;
        let site = self.site.clone();
        let peer = self.connection.remote_address();
        let alive = self.alive.clone();
        tokio::spawn(async move {
            serve_request(&site, resolver, accepted, peer).await;
            drop(alive);
        });
    }

    /// RFC 9114 section 5.2: a GOAWAY that names no request tells the client to go elsewhere, one
    /// a round trip later names the first request that will not be served. What arrives still is
    /// rejected, so the client knows that it may send it again elsewhere.
    async fn drain(mut self) {
        if self.served_any {
            let patience = self.connection.rtt() * 2;
            if self.h3.shutdown(usize::MAX).await.is_err() {
                return;
            }
            match self.accept_until(time::sleep(patience)).await {
                Ended::Signalled => {}
                Ended::ByPeer => return self.finish().await,
                Ended::Lost => return,
            }
        }
        // Counts from the last accepted request: 1 is the one after it.
        if self.h3.shutdown(1).await.is_err() {
            return;
        }
        let Self { mut h3, connection, alive, mut all_served, served_any, .. } = self;
        drop(alive);
        let end = async {
            let _ = all_served.recv().await;
            if served_any {
                quiet(&connection).await;
            }
        };
        let mut end = pin!(end);
        loop {
            tokio::select! {
                biased;
                // Dropping `h3` closes the connection with H3_NO_ERROR.
                () = &mut end => return,
                accepted = h3.accept() => match accepted {
                    Ok(Some(resolver)) => reject(resolver),
                    Ok(None) => return end.await,
                    Err(_lost) => return,
                },
            }
        }
    }

    /// The client begins nothing more: what it has begun is finished.
    async fn finish(self) {
        let Self { h3, connection, alive, mut all_served, .. } = self;
        drop(alive);
        let _ = all_served.recv().await;
        quiet(&connection).await;
        drop(h3);
    }
}

/// Waits until the connection is closed, or nothing came on it for [`LINGER`]. A client that is
/// told to go elsewhere closes it when it has done with the last response; what it has received
/// and acknowledged but not yet read would be lost to it if we did.
async fn quiet(connection: &quinn::Connection) {
    let mut seen = connection.stats().udp_rx.datagrams;
    while time::timeout(LINGER, connection.closed()).await.is_err() {
        let now = connection.stats().udp_rx.datagrams;
        if now == seen {
            return;
        }
        seen = now;
    }
}

/// RFC 9114 section 4.1.1: nothing was done for this request.
fn reject(mut resolver: RequestResolver<Connection, Bytes>) {
    let code = Code::H3_REQUEST_REJECTED.value();
    resolver.frame_stream.stream.stop_sending(code);
    resolver.frame_stream.reset(code);
}

/// Returns when the client has the whole response, or will not get one.
async fn serve_request(
    site: &Site,
    resolver: RequestResolver<Connection, Bytes>,
    accepted: Accepted,
    peer: SocketAddr,
) {
    let Accepted { allowance, mut stopped } = accepted;
    let (request, stream) = match time::timeout(HEAD_TIMEOUT, request::resolve(resolver, &allowance)).await {
        Ok(Ok(resolved)) => resolved,
        Ok(Err(error)) => return debug!(%peer, %error, "no request"),
        Err(_elapsed) => return debug!(%peer, "the request's head did not come in time"),
    };
    let (send, recv) = stream.split();
    let reply = Reply::new(send, request.method(), site.slot.clone());
    let checked = request::check(&request);
    let content_length = checked.as_ref().ok().and_then(|facts| facts.content_length);
    let body = RequestBody::new(recv, allowance, content_length);
    let mut answered = pin!(async {
        match checked {
            Ok(_) => answer(site, request, body, reply, peer).await,
            Err(refusal) => refuse(refusal, body, reply).await,
        }
    });
    let outcome = tokio::select! {
        biased;
        outcome = &mut answered => outcome,
        reason = &mut stopped => match reason {
            // It has the response; what is left to do is on our side.
            Ok(None) => return drop(answered.await),
            // Dropping what serves the request cancels it upstream.
            Ok(Some(code)) => return debug!(%peer, %code, "request cancelled"),
            Err(_gone) => return,
        },
    };
    match outcome {
        Ok(()) => drop(stopped.await),
        Err(error) => debug!(%peer, %error, "request not served"),
    }
}

async fn answer(
    site: &Site,
    request: Request<()>,
    mut body: RequestBody,
    mut reply: Reply,
    peer: SocketAddr,
) -> Result<(), ReplyError> {
    if site.routes.are_page_only() {
        return page::answer(site, &request, &mut body, &mut reply).await;
    }
    let uri = request.uri();
    match site.routes.http(uri.host().unwrap_or_default(), uri.path()) {
        Some(upstream) => proxy::forward(upstream, request.map(|()| body), reply, peer).await,
        None => refuse(Refusal(StatusCode::NOT_FOUND, "no route leads there"), body, reply).await,
    }
}

async fn refuse(Refusal(status, sentence): Refusal, body: RequestBody, mut reply: Reply) -> Result<(), ReplyError> {
    reply.text(status, sentence).await?;
    body.discard().await;
    Ok(())
}
