//! The TCP companion: HTTP/1.1 and HTTP/2 over TLS by the same routes, without which a browser
//! never learns that HTTP/3 is here, and plain HTTP that sends clients there.

mod half;
mod requests;
mod socket;
mod streams;

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::debug;

use self::{half::Half, requests::Requests, socket::Socket, streams::Streams};
pub(super) use self::{requests::Unread, streams::Taking};
use super::{
    Draining, Edge, Site,
    client::Client,
    http::{
        body::RequestBody,
        handler, request,
        request_context::RequestContext,
        response::{self, ResponseBody, Unanswered},
    },
    pace::Pace,
    tls::x509,
};
use crate::{
    address::Validated,
    config::Limits,
    telemetry::{Handshake, Protocol},
};

/// What is spoken on a TCP port.
#[derive(Clone)]
pub enum Speaks {
    /// HTTP over TLS.
    Https {
        /// ALPN `h2` and `http/1.1`.
        tls: Arc<rustls::ServerConfig>,
        /// Where HTTP/3 is (RFC 7838), if clients are told.
        alt_svc: Option<HeaderValue>,
        /// The listener's address.
        listener: SocketAddr,
    },
    /// HTTP in clear, all of it redirected to `https` on this port.
    Redirect {
        /// The port of the listener.
        port: u16,
    },
}

/// ALPN of HTTP/2 (RFC 9113 section 3.1).
const HTTP2: &[u8] = b"h2";

impl Edge {
    /// Serves a TCP connection until it ends, TLS handshake and all. When `draining` begins, its
    /// client is asked to go elsewhere: by GOAWAY, or `Connection: close`.
    pub async fn serve_tcp(&self, stream: TcpStream, speaks: Speaks, peer: Validated, draining: Draining) {
        let limits = self.0.now.load().limits;
        let local = stream.local_addr().ok();
        // Data that a peer does not take for so long, by its silence or by a closed window.
        let patience = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.idle_timeout));
        if let Err(error) = patience.and_then(|()| stream.set_nodelay(true)) {
            return debug!(%peer, %error, "gone before it began");
        }
        let stream = match Socket::new(stream, Pace::new(limits.send_timeout, limits.min_rate)) {
            Ok(stream) => stream,
            Err(error) => return debug!(%peer, %error, "gone before it began"),
        };
        match speaks {
            Speaks::Https { tls, alt_svc, listener } => {
                let handshake = timeout(limits.request_timeout, TlsAcceptor::from(tls).accept(stream)).await;
                let meter = &self.0.meter;
                meter.handshake(match &handshake {
                    Ok(Ok(_)) => Handshake::Complete,
                    Ok(Err(_)) => Handshake::Failed,
                    Err(_elapsed) => Handshake::TimedOut,
                });
                let stream = match handshake {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return debug!(%peer, %error, "no TLS"),
                    Err(_elapsed) => return debug!(%peer, "the TLS handshake took too long"),
                };
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
                let _open = meter.connection(if is_http2 { Protocol::Http2 } else { Protocol::Http11 });
                let session = stream.get_ref().1;
                let shown = session.peer_certificates().and_then(|chain| chain.first());
                let client = Client {
                    local,
                    listener: Some(listener),
                    server_name: session.server_name().map(Arc::from),
                    certificate: shown.and_then(x509::certificate),
                    ..Client::new(peer)
                };
                let served = Served { site: self.0.clone(), client, alt_svc, requests: Arc::default() };
                served.serve(stream, draining).await;
            }
            Speaks::Redirect { port } => redirect(stream, port, limits, draining).await,
        }
        debug!(%peer, "ended");
    }
}

/// A connection whose requests are served.
#[derive(Clone)]
struct Served {
    site: Arc<Site>,
    client: Client,
    alt_svc: Option<HeaderValue>,
    requests: Arc<Requests>,
}

impl Served {
    async fn serve(self, stream: TlsStream<Socket>, draining: Draining) {
        let serving = self.site.now.load_full();
        let limits = serving.limits;
        let requests = self.requests.clone();
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        let service = service_fn(move |request| self.clone().answer(request));
        let leave = leave(draining, limits.idle_timeout, &requests);
        if is_http2 {
            let pace = Pace::new(limits.send_timeout, limits.min_rate);
            let mut http2 = http2::Builder::new(Streams::new(pace));
            http2
                .timer(TokioTimer::new())
                .max_header_list_size(limits.max_header_bytes)
                .max_concurrent_streams(serving.max_streams)
                .keep_alive_interval(limits.idle_timeout)
                .keep_alive_timeout(limits.idle_timeout);
            serve_until(leave, http2.serve_connection(TokioIo::new(stream), service)).await;
        } else {
            let stream = Half::new(stream, Arc::clone(&requests), limits.request_timeout);
            let mut http1 = http1::Builder::new();
            http1
                .timer(TokioTimer::new())
                .header_read_timeout(limits.request_timeout)
                .max_headers(limits.max_headers.into())
                .max_buf_size((limits.max_header_bytes as usize).max(HTTP1_BUFFER_MIN));
            serve_until(leave, http1.serve_connection(TokioIo::new(stream), service)).await;
        }
    }

    /// One request. An error ends the connection (HTTP/1.1) or the stream (HTTP/2).
    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<ResponseBody>, Unanswered> {
        let in_flight = self.requests.begin();
        let serving = self.site.now.load_full();
        let checked = request::check(&mut request, &serving.limits);
        let ends = checked.is_err();
        let held = serving.memory.admit();
        let checked = if held.is_some() { checked } else { Err(request::NO_MEMORY) };
        let asked =
            RequestContext { site: &self.site, serving: &serving, client: &self.client, interim: None, early: None };
        let pace = Pace::new(serving.limits.body_timeout, serving.limits.min_rate);
        let mut request = request.map(|body| RequestBody::incoming(body, || self.requests.unread(), pace));
        let version = request.version();
        let answered = handler::handle(&asked, &mut request, checked).await;
        drop(request);
        let ends = ends || answered.is_err();
        let mut response = match answered {
            // There are no streams to reset: the client is told by what it can still read.
            Err(why) if version < http::Version::HTTP_2 => {
                debug!(%why, "a request broke off");
                response::sentence(StatusCode::BAD_REQUEST, "the body is malformed")
            }
            answered => answered?,
        };
        let headers = response.headers_mut();
        if let Some(alt_svc) = self.alt_svc {
            headers.insert(header::ALT_SVC, alt_svc);
        }
        if ends && version < http::Version::HTTP_2 {
            // What follows a message that is read in two ways is no request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response.map(|body| body.holding(Arc::new((in_flight, held))).taken(Taking::here())))
    }
}

/// What hyper needs at least to read heads into.
const HTTP1_BUFFER_MIN: usize = 8 * 1024;

/// Waits until the connection is to end: it drains, or nothing has been asked for a while. A client
/// that has just come and asked nothing yet is about to: in HTTP/1.1 there is no other way to be asked to go
/// than beside an answer.
async fn leave(mut draining: Draining, idle_timeout: Duration, requests: &Arc<Requests>) {
    let idle = async {
        let mut before = u64::MAX;
        loop {
            let begun = requests.begun();
            if begun == before && !requests.any_in_flight() {
                return;
            }
            before = begun;
            sleep(idle_timeout).await;
        }
    };
    let drained = async {
        draining.begun().await;
        requests.first().await;
    };
    tokio::select! {
        () = drained => {}
        () = idle => {}
    }
}

/// Serves until the connection ends. When `leave` says so, its client is asked to go.
async fn serve_until(leave: impl Future<Output = ()>, connection: impl GracefulConnection<Error = hyper::Error>) {
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = leave => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "TCP connection broke");
    }
}

/// Sends each client to `https` (RFC 9110 section 15.4.9).
async fn redirect(stream: Socket, port: u16, limits: Limits, draining: Draining) {
    let requests = Arc::<Requests>::default();
    let asked = requests.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let in_flight = asked.begin();
        async move {
            let response = to_https(&request, port);
            Ok::<_, Infallible>(response.map(|body| body.holding(Arc::new(in_flight))))
        }
    });
    let mut http1 = http1::Builder::new();
    http1.timer(TokioTimer::new()).header_read_timeout(limits.request_timeout);
    let leave = leave(draining, limits.idle_timeout, &requests);
    let stream = Half::new(stream, Arc::clone(&requests), limits.request_timeout);
    serve_until(leave, http1.serve_connection(TokioIo::new(stream), service)).await;
}

fn to_https<B>(request: &Request<B>, port: u16) -> Response<ResponseBody> {
    let said = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(|authority| authority.as_str()).or(said);
    let host = authority.and_then(|authority| authority.parse::<http::uri::Authority>().ok());
    // `*` is of the server, not of a path.
    let path = Some(request.uri().path()).filter(|path| path.starts_with('/')).unwrap_or("/");
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = host.filter(|host| !host.host().is_empty()).and_then(|host| {
        let to = match port {
            443 => format!("https://{}{path}{query}", host.host()),
            port => format!("https://{}:{port}{path}{query}", host.host()),
        };
        HeaderValue::try_from(to).ok()
    });
    let Some(location) = location else {
        return response::sentence(StatusCode::BAD_REQUEST, "the request names no host");
    };
    let mut response = response::sentence(StatusCode::PERMANENT_REDIRECT, "this is served over https");
    response.headers_mut().insert(header::LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_sent_to_the_listener() {
        for (host, uri, port, expected) in [
            ("a.example", "/x?y=1", 443, Some("https://a.example/x?y=1")),
            ("a.example:80", "/", 443, Some("https://a.example/")),
            ("a.example:8080", "/", 8443, Some("https://a.example:8443/")),
            ("[2001:db8::1]:80", "/", 443, Some("https://[2001:db8::1]/")),
            ("a.example", "*", 443, Some("https://a.example/")),
            ("a.example", "http://b.example:80?y=1", 8443, Some("https://b.example:8443/?y=1")),
            ("", "/", 443, None),
            ("a b", "/", 443, None),
        ] {
            let request = Request::builder().uri(uri).header("host", host).body(()).expect("a request");
            let response = to_https(&request, port);
            let location = response.headers().get(header::LOCATION).map(|to| to.to_str().expect("text"));
            assert_eq!(location, expected, "{host}");
            let status = if expected.is_some() { StatusCode::PERMANENT_REDIRECT } else { StatusCode::BAD_REQUEST };
            assert_eq!(response.status(), status);
        }
    }
}
