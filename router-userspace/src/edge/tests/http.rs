//! Requests through the edge: what arrives upstream, what comes back, and what breaks.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    time::timeout,
};

use super::lab::{Lab, SEND_WINDOW, listener, pattern, proxy_to, read, request, unused_address};

type Body = BoxBody<Bytes, hyper::Error>;

/// `/echo` gives the body back as it comes, anything else what was asked, as text.
async fn serve(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == "/echo" {
        return Ok(Response::new(request.into_body().boxed()));
    }
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    lines.extend(request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
    let length = request.into_body().collect().await.unwrap().to_bytes().len();
    lines.push(format!("{length} octets"));
    let body = Full::from(lines.join("\n")).map_err(|never| match never {}).boxed();
    Ok(Response::builder()
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("alt-svc", "h3=\":1\"")
        .header("x-end", "2")
        .body(body)
        .unwrap())
}

/// A well-behaved server, and how many connections it has taken.
async fn origin() -> (SocketAddr, Arc<AtomicUsize>) {
    let (listener, address) = listener().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Relaxed);
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(serve)));
        }
    });
    (address, connections)
}

/// A server that treats each of its connections by `script`, given with its number.
async fn scripted<F: Future<Output = ()> + Send + 'static>(
    script: impl Fn(usize, TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(number, stream));
        }
    });
    address
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn the_page_names_who_served() {
    let mut client = Lab::new("").http3().await;
    let (response, body) = client.get("/some/path").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-quic-router-slot"], "3");
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("served by: node 1, worker 3\n"), "{body}");
    assert!(body.contains("GET /some/path with 0 bytes"), "{body}");

    // Twice, as what is wrong with one request must not show on the next.
    for _ in 0..2 {
        let (_, body) = client.fetch(request("POST", "/"), &[7; 300_000]).await;
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("POST / with 300000 bytes"), "{body}");
    }

    let (response, body) = client.fetch(request("HEAD", "/some/path"), b"").await;
    assert_ne!(response.headers()["content-length"], "0");
    assert_eq!(body, b"");
}

#[tokio::test]
async fn a_request_reaches_the_server_and_its_answer_the_client() {
    let (origin, connections) = origin().await;
    let mut client = Lab::new(&proxy_to(origin)).http3().await;
    let asked = Request::builder()
        .uri("https://localhost:4433/a?b=c")
        .header("x-forwarded-for", "192.0.2.66")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(())
        .unwrap();
    for _ in 0..3 {
        let (response, body) = client.fetch(asked.clone(), b"").await;
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!((&headers["x-end"], &headers["x-quic-router-slot"]), (&"2".parse().unwrap(), &"3".parse().unwrap()));
        assert!(["x-hop", "connection", "alt-svc"].iter().all(|name| !headers.contains_key(*name)), "{headers:?}");
        let lines: Vec<_> = std::str::from_utf8(&body).unwrap().lines().collect();
        let (trace, mut lines): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line.starts_with("traceparent: 00-"));
        assert_eq!(trace.len(), 1, "a trace begins here");
        lines.sort_unstable();
        let expected = [
            "0 octets",
            "GET /a?b=c",
            "cookie: a=1; b=2",
            "forwarded: for=127.0.0.1;host=\"localhost:4433\";proto=https",
            "host: localhost:4433",
            "via: 3 quic-router",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: localhost:4433",
            "x-forwarded-proto: https",
        ];
        assert_eq!(lines, expected);
    }
    assert_eq!(connections.load(Relaxed), 1, "the connection is used again");

    let (response, body) = client.fetch(request("HEAD", "/"), b"").await;
    assert!(response.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap() > 0);
    assert_eq!(body, b"");
    let (_, body) = client.fetch(request("POST", "/"), b"with a body").await;
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains("transfer-encoding: chunked") && body.ends_with("11 octets"), "{body}");
    let (_, body) = client.fetch(request("POST", "/"), b"").await;
    let body = String::from_utf8(body).unwrap();
    assert!(body.ends_with("\n0 octets"), "{body}");
}

#[tokio::test]
async fn bodies_flow_both_ways_at_once() {
    let (origin, _) = origin().await;
    let mut client = Lab::new(&proxy_to(origin)).http3().await;
    let sent = pattern(5_000_000);
    for content_length in [true, false] {
        let mut asked = request("POST", "/echo");
        if content_length {
            asked.headers_mut().insert("content-length", sent.len().into());
        }
        let (mut send, mut recv) = client.requests.send_request(asked).await.unwrap().split();
        let body = sent.clone();
        let upload = async move {
            for piece in body.chunks(30_000) {
                send.send_data(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            send.finish().await.unwrap();
        };
        let download = async {
            assert_eq!(recv.recv_response().await.unwrap().status(), 200);
            let mut received = Vec::new();
            while let Some(mut data) = recv.recv_data().await.unwrap() {
                received.extend_from_slice(&data.copy_to_bytes(data.remaining()));
            }
            received
        };
        let ((), received) = tokio::join!(upload, download);
        assert!(received == sent, "{} octets came back, or not the same", received.len());
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_the_server() {
    const LENGTH: usize = 48 * 1024 * 1024;
    let (stalled, stalls) = oneshot::channel();
    let stalled = Arc::new(std::sync::Mutex::new(Some(stalled)));
    let origin = scripted(move |_, mut stream| {
        let stalled = stalled.lock().unwrap().take().unwrap();
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut body = pattern(LENGTH);
            let mut stalled = Some(stalled);
            while body.has_remaining() {
                match timeout(Duration::from_millis(500), stream.write_buf(&mut body)).await {
                    Ok(written) => drop(written.unwrap()),
                    Err(_) => drop(stalled.take().map(|stalled| stalled.send(LENGTH - body.len()).unwrap())),
                }
            }
        }
    })
    .await;
    let mut client = Lab::new(&proxy_to(origin)).http3().await;
    let mut stream = client.requests.send_request(request("GET", "/")).await.unwrap();
    stream.finish().await.unwrap();
    stream.recv_response().await.unwrap();
    let taken = stalls.await.unwrap();
    // Both ends' flow control, ours and quinn's buffers, and the kernel's for two TCP sockets.
    let bound = 1_250_000 + SEND_WINDOW as usize + 256 * 1024 + 12 * 1024 * 1024;
    assert!(taken < bound, "{taken} octets were taken for a client that reads none, of at most {bound}");
    assert!(read(&mut stream).await.unwrap() == pattern(LENGTH), "what was held up came through unharmed");
}

#[tokio::test]
async fn what_no_route_wants_is_not_found_and_still_read() {
    let (origin, _) = origin().await;
    let routes = proxy_to(origin).replace("[[route]]", "[[route]]\nhost = \"example.com\"\npath = \"/api/\"");
    let mut client = Lab::new(&routes).http3().await;
    for (uri, expected) in [
        ("https://example.com/api/x", 200),
        ("https://EXAMPLE.com:4433/api/x", 200),
        ("https://example.com/ap", 404),
        ("https://example.com/", 404),
        ("https://www.example.com/api/x", 404),
    ] {
        let asked = Request::builder().method(Method::POST).uri(uri).body(()).unwrap();
        let (response, _) = client.fetch(asked, &[1; 200_000]).await;
        assert_eq!(response.status(), expected, "{uri}");
        assert_eq!(response.headers()["x-quic-router-slot"], "3");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_a_bad_gateway_unless_there_is_another() {
    let unused = unused_address().await;
    let mut client = Lab::new(&proxy_to(unused)).http3().await;
    let (response, body) = client.fetch(request("POST", "/"), b"hello").await;
    assert_eq!(response.status(), 502);
    assert_eq!(body, b"502 the server behind this one cannot be reached\n");

    let (origin, _) = origin().await;
    let both = proxy_to(unused).replace("\"]", &format!("\", \"http://{origin}\"]"));
    let mut client = Lab::new(&both).http3().await;
    for _ in 0..4 {
        let (response, body) = client.fetch(request("POST", "/"), b"hello").await;
        assert_eq!(response.status(), 200);
        assert!(body.ends_with(b"5 octets"));
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_never_looks_complete() {
    for head in ["content-length: 100", "transfer-encoding: chunked"] {
        for reset in [false, true] {
            let origin = scripted(move |_, mut stream| async move {
                read_head(&mut stream).await;
                let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n");
                stream.write_all(text.as_bytes()).await.unwrap();
                // Closed only once the client has seen the beginning.
                let _ = stream.read_u8().await;
                if reset {
                    stream.set_zero_linger().unwrap();
                }
            })
            .await;
            let lab = Lab::new(&proxy_to(origin));
            let mut client = lab.http3().await;
            let mut asked = request("POST", "/");
            asked.headers_mut().insert("content-length", 1.into());
            let mut stream = client.requests.send_request(asked).await.unwrap();
            stream.recv_response().await.unwrap();
            stream.recv_data().await.unwrap().unwrap();
            stream.send_data(Bytes::from_static(b"!")).await.unwrap();
            stream.finish().await.unwrap();
            match read(&mut stream).await {
                Err(StreamError::RemoteTerminate { code: Code::H3_INTERNAL_ERROR, .. }) => {}
                other => panic!("{head}, reset {reset}: {other:?}"),
            }
            assert!(client.quic.close_reason().is_none(), "the connection goes on");
        }
    }
}

#[tokio::test]
async fn a_server_that_answers_nonsense_is_a_bad_gateway() {
    for answer in
        ["", "nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"]
    {
        let origin = scripted(move |_, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let mut client = Lab::new(&proxy_to(origin)).http3().await;
        let (response, _) = client.get("/").await;
        assert_eq!(response.status(), 502, "{answer:?}");
    }
}

#[tokio::test]
async fn what_an_idle_connection_did_not_answer_is_sent_again_only_if_that_is_harmless() {
    for (method, body, expected) in [("GET", b"".as_slice(), 200), ("POST", b"", 502), ("PUT", b"body", 502)] {
        // The first connection answers once, and is closed by the second request.
        let origin = scripted(|number, mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            if number == 0 {
                read_head(&mut stream).await;
            } else {
                let _ = stream.read_u8().await;
            }
        })
        .await;
        let mut client = Lab::new(&proxy_to(origin)).http3().await;
        assert_eq!(client.get("/").await.0.status(), 200);
        let (response, _) = client.fetch(request(method, "/"), body).await;
        assert_eq!(response.status(), expected, "{method}");
    }
}

#[tokio::test]
async fn trailers_come_through() {
    let origin = scripted(|_, mut stream| async move {
        let head = read_head(&mut stream).await;
        assert!(head.contains("te: trailers\r\n") && head.contains("connection: te\r\n"), "{head}");
        let answer =
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let mut client = Lab::new(&proxy_to(origin)).http3().await;
    let mut asked = request("GET", "/");
    asked.headers_mut().insert("te", "trailers".parse().unwrap());
    let mut stream = client.requests.send_request(asked).await.unwrap();
    stream.finish().await.unwrap();
    stream.recv_response().await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap(), b"ok");
    assert_eq!(stream.recv_trailers().await.unwrap().unwrap()["x-sum"], "7");
}

#[tokio::test]
async fn a_client_that_waits_for_a_word_before_its_body_gets_it() {
    let (origin, _) = origin().await;
    let mut client = Lab::new(&proxy_to(origin)).http3().await;
    let mut asked = request("PUT", "/");
    asked.headers_mut().insert("expect", "100-continue".parse().unwrap());
    asked.headers_mut().insert("content-length", 5.into());
    let mut stream = client.requests.send_request(asked).await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 100);
    stream.send_data(Bytes::from_static(b"hello")).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    assert!(read(&mut stream).await.unwrap().ends_with(b"5 octets"));
}

#[tokio::test]
async fn requests_that_mean_something_else_to_http_1_1_are_refused() {
    let mut client = Lab::new(&proxy_to(unused_address().await)).http3().await;
    let with = |name: &'static str, value: &'static str| {
        let mut asked = request("POST", "/");
        asked.headers_mut().append(name, value.parse().unwrap());
        asked
    };
    let mut lengths = with("content-length", "5");
    lengths.headers_mut().append("content-length", "5".parse().unwrap());
    let user = Request::builder().uri("https://user@localhost/").body(()).unwrap();
    for (asked, expected) in [
        (user, 400),
        (with("transfer-encoding", "chunked"), 400),
        (with("connection", "close"), 400),
        (with("upgrade", "websocket"), 400),
        (with("keep-alive", "timeout=5"), 400),
        (with("te", "gzip"), 400),
        (with("content-length", "+5"), 400),
        (with("content-length", "5, 5"), 400),
        (lengths, 400),
        (with("accept", "*/*"), 502),
    ] {
        let shown = format!("{asked:?}");
        let (response, _) = client.fetch(asked, b"hello").await;
        assert_eq!(response.status(), expected, "{shown}");
    }
}

/// apisix#12615
#[tokio::test]
async fn a_route_has_the_last_word_on_what_a_server_is_told() {
    let (origin, _) = origin().await;
    let changes = "request_headers = { remove = [\"via\", \"forwarded\"], set = { x-real-ip = \"192.0.2.9\" } }";
    let mut client = Lab::new(&proxy_to(origin).replacen('\n', &format!("\n{changes}\n"), 1)).http3().await;
    let asked = Request::builder().uri("https://localhost:4433/");
    let asked = asked.header("x-real-ip", "192.0.2.66").header("x_real_ip", "192.0.2.66").header("via", "1.1 a");
    let (_, body) = client.fetch(asked.body(()).unwrap(), b"").await;
    let mut lines: Vec<_> = std::str::from_utf8(&body).unwrap().lines().collect();
    lines.retain(|line| !line.starts_with("traceparent: "));
    lines.sort_unstable();
    let expected = [
        "0 octets",
        "GET /",
        "host: localhost:4433",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: localhost:4433",
        "x-forwarded-proto: https",
        "x-real-ip: 192.0.2.9",
    ];
    assert_eq!(lines, expected);
}
