//! HTTP/2: connections shared by requests, as far as the server allows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Notify, Semaphore};
use tokio_util::io::InspectReader;

use super::lab::*;
use crate::{
    config::{HostField, ServerAddress},
    edge::upstream::Failure,
};

fn h2c(address: std::net::SocketAddr) -> ServerAddress {
    ServerAddress::H2c(authority(address))
}

#[tokio::test]
async fn a_request_is_as_http_2_wants_it() {
    let (address, _) = server(Speaks::Http2(10), |request| async move {
        let mut fields: Vec<_> = request.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        fields.sort();
        answer(format!("{} {} {fields:?}", request.method(), request.uri()))
    })
    .await;
    let mut asked = get("/a?b");
    asked.headers_mut().insert("te", "trailers".parse().unwrap());
    asked.headers_mut().insert("connection", "te".parse().unwrap());
    let (_, client) = upstream(settings(vec![h2c(address)]));
    assert_eq!(client.fetch(asked).await, r#"GET http://example.com/a?b ["te: \"trailers\""]"#);

    let mut settings = settings(vec![h2c(address)]);
    settings.host = HostField::Server;
    let (_, client) = upstream(settings);
    assert_eq!(client.fetch(get("/")).await, format!("GET http://{address}/ []"));
}

#[tokio::test]
async fn requests_share_a_connection() {
    let all_there = Arc::new(tokio::sync::Barrier::new(20));
    let (address, seen) = server(Speaks::Http2(100), move |_| {
        let all_there = all_there.clone();
        async move {
            all_there.wait().await;
            answer("ok")
        }
    })
    .await;
    let (upstreams, upstream) = upstream(settings(vec![h2c(address)]));
    let all = futures_util::future::join_all((0..20).map(|_| upstream.fetch(get("/")))).await;
    assert_eq!(all, ["ok"; 20]);
    assert_eq!(seen.counts(), (1, 20));
    let state = &upstreams.states()[0];
    assert_eq!((state.in_flight, state.connections), (0, 1));
}

#[tokio::test]
async fn more_requests_than_streams_take_more_connections() {
    let gate = Arc::new(Semaphore::new(1));
    let most = Arc::new(AtomicUsize::new(0));
    let (shut, peak) = (gate.clone(), most.clone());
    let (address, seen) = server(Speaks::Http2(2), move |_| {
        let (shut, peak) = (shut.clone(), peak.clone());
        async move {
            peak.fetch_add(1, SeqCst);
            shut.acquire().await.unwrap().forget();
            answer("ok")
        }
    })
    .await;
    let (_, upstream) = upstream(settings(vec![h2c(address)]));
    // The server has told its limit with its first answer.
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    let waiting: Vec<_> = (0..6)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move { upstream.fetch(get("/")).await })
        })
        .collect();
    until(|| most.load(SeqCst) == 7).await;
    assert_eq!(seen.connections.load(SeqCst), 3);
    gate.add_permits(6);
    for one in waiting {
        assert_eq!(one.await.unwrap(), "ok");
    }
    assert_eq!(seen.counts(), (3, 7));
}

/// A frame's header: 8 octets, PING, ACK, stream 0 (RFC 9113 sections 4.1 and 6.7).
const PING_ACK: [u8; 9] = [0, 0, 8, 6, 1, 0, 0, 0, 0];

#[tokio::test]
async fn a_connection_that_is_told_to_go_finishes_what_it_has() {
    let (listener, address) = listener().await;
    let (go, going) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let connections = Arc::new(AtomicUsize::new(0));
    let requests = Arc::new(AtomicUsize::new(0));
    // hyper sends a PING after GOAWAY: a client that has acknowledged that has read both.
    let has_gone = Arc::new(Notify::new());
    let (told, held, counted, arrived) = (go.clone(), going.clone(), connections.clone(), requests.clone());
    let acknowledged = has_gone.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let first = counted.fetch_add(1, SeqCst) == 0;
            let (told, held, arrived) = (told.clone(), held.clone(), arrived.clone());
            let acknowledged = acknowledged.clone();
            let stream = InspectReader::new(stream, move |read: &[u8]| {
                if read.windows(PING_ACK.len()).any(|octets| octets == PING_ACK) {
                    acknowledged.notify_one();
                }
            });
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |_| {
                    let held = held.clone();
                    arrived.fetch_add(1, SeqCst);
                    async move {
                        if first {
                            held.acquire().await.unwrap().forget();
                        }
                        Ok::<_, std::convert::Infallible>(answer(if first { "old" } else { "new" }))
                    }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
                tokio::select! {
                    _ = &mut connection => return,
                    () = told.notified(), if first => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            });
        }
    });
    let (_, upstream) = upstream(settings(vec![h2c(address)]));
    let old = {
        let upstream = upstream.clone();
        tokio::spawn(async move { upstream.fetch(get("/")).await })
    };
    until(|| requests.load(SeqCst) == 1).await;
    go.notify_one();
    has_gone.notified().await;
    // Not idempotent: no request may be in doubt.
    assert_eq!(upstream.fetch(request("POST", "/", Made::of(b"x"))).await, "new");
    going.add_permits(1);
    assert_eq!(old.await.unwrap(), "old");
    assert_eq!(connections.load(SeqCst), 2);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let (address, _) = server(Speaks::Http2(10), |request| async move {
        let trailers = request.into_body().collect().await.unwrap().trailers().cloned().unwrap();
        let frames = [Ok(Frame::data("body".into())), Ok(Frame::trailers(trailers))];
        http::Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed())
    })
    .await;
    let (_, upstream) = upstream(settings(vec![h2c(address)]));
    let (fill, body) = Made::slowly();
    let trailers: http::HeaderMap = [("x-sum".parse().unwrap(), "42".parse().unwrap())].into_iter().collect();
    fill.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    drop(fill);
    let exchanged = upstream.send(request("POST", "/", body), CLIENT, None).await.unwrap_or_else(|_| panic!());
    let collected = exchanged.response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "body");
}

#[tokio::test]
async fn a_response_that_is_not_wanted_is_cancelled_and_its_connection_kept() {
    let (address, seen) = server(Speaks::Http2(10), |_| async { answer(vec![b'x'; 3_000_000]) }).await;
    let (upstreams, upstream) = upstream(settings(vec![h2c(address)]));
    for _ in 0..3 {
        let mut body = upstream.send(get("/"), CLIENT, None).await.unwrap_or_else(|_| panic!()).response.into_body();
        assert!(body.frame().await.unwrap().is_ok());
    }
    assert_eq!(upstreams.states()[0].in_flight, 0);
    assert_eq!(upstream.fetch(get("/")).await.len(), 3_000_000);
    assert_eq!(seen.counts(), (1, 4));
}

#[tokio::test]
async fn a_connection_on_which_a_response_is_late_gets_no_more_requests() {
    let (address, seen) = server(Speaks::Http2(10), |request| async move {
        if request.uri().path() == "/late" {
            std::future::pending::<()>().await;
        }
        answer("ok")
    })
    .await;
    let mut settings = settings(vec![h2c(address)]);
    settings.timeouts.response = Duration::from_millis(80);
    let (upstreams, upstream) = upstream(settings);
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    upstream.fail(get("/late")).await;
    assert_eq!(seen.counts(), (1, 2));
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    assert_eq!(seen.counts(), (2, 3));
    until(|| upstreams.states()[0].connections == 1).await;
}

#[tokio::test]
async fn what_a_used_connection_broke_off_is_sent_once_more_only_if_idempotent() {
    // A connection answers one request, and breaks off at the next.
    let (listener, address) = listener().await;
    let seen = Arc::<Seen>::default();
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (first, broken) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()));
            let breaks = broken.clone();
            let respond = move |_| {
                let answered = first.swap(false, SeqCst);
                let broken = broken.clone();
                async move {
                    if !answered {
                        broken.notify_one();
                        std::future::pending::<()>().await;
                    }
                    answer("ok")
                }
            };
            let serving = serve(stream, Speaks::Http2(10), counted.clone(), respond);
            tokio::spawn(async move {
                tokio::select! {
                    () = serving => {}
                    () = breaks.notified() => {}
                }
            });
        }
    });
    let (_, upstream) = upstream(settings(vec![h2c(address)]));
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    assert_eq!(seen.counts(), (2, 3));
    let failed = upstream.fail(request("POST", "/", Made::nothing())).await;
    assert!(matches!(failed.failure, Failure::Broken(_)), "{}", failed.failure);
    assert_eq!(seen.counts(), (2, 4));
}

/// How a server refuses a request.
#[derive(Clone, Copy, Debug)]
enum Refuses {
    /// RST_STREAM with REFUSED_STREAM (RFC 9113 section 8.7).
    Stream,
    /// GOAWAY in the middle of it (RFC 9113 section 6.8).
    Connection,
}

async fn refusing(how: Refuses) -> (std::net::SocketAddr, Arc<Seen>) {
    let (listener, address) = listener().await;
    let seen = Arc::<Seen>::default();
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    counted.requests.fetch_add(1, SeqCst);
                    match how {
                        Refuses::Stream => respond.send_reset(h2::Reason::REFUSED_STREAM),
                        Refuses::Connection => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
                    }
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn what_a_server_refuses_goes_to_one_other_if_idempotent() {
    for how in [Refuses::Stream, Refuses::Connection] {
        for (method, body, times) in [("GET", None, 2), ("DELETE", None, 2), ("POST", None, 1), ("PUT", Some("x"), 1)] {
            let servers = [refusing(how).await, refusing(how).await, refusing(how).await];
            let (_, upstream) = upstream(settings(servers.iter().map(|(address, _)| h2c(*address)).collect()));
            let body = body.map_or_else(Made::nothing, |body| Made::of(body.as_bytes()));
            let failed = upstream.fail(request(method, "/", body)).await;
            assert!(matches!(failed.failure, Failure::Broken(_)), "{how:?} {method}: {}", failed.failure);
            let seen: Vec<_> = servers.iter().map(|(_, seen)| seen.requests.load(SeqCst)).collect();
            assert_eq!(
                (seen.iter().sum::<usize>(), seen.iter().max()),
                (times, Some(&1)),
                "{how:?} {method}: {seen:?}"
            );
        }
    }
}
