//! Clients that keep what they asked for waiting: they take nothing, or send next to nothing.
//!
//! GHSA-7ghq-v6jf-g56c, envoy#3841: 32 responses that no client read held all places on a server for ever.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use h3::error::{Code, StreamError};
use http::Request;
use quinn::ReadError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    lab::{Lab, listener, pattern, proxy_to, raw_to, read, request, until},
    tcp::Tcp,
};
use crate::edge::STREAM_CANCELLED;

const LIMITS: &str = "[limits]\nsend_timeout = \"500ms\"\nbody_timeout = \"500ms\"\n";
const TIMEOUT: Duration = Duration::from_millis(500);

/// Long enough for whatever is expected to come.
const LONG: Duration = Duration::from_secs(20);

/// A server whose responses have no end; says of each when it was broken off.
async fn endless(head: &'static [u8]) -> (SocketAddr, mpsc::UnboundedReceiver<Instant>) {
    let (listener, address) = listener().await;
    let (broke, broken) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let broke = broke.clone();
            tokio::spawn(async move {
                stream.read_u8().await.unwrap();
                stream.write_all(head).await.unwrap();
                while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
                broke.send(Instant::now()).unwrap();
            });
        }
    });
    (address, broken)
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";

/// After which the server had its place back.
async fn given_back(broken: &mut mpsc::UnboundedReceiver<Instant>, since: Instant) -> Duration {
    timeout(LONG, broken.recv()).await.expect("the place is given back").unwrap() - since
}

#[tokio::test]
async fn a_response_that_is_not_taken_is_reset_over_http3() {
    let (server, mut broken) = endless(HEAD).await;
    let mut client = Lab::new(&format!("{LIMITS}{}", proxy_to(server))).http3().await;
    let begun = Instant::now();
    let mut stream = client.requests.send_request(request("GET", "/")).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    let taken = given_back(&mut broken, begun).await;
    assert!(taken >= TIMEOUT && taken < 10 * TIMEOUT, "{taken:?}");
    match read(&mut stream).await {
        Err(StreamError::RemoteTerminate { code: Code::H3_REQUEST_CANCELLED, .. }) => {}
        other => panic!("{:?}", other.map(|body| body.len())),
    }
    assert!(client.quic.close_reason().is_none(), "the connection goes on");
}

/// Without a window nothing of the body can be sent at all.
async fn http2_without_windows(lab: &Tcp) -> h2::client::SendRequest<Bytes> {
    let stream = lab.connect("h2").await;
    let mut builder = h2::client::Builder::new();
    let (requests, connection) = builder.initial_window_size(0).handshake(stream).await.unwrap();
    tokio::spawn(connection);
    requests.ready().await.unwrap()
}

fn get() -> Request<()> {
    Request::get("https://localhost/").body(()).unwrap()
}

#[tokio::test]
async fn a_response_that_is_not_taken_is_reset_over_http2() {
    let (server, mut broken) = endless(HEAD).await;
    let lab = Tcp::new(&format!("{LIMITS}{}", proxy_to(server))).await;
    let mut client = http2_without_windows(&lab).await;
    for _ in 0..2 {
        let begun = Instant::now();
        let (response, _) = client.send_request(get(), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let taken = given_back(&mut broken, begun).await;
        assert!(taken >= TIMEOUT && taken < 10 * TIMEOUT, "{taken:?}");
        let error = body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL), "{error}");
    }
}

#[tokio::test]
async fn a_response_that_is_not_taken_ends_its_connection_over_http1() {
    let (server, mut broken) = endless(HEAD).await;
    let lab = Tcp::new(&format!("{LIMITS}{}", proxy_to(server))).await;
    let begun = Instant::now();
    let mut client = lab.connect("http/1.1").await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let taken = given_back(&mut broken, begun).await;
    assert!(taken >= TIMEOUT && taken < 10 * TIMEOUT, "{taken:?}");
}

#[tokio::test]
async fn a_raw_stream_that_is_not_taken_is_reset() {
    let (server, mut broken) = endless(b"").await;
    let client = Lab::new(&format!("{LIMITS}{}", raw_to(server))).connect("echo").await;
    let begun = Instant::now();
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let taken = given_back(&mut broken, begun).await;
    assert!(taken >= TIMEOUT && taken < 10 * TIMEOUT, "{taken:?}");
    let error = loop {
        match recv.read_chunk(usize::MAX, true).await {
            Ok(chunk) => drop(chunk.unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(error, ReadError::Reset(STREAM_CANCELLED.into()));
    assert!(client.close_reason().is_none(), "the connection goes on");
}

/// A body in small pieces uses up more time than it gives back; nothing of it speaks against the server.
#[tokio::test]
async fn a_body_in_driblets_is_answered() {
    let (listener, server) = listener().await;
    tokio::spawn(async move {
        let mut all = Vec::new();
        loop {
            all.push(listener.accept().await.unwrap());
        }
    });
    let config = format!("{LIMITS}{}ejection = {{ failures = 1 }}\n", proxy_to(server));
    let lab = Tcp::new(&config).await;
    for _ in 0..2 {
        let (mut reads, mut writes) = tokio::io::split(lab.connect("http/1.1").await);
        let driblets = async {
            let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
            writes.write_all(head).await.unwrap();
            while writes.write_all(b"x").await.is_ok() && writes.flush().await.is_ok() {
                sleep(TIMEOUT / 10).await;
            }
            std::future::pending().await
        };
        let mut answer = [0; 12];
        tokio::select! {
            () = driblets => {}
            read = timeout(LONG, reads.read_exact(&mut answer)) => drop(read.expect("an answer").unwrap()),
        }
        assert_eq!(&answer, b"HTTP/1.1 408");
    }
    let mut client = Lab::new(&config).http3().await;
    let mut stream = client.requests.send_request(request("POST", "/")).await.unwrap();
    stream.send_data(Bytes::from_static(b"x")).await.unwrap();
    let response = timeout(LONG, stream.recv_response()).await.expect("an answer").unwrap();
    assert_eq!(response.status(), 408);
}

/// Once the response has begun, a request may pause: two-way streams do.
#[tokio::test]
async fn a_body_may_pause_behind_the_response_s_head() {
    let (listener, server) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
        let mut received = Vec::new();
        while !received.ends_with(b"0\r\n\r\n") {
            received.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"3\r\nbye\r\n0\r\n\r\n").await.unwrap();
    });
    let mut client = Lab::new(&format!("{LIMITS}{}", proxy_to(server))).http3().await;
    let mut stream = client.requests.send_request(request("POST", "/")).await.unwrap();
    stream.send_data(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    sleep(3 * TIMEOUT).await;
    stream.send_data(Bytes::from_static(b"y")).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap(), b"hibye");
}

/// A short response is read whole: its server is free before the client has any of it.
#[tokio::test]
async fn a_short_response_holds_no_place() {
    for head in ["Content-Length: 40000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n9c40\r\n"] {
        let (listener, server) = listener().await;
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                        let end = if head.starts_with('T') { "\r\n0\r\n\r\n" } else { "" };
                        let answer = format!("HTTP/1.1 200 OK\r\n{head}{}{end}", "x".repeat(40_000));
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let config = format!("{}max_connections = 1\nqueue = 0\n", proxy_to(server));
        let lab = Tcp::new(&config).await;
        let mut unread = Vec::new();
        let mut client = http2_without_windows(&lab).await;
        for _ in 0..3 {
            let response = client.send_request(get(), true).unwrap().0.await.unwrap();
            assert_eq!(response.status(), 200, "{head:?}");
            unread.push(response);
        }
    }
}

/// curl#17057: the connection was lost under a response that took longer than its idle timeout.
#[tokio::test]
async fn a_connection_outlives_an_answer_that_takes_long() {
    const IDLE: Duration = Duration::from_millis(600);
    let (listener, server) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        sleep(4 * IDLE).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").await.unwrap();
    });
    let lab = Lab::new(&format!("[limits]\nidle_timeout = \"600ms\"\n{}", proxy_to(server)));
    let mut transport = quinn::TransportConfig::default();
    transport.max_idle_timeout(Some(IDLE.try_into().unwrap()));
    let mut client = lab.http3_with(transport).await;
    let (response, body) = client.get("/").await;
    assert_eq!((response.status().as_u16(), &body[..]), (200, &b"late"[..]));
    // Without a request it ends.
    let closed = timeout(LONG, client.quic.closed()).await.expect("it is not kept for ever");
    assert!(matches!(closed, quinn::ConnectionError::TimedOut), "{closed}");
}

/// 2,560 unread GETs of a file of a megabyte took 400 MiB.
#[tokio::test]
async fn what_requests_hold_has_a_bound() {
    let folder = std::env::temp_dir().join(format!("quic-router-held-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("file"), pattern(3_000_000)).unwrap();
    let files = format!("[[route]]\nupstream = \"u\"\n[upstream.u]\nservers = [\"files:{}\"]\n", folder.display());
    let lab = Lab::new(&format!("[limits]\nmemory = \"16 MiB\"\n{files}"));
    let memory = lab.edge.0.now.load().memory.clone();
    let mut client = lab.http3().await;
    let (mut served, mut refused, mut unread) = (0, 0, Vec::new());
    for _ in 0..90 {
        let mut stream = client.requests.send_request(request("GET", "/file")).await.unwrap();
        stream.finish().await.unwrap();
        match stream.recv_response().await {
            Ok(response) if response.status() == 200 => {
                served += 1;
                unread.push(stream);
            }
            Ok(response) => {
                assert_eq!(response.status(), 503);
                refused += 1;
            }
            Err(StreamError::RemoteTerminate { code: Code::H3_REQUEST_REJECTED, .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(memory.held() <= 16 << 20, "{}", memory.held());
    }
    // 256 KiB each, and 16 KiB for the request.
    assert_eq!((served, refused, memory.refused()), (60, 30, 30));
    drop(unread);
    client.quic.close(0u32.into(), b"");
    // All of it is given back.
    until(|| memory.held() == 0).await;
    let (response, body) = lab.http3().await.get("/file").await;
    assert_eq!((response.status().as_u16(), body.len()), (200, 3_000_000));
    std::fs::remove_dir_all(&folder).unwrap();
}
