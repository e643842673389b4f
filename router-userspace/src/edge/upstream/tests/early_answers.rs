//! HTTP/1.1 servers that answer before they have the request, and connections that are done with.

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use super::lab::*;
use crate::edge::{
    http::interim::Interim,
    upstream::{Failure, ResponseError},
};

const NO: &[u8] = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
const WELL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers each connection's requests by `serve`.
async fn serving<F, R>(serve: F) -> (std::net::SocketAddr, Arc<Seen>)
where
    F: Fn(TcpStream, usize) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listener().await;
    let seen = Arc::<Seen>::default();
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = counted.connections.fetch_add(1, SeqCst);
            tokio::spawn(serve(stream, number));
        }
    });
    (address, seen)
}

/// So many octets in one piece behind the head, and the rest when the server has begun to read.
fn upload(octets: usize) -> Made {
    let (fill, body) = Made::slowly();
    for piece in vec![b'x'; octets].chunks(16_000) {
        fill.send(Ok(Frame::data(Bytes::copy_from_slice(piece)))).unwrap();
    }
    body
}

/// rustical#77: 12 of 100 such uploads were answered with 502.
#[tokio::test]
async fn a_server_that_answers_and_closes_without_reading_is_heard() {
    let (address, _) = serving(|mut stream, _| async move {
        head(&mut stream).await;
        stream.write_all(NO).await.unwrap();
        // With octets unread, this is a reset.
    })
    .await;
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    for octets in [50_000, 2_000_000] {
        for round in 0..100 {
            let exchanged = upstream.send(request("PUT", "/", upload(octets)), CLIENT, None).await;
            let exchanged = exchanged.unwrap_or_else(|failed| panic!("{octets} {round}: {}", failed.failure));
            assert_eq!(exchanged.response.status(), 401);
            assert_eq!(text(exchanged).await, "no", "{octets} {round}");
        }
    }
    assert_eq!(upstreams.states()[0].failures_total, 0);
    until(|| upstreams.states()[0].connections == 0).await;
}

/// The response is all there, and the server still wants the request; the one goes on without the other being read.
#[tokio::test]
async fn what_is_left_of_a_request_goes_on_behind_its_answer() {
    let (told, heard) = oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let (address, seen) = serving(move |mut stream, _| {
        let told = told.lock().unwrap().take();
        async move {
            head(&mut stream).await;
            stream.write_all(WELL).await.unwrap();
            let mut body = Vec::new();
            while !body.ends_with(b"0\r\n\r\n") {
                body.push(stream.read_u8().await.unwrap());
            }
            told.unwrap().send(body.len()).unwrap();
            head(&mut stream).await;
            stream.write_all(WELL).await.unwrap();
        }
    })
    .await;
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    let (fill, body) = Made::slowly();
    fill.send(Ok(Frame::data("first".into()))).unwrap();
    let exchanged = upstream.send(request("PUT", "/", body), CLIENT, None).await.unwrap_or_else(|_| panic!());
    assert_eq!(text(exchanged).await, "ok");
    assert_eq!(upstreams.states()[0].in_flight, 0);
    fill.send(Ok(Frame::data("then".into()))).unwrap();
    drop(fill);
    assert_eq!(heard.await.unwrap(), "5\r\nfirst\r\n4\r\nthen\r\n0\r\n\r\n".len());
    // It takes the next request.
    until(|| upstream.idle_connections() == 1).await;
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    assert_eq!(seen.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_request_that_breaks_off_behind_its_answer_s_head_breaks_the_answer() {
    let (address, _) = serving(|mut stream, _| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart").await.unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap_or(5), 5, "the first chunk and no end");
    })
    .await;
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    let (fill, body) = Made::slowly();
    let exchanged = upstream.send(request("PUT", "/", body), CLIENT, None).await.unwrap_or_else(|_| panic!());
    let mut body = exchanged.response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "part");
    fill.send(Err(Cut)).unwrap();
    assert!(matches!(body.frame().await.unwrap(), Err(ResponseError::Request)));
    drop(body);
    let state = &upstreams.states()[0];
    assert_eq!((state.in_flight, state.failures_total), (0, 0));
    until(|| upstreams.states()[0].connections == 0).await;
}

/// It is closed here too, without a request that would find out.
#[tokio::test]
async fn an_idle_connection_that_its_server_closes_is_let_go_at_once() {
    let (close, closed) = oneshot::channel::<()>();
    let closed = std::sync::Mutex::new(Some(closed));
    let (address, seen) = serving(move |mut stream, _| {
        let closed = closed.lock().unwrap().take();
        async move {
            head(&mut stream).await;
            stream.write_all(WELL).await.unwrap();
            if let Some(closed) = closed {
                return drop(closed.await);
            }
            std::future::pending().await
        }
    })
    .await;
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    assert_eq!(upstreams.states()[0].connections, 1);
    close.send(()).unwrap();
    until(|| upstreams.states()[0].connections == 0).await;
    // Not idempotent: it would not have been sent again.
    assert_eq!(upstream.fetch(request("POST", "/", Made::nothing())).await, "ok");
    assert_eq!(seen.connections.load(SeqCst), 2);
}

/// What comes behind a response answers no request, now or later.
#[tokio::test]
async fn octets_behind_a_response_end_its_connection() {
    let (address, seen) = serving(|mut stream, number| async move {
        head(&mut stream).await;
        let (first, then) =
            if number == 0 { (&b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nx"[..], &b""[..]) } else { (WELL, WELL) };
        stream.write_all(first).await.unwrap();
        tokio::task::yield_now().await;
        let _ = stream.write_all(then).await;
        std::future::pending().await
    })
    .await;
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    for (count, expected) in [(1, ""), (2, "ok"), (3, "ok")] {
        assert_eq!(upstream.fetch(get("/")).await, expected);
        assert_eq!(seen.connections.load(SeqCst), count);
        until(|| upstreams.states()[0].connections == 0).await;
    }
}

/// The timer of a connection is set for its first request and looked at for each.
#[tokio::test]
async fn each_request_of_a_connection_has_all_its_time() {
    // Two answers take longer than that; one does not by far, also where the processor is busy.
    const LIMIT: Duration = Duration::from_secs(1);
    let (address, seen) = serving(|mut stream, _| async move {
        for _ in 0..3 {
            head(&mut stream).await;
            // A server that takes its time, but less than it has.
            tokio::time::sleep(LIMIT * 3 / 5).await;
            stream.write_all(WELL).await.unwrap();
        }
        head(&mut stream).await;
        std::future::pending().await
    })
    .await;
    let mut settings = settings(vec![http(address)]);
    settings.timeouts.response = LIMIT;
    let (_, upstream) = upstream(settings);
    for _ in 0..3 {
        assert_eq!(upstream.fetch(get("/")).await, "ok");
    }
    let begun = Instant::now();
    assert!(matches!(upstream.fail(get("/")).await.failure, Failure::TimedOut(_)));
    assert!(begun.elapsed() >= LIMIT, "{:?}", begun.elapsed());
    assert_eq!(seen.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn what_comes_before_a_response_is_handed_on() {
    let (address, _) = serving(|mut stream, _| async move {
        head(&mut stream).await;
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\nalt-svc: x\r\n\r\n";
        stream.write_all(text.as_bytes()).await.unwrap();
        stream.write_all(WELL).await.unwrap();
    })
    .await;
    let (_, upstream) = upstream(settings(vec![http(address)]));
    let interim = Interim::default();
    let exchanged = upstream.send(get("/"), CLIENT, Some(&interim)).await.unwrap_or_else(|_| panic!());
    assert_eq!(text(exchanged).await, "ok");
    let came = interim.take();
    let came: Vec<_> = came.iter().map(|response| (response.status().as_u16(), response.headers().len())).collect();
    assert_eq!(came, [(100, 0), (103, 1)]);
}

/// A small response is read whole, whatever its client takes of it: its place and its connection are free.
#[tokio::test]
async fn a_response_that_is_here_takes_no_place() {
    let (address, seen) = server(Speaks::Http1, |_| async { answer(vec![b'x'; 1_000]) }).await;
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    let mut untaken = Vec::new();
    for _ in 0..3 {
        untaken.push(upstream.send(get("/"), CLIENT, None).await.unwrap_or_else(|_| panic!()));
        assert_eq!((upstreams.states()[0].in_flight, upstreams.states()[0].connections), (0, 1));
    }
    assert_eq!(seen.counts(), (1, 3));
    for exchanged in untaken {
        assert_eq!(text(exchanged).await.len(), 1_000);
    }
}
