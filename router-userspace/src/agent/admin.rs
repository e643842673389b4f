//! The admin listener: plain HTTP for Prometheus (`/metrics`) and for load balancers (`/healthz`).
//!
//! It is bound early, so that a port that cannot be had is an error of the start or the reload, and
//! listened on only when this generation is in charge: with SO_REUSEPORT the next generation binds
//! the same address, and a client gets an answer at every moment of a takeover.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, Socket};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
};

use super::{
    error::{ErrorKind, RoomError},
    turns,
};
use crate::{
    telemetry::shortage,
    worker::tcp::{self, PortUse},
};

/// What the admin listener tells.
pub(super) trait HealthSource {
    /// All metrics, in OpenMetrics' text format.
    ///
    /// # Errors
    /// If there are none.
    async fn metrics(&self) -> Result<String, NoMetrics>;

    /// Whether new clients are served here.
    fn readiness(&self) -> Readiness;
}

/// Whether new clients are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// They are.
    Serves,
    /// It stops, or another generation serves.
    Draining,
    /// They are better off elsewhere: what this node knows of its cluster may be out of date.
    Unconfirmed,
    /// This node's number is no longer its own: an operator has forgotten it.
    Forgotten,
}

/// Why there are no metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMetrics {
    /// The agent is about to end.
    Ending,
    Unwritable,
}

/// A bound address, not yet listened on.
#[derive(Debug)]
pub(super) struct Bound {
    address: SocketAddr,
    socket: Socket,
}

/// The listener. Dropping it closes it, and connections that wait for nothing.
#[derive(Debug)]
pub(super) struct Admin {
    address: SocketAddr,
    /// Dropped to close.
    _open: watch::Sender<()>,
}

impl Bound {
    /// Binds `address`, alone or beside another generation that listens there.
    ///
    /// # Errors
    /// If it cannot be had; names it, and who to ask.
    pub(super) fn new(address: SocketAddr, port_use: PortUse) -> Result<Self, AdminError> {
        // Sharing is for generations of one node: another node of the same user would be let in.
        let alone = match port_use {
            PortUse::Alone => tcp::bind(address, PortUse::Alone).map(drop),
            PortUse::Shared => Ok(()),
        };
        let socket = alone
            .and_then(|()| tcp::bind(address, PortUse::Shared))
            .map_err(|source| AdminError::of(address, source))?;
        Ok(Self { address, socket })
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what `source` says from now on, for as long as the result lives.
    ///
    /// # Errors
    /// If another process has taken the address meanwhile.
    pub(super) fn answer<T: HealthSource + 'static>(self, source: &Rc<T>) -> Result<Admin, AdminError> {
        let address = self.address;
        let listen = || {
            self.socket.listen(BACKLOG)?;
            TcpListener::from_std(StdListener::from(self.socket))
        };
        let listener = listen().map_err(|source| AdminError::of(address, source))?;
        let (open, closed) = watch::channel(());
        turns::spawn("admin listener", accept(listener, Rc::clone(source), closed));
        Ok(Admin { address, _open: open })
    }
}

impl Admin {
    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Why nothing is answered on the admin address.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    /// Another process has it.
    #[error("admin.address {address}: {source}")]
    InUse {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses a socket there.
    #[error("admin.address {address}: {source}")]
    System {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl AdminError {
    fn of(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, source },
            _ => Self::System { address, source },
        }
    }
}

impl RoomError for AdminError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Kernel
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { address, .. } => Some(format!("`ss -ltnp sport = :{}` names the process", address.port())),
            Self::System { .. } => None,
        }
    }
}

async fn accept<T: HealthSource + 'static>(listener: TcpListener, source: Rc<T>, mut closed: watch::Receiver<()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let take = |stream: TcpStream, closed: &watch::Receiver<()>| {
        // Beyond the limit a connection is closed at once: scrapers are few.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
        let (source, closed) = (Rc::clone(&source), closed.clone());
        turns::spawn("request on the admin listener", async move {
            converse(stream, source, closed).await;
            drop(place);
        });
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => take(stream, &closed),
                Err(error) => shortage::after_accept("admin listener", &error).await,
            },
            // Fails when it is closed; nothing is ever sent.
            _ = closed.changed() => break,
        }
    }
    // Those that the kernel has already taken in would be reset.
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, _)) = listener.accept() {
        let ready = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        ready.into_iter().for_each(|stream| take(stream, &closed));
    }
}

async fn converse<T: HealthSource + 'static>(stream: TcpStream, source: Rc<T>, mut closed: watch::Receiver<()>) {
    // A client that takes no answer does not keep its place.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(READ_TIMEOUT));
    let asked = Notify::new();
    let service = service_fn(|request| {
        asked.notify_one();
        let source = Rc::clone(&source);
        async move { Ok::<_, std::convert::Infallible>(answer(&request, &*source).await) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut conversation = pin!(conversation);
    let ended = tokio::select! {
        ended = &mut conversation => ended,
        // A scraper that keeps its connection would go on asking a generation that has retired; but
        // who has not asked anything yet is about to.
        _ = closed.changed() => tokio::select! {
            ended = &mut conversation => ended,
            () = asked.notified() => {
                conversation.as_mut().graceful_shutdown();
                conversation.await
            }
        }
    };
    if let Err(e) = ended {
        tracing::debug!("admin listener: {e}");
    }
}

async fn answer<T: HealthSource>(request: &Request<Incoming>, source: &T) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, METRICS | HEALTH) {
        return plain(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let draining = || plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    if path == HEALTH {
        return match source.readiness() {
            Readiness::Serves => plain(StatusCode::OK, "ok\n"),
            Readiness::Draining => draining(),
            Readiness::Unconfirmed => plain(StatusCode::SERVICE_UNAVAILABLE, "unconfirmed\n"),
            Readiness::Forgotten => plain(StatusCode::SERVICE_UNAVAILABLE, "forgotten\n"),
        };
    }
    match source.metrics().await {
        Ok(text) => with_type(StatusCode::OK, text.into(), OPEN_METRICS),
        Err(NoMetrics::Unwritable) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
        Err(NoMetrics::Ending) => draining(),
    }
}

fn plain(status: StatusCode, sentence: &'static str) -> Response<Full<Bytes>> {
    with_type(status, Bytes::from_static(sentence.as_bytes()), "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, body: Bytes, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const METRICS: &str = "/metrics";
const HEALTH: &str = "/healthz";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const BACKLOG: i32 = 128;
const CONNECTIONS_MAX: usize = 64;
/// For a request's head, from one request to the next, and for an answer to be taken.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::Future};

    use tokio::{
        io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
        task::LocalSet,
        time::timeout,
    };

    use super::*;

    struct Fake {
        readiness: Cell<Readiness>,
        is_ending: Cell<bool>,
        name: &'static str,
    }

    impl Fake {
        fn new(name: &'static str) -> Rc<Self> {
            Rc::new(Self { readiness: Cell::new(Readiness::Serves), is_ending: Cell::new(false), name })
        }
    }

    impl HealthSource for Fake {
        async fn metrics(&self) -> Result<String, NoMetrics> {
            match self.is_ending.get() {
                true => Err(NoMetrics::Ending),
                false => Ok(format!("{}\n# EOF\n", self.name)),
            }
        }

        fn readiness(&self) -> Readiness {
            self.readiness.get()
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let in_time = async { timeout(Duration::from_secs(20), test).await.expect("in time") };
        LocalSet::new().block_on(&runtime, in_time);
    }

    /// A port that is free now.
    fn bound() -> Bound {
        let free = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Bound::new(free, PortUse::Alone).unwrap()
    }

    /// A client that keeps its connection.
    struct Client(BufReader<TcpStream>);

    impl Client {
        async fn new(address: SocketAddr) -> Self {
            Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
        }

        /// Status line, content type and body.
        async fn ask(&mut self, line: &str) -> (String, String, String) {
            self.0.get_mut().write_all(format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
            let mut head = Vec::new();
            while !head.last().is_some_and(String::is_empty) {
                let mut field = String::new();
                self.0.read_line(&mut field).await.unwrap();
                head.push(field.trim_end().to_owned());
            }
            let field = |name: &str| {
                head.iter().find_map(|field| field.strip_prefix(name)).unwrap_or_default().trim().to_owned()
            };
            let length: usize = field("content-length:").parse().unwrap();
            let mut body = vec![0; if line.starts_with("HEAD") { 0 } else { length }];
            self.0.read_exact(&mut body).await.unwrap();
            (head[0].clone(), field("content-type:"), String::from_utf8(body).unwrap())
        }

        async fn is_closed(&mut self) -> bool {
            matches!(self.0.read_u8().await, Err(e) if e.kind() == io::ErrorKind::UnexpectedEof)
        }
    }

    async fn ask(address: SocketAddr, line: &str) -> (String, String, String) {
        Client::new(address).await.ask(line).await
    }

    #[test]
    fn what_is_asked_is_answered() {
        run(async {
            let node = Fake::new("one");
            let admin = bound().answer(&node).unwrap();
            let mut client = Client::new(admin.address()).await;
            let text = "text/plain; charset=utf-8";
            for (line, status, content_type, body) in [
                ("GET /metrics", "200 OK", OPEN_METRICS, "one\n# EOF\n"),
                ("GET /metrics?a=b", "200 OK", OPEN_METRICS, "one\n# EOF\n"),
                ("HEAD /metrics", "200 OK", OPEN_METRICS, ""),
                ("GET /healthz", "200 OK", text, "ok\n"),
                ("POST /metrics", "405 Method Not Allowed", text, "GET or HEAD\n"),
                ("GET /", "404 Not Found", text, "there are /metrics and /healthz\n"),
                ("POST /metrics/", "404 Not Found", text, "there are /metrics and /healthz\n"),
            ] {
                let expected = (format!("HTTP/1.1 {status}"), content_type.to_owned(), body.to_owned());
                assert_eq!(client.ask(line).await, expected, "{line}");
            }
            let refused =
                |word: &str| ("HTTP/1.1 503 Service Unavailable".to_owned(), text.to_owned(), word.to_owned());
            for (readiness, word) in [
                (Readiness::Unconfirmed, "unconfirmed\n"),
                (Readiness::Forgotten, "forgotten\n"),
                (Readiness::Draining, "draining\n"),
            ] {
                node.readiness.set(readiness);
                assert_eq!(client.ask("GET /healthz").await, refused(word));
            }
            assert_eq!(client.ask("GET /metrics").await.2, "one\n# EOF\n");
            node.is_ending.set(true);
            assert_eq!(client.ask("GET /metrics").await, refused("draining\n"));
        });
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        run(async {
            let taken = StdListener::bind("127.0.0.1:0").unwrap();
            let address = taken.local_addr().unwrap();
            for port_use in [PortUse::Alone, PortUse::Shared] {
                let error = Bound::new(address, port_use).unwrap_err();
                assert_eq!(error.to_string(), format!("admin.address {address}: Address already in use (os error 98)"));
                let hint = format!("`ss -ltnp sport = :{}` names the process", address.port());
                assert_eq!((error.hint(), error.kind()), (Some(hint), ErrorKind::Kernel));
            }
            // Nor is another node let in that would let us in.
            let admin = bound().answer(&Fake::new("another node")).unwrap();
            assert!(Bound::new(admin.address(), PortUse::Alone).is_err());
        });
    }

    #[test]
    fn one_generation_follows_another_on_the_same_address() {
        run(async {
            let (old, new) = (Fake::new("old"), Fake::new("new"));
            let admin = bound().answer(&old).unwrap();
            let address = admin.address();
            let next = Bound::new(address, PortUse::Shared).unwrap();
            // No client is sent to the one that only gets ready.
            for _ in 0..32 {
                assert_eq!(ask(address, "GET /metrics").await.2, "old\n# EOF\n");
            }
            let mut kept = Client::new(address).await;
            assert_eq!(kept.ask("GET /metrics").await.2, "old\n# EOF\n");
            let _next = next.answer(&new).unwrap();
            drop(admin);
            assert!(kept.is_closed().await);
            for _ in 0..32 {
                assert_eq!(ask(address, "GET /metrics").await.2, "new\n# EOF\n");
            }
        });
    }

    /// Only the kernel has accepted it: it is answered all the same.
    #[test]
    fn who_is_connected_when_it_closes_is_answered() {
        run(async {
            let node = Fake::new("one");
            let admin = bound().answer(&node).unwrap();
            let early = std::net::TcpStream::connect(admin.address()).unwrap();
            drop(admin);
            early.set_nonblocking(true).unwrap();
            let mut early = Client(BufReader::new(TcpStream::from_std(early).unwrap()));
            assert_eq!(early.ask("GET /metrics").await.2, "one\n# EOF\n");
            assert!(early.is_closed().await);
        });
    }
}
