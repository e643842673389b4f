//! What the tests stand on: servers that count what they see, and bodies made by hand. Everything
//! ends with the test's runtime.

use std::{
    convert::Infallible,
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

pub(super) use crate::edge::tests::lab::until;
use crate::{
    address::Validated,
    config::{self, Authority, Balance, Config, HostField, ServerAddress, Servers, Timeouts, UpstreamTls},
    edge::upstream::*,
};

pub(super) const CLIENT: Validated =
    Validated::assume(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 50_000));

/// Long enough for whatever is expected to come.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// A request's body, made by hand.
pub(super) struct Made {
    pieces: Option<mpsc::UnboundedReceiver<Result<Frame<Bytes>, Cut>>>,
    moved: Arc<AtomicU64>,
}

/// How a body made by hand breaks off.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cut")]
pub(super) struct Cut;

impl Made {
    pub(super) fn nothing() -> Self {
        Self { pieces: None, moved: Arc::default() }
    }

    /// A body, and the way to fill it; it ends when that is dropped.
    pub(super) fn slowly() -> (mpsc::UnboundedSender<Result<Frame<Bytes>, Cut>>, Self) {
        let (fill, pieces) = mpsc::unbounded_channel();
        (fill, Self { pieces: Some(pieces), moved: Arc::default() })
    }

    pub(super) fn of(data: &'static [u8]) -> Self {
        let (fill, body) = Self::slowly();
        fill.send(Ok(Frame::data(Bytes::from_static(data)))).unwrap();
        body
    }
}

impl Body for Made {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        let next = std::task::ready!(pieces.poll_recv(cx));
        self.moved.fetch_add(1, Relaxed);
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_none()
    }
}

impl Forwarded for Made {
    fn again(&self) -> Option<Self> {
        self.is_end_stream().then(Self::nothing)
    }

    fn progress(&self) -> impl Fn() -> u64 + Send + use<> {
        let moved = self.moved.clone();
        move || moved.load(Relaxed)
    }
}

/// Settings of an upstream that nothing is cut short by.
pub(super) fn settings(all: Vec<ServerAddress>) -> Servers {
    Servers {
        all: all.into_iter().map(|address| config::Server { address, weight: 1 }).collect(),
        balance: Balance::RoundRobin,
        health: None,
        ejection: None,
        slow_start: None,
        max_connections: 1000,
        client_share: 1.0,
        queue: 1000,
        timeouts: Timeouts { connect: LONG, response: LONG, idle: LONG, queue: LONG },
        tls: UpstreamTls::default(),
        host: HostField::Client,
        proxy_protocol: false,
    }
}

pub(super) fn config(settings: Servers) -> Config {
    let text = "[router]\nengine = \"userspace\"\n[[listener]]\naddress = \"127.0.0.1:4433\"\n";
    let mut config = Config::parse(text, "test").unwrap();
    config.upstreams.insert("u".into(), config::Upstream::Servers(settings));
    config
}

pub(super) fn upstreams(settings: Servers) -> Arc<Upstreams> {
    Arc::new(Upstreams::new(&config(settings), None).unwrap())
}

/// One worker's way to servers with these settings, and what the node knows of them.
pub(super) fn upstream(settings: Servers) -> (Arc<Upstreams>, Arc<Upstream<Made>>) {
    let upstreams = upstreams(settings);
    let upstream = Clients::new(&upstreams, None).get("u").unwrap();
    (upstreams, upstream)
}

pub(super) fn authority(address: SocketAddr) -> Authority {
    Authority { host: address.ip().to_string(), port: address.port() }
}

pub(super) fn http(address: SocketAddr) -> ServerAddress {
    ServerAddress::Http(authority(address))
}

/// A request as `send` expects it.
pub(super) fn request(method: &str, path: &str, body: Made) -> Request<Made> {
    Request::builder().method(method).uri(path).header("host", "example.com").body(body).unwrap()
}

pub(super) fn get(path: &str) -> Request<Made> {
    request("GET", path, Made::nothing())
}

/// The whole body as text.
pub(super) async fn text(exchanged: Exchanged<Made>) -> String {
    let body = exchanged.response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

impl Upstream<Made> {
    pub(super) async fn fetch(self: &Arc<Self>, request: Request<Made>) -> String {
        let exchanged = self.send(request, CLIENT, None).await;
        text(exchanged.unwrap_or_else(|failed| panic!("{}", failed.failure))).await
    }

    pub(super) async fn fetch_for(self: &Arc<Self>, request: Request<Made>, client: Validated) -> String {
        let exchanged = self.send(request, client, None).await;
        text(exchanged.unwrap_or_else(|failed| panic!("{}", failed.failure))).await
    }

    pub(super) fn idle_connections(&self) -> usize {
        (0..self.set().servers().len()).map(|index| self.pooled(index).pool().idle()).sum()
    }

    pub(super) async fn fail(self: &Arc<Self>, request: Request<Made>) -> Failed<Made> {
        match self.send(request, CLIENT, None).await {
            Ok(exchanged) => panic!("{}", exchanged.response.status()),
            Err(failed) => failed,
        }
    }
}

/// What a server saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    pub(super) requests: AtomicUsize,
}

impl Seen {
    /// Connections and requests.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.connections.load(SeqCst), self.requests.load(SeqCst))
    }
}

pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(super) fn answer(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).boxed())
}

pub(super) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port of loopback on which no socket listens.
pub(super) async fn unused_address() -> SocketAddr {
    listener().await.1
}

/// What a server speaks.
#[derive(Clone, Copy)]
pub(super) enum Speaks {
    Http1,
    /// With so many streams at once on a connection.
    Http2(u32),
}

/// A server that answers by `answer`.
pub(super) async fn server<F, R>(speaks: Speaks, answer: F) -> (SocketAddr, Arc<Seen>)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    let (listener, address) = listener().await;
    let seen = Arc::<Seen>::default();
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, speaks, counted.clone(), answer.clone()));
        }
    });
    (address, seen)
}

/// Serves one connection.
pub(super) async fn serve<F, R>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    speaks: Speaks,
    seen: Arc<Seen>,
    answer: F,
) where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Answer> + Send + 'static,
{
    seen.connections.fetch_add(1, SeqCst);
    let service = service_fn(move |request| {
        seen.requests.fetch_add(1, SeqCst);
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // It breaks whenever the other side is done with it.
    let _ = match speaks {
        Speaks::Http1 => {
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        }
        Speaks::Http2(most) => {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_concurrent_streams(most);
            builder.serve_connection(TokioIo::new(stream), service).await
        }
    };
}

/// Reads up to the end of an HTTP/1.1 request's head.
pub(super) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Answers with two octets and keeps the connection.
pub(super) async fn say_ok(stream: &mut TcpStream) {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
}
