//! HTTP/1.1: what is sent, what is sent again, and which connection it takes.

use std::sync::atomic::Ordering::SeqCst;

use http::HeaderValue;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::oneshot,
};

use super::lab::*;
use crate::{
    config::{Ejection, HostField, ServerAddress},
    edge::upstream::{ConnectError, Failure, ResponseError},
};
use std::{sync::Arc, time::Duration};

#[tokio::test]
async fn a_request_comes_as_it_was_given() {
    let (listener, address) = listener().await;
    let (heard, said) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        heard.send(head(&mut stream).await).unwrap();
        say_ok(&mut stream).await;
    });
    let mut request = get("/a/b?c=d");
    for (name, value) in [("x-b", "1"), ("x-a", "2"), ("x-b", "3"), ("te", "trailers"), ("connection", "te")] {
        request.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let (_, upstream) = upstream(settings(vec![http(address)]));
    assert_eq!(upstream.fetch(request).await, "ok");
    let expected = "GET /a/b?c=d HTTP/1.1\r\nhost: example.com\r\nx-b: 1\r\nx-b: 3\r\nx-a: 2\r\nte: trailers\r\n\
                    connection: te\r\n\r\n";
    assert_eq!(said.await.unwrap(), expected);
}

#[tokio::test]
async fn host_is_the_client_s_the_server_s_or_fixed() {
    let (address, _) =
        server(Speaks::Http1, |request| async move { answer(request.headers()["host"].as_bytes().to_vec()) }).await;
    for (host, expected) in [
        (HostField::Client, "example.com".to_owned()),
        (HostField::Server, address.to_string()),
        (HostField::Fixed(HeaderValue::from_static("fixed.example")), "fixed.example".to_owned()),
    ] {
        let (_, upstream) = upstream(crate::config::Servers { host, ..settings(vec![http(address)]) });
        assert_eq!(upstream.fetch(get("/")).await, expected);
    }
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_whole_response_but_not_after_a_part() {
    let (address, seen) = server(Speaks::Http1, |_| async { answer(vec![b'x'; 1_000_000]) }).await;
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    assert_eq!(upstream.fetch(get("/")).await.len(), 1_000_000);
    assert_eq!(upstream.fetch(get("/")).await.len(), 1_000_000);
    assert_eq!(seen.counts(), (1, 2));
    let state = &upstreams.states()[0];
    assert_eq!((state.in_flight, state.connections, state.requests_total, state.failures_total), (0, 1, 2, 0));

    let mut part = upstream.send(get("/"), CLIENT, None).await.unwrap_or_else(|_| panic!()).response.into_body();
    assert!(part.frame().await.unwrap().is_ok());
    assert_eq!(upstreams.states()[0].in_flight, 1);
    drop(part);
    until(|| upstreams.states()[0].connections == 0).await;
    assert_eq!(upstreams.states()[0].in_flight, 0);
    upstream.fetch(get("/")).await;
    assert_eq!(seen.counts(), (2, 4));
}

#[tokio::test]
async fn a_response_without_a_body_frees_its_connection_at_once() {
    let (address, seen) = server(Speaks::Http1, |_| async { answer("") }).await;
    let (_, upstream) = upstream(settings(vec![http(address)]));
    for _ in 0..3 {
        let exchanged = upstream.send(request("HEAD", "/", Made::nothing()), CLIENT, None).await;
        drop(exchanged.unwrap_or_else(|_| panic!()));
        tokio::task::yield_now().await;
    }
    assert_eq!(seen.counts(), (1, 3));
}

/// Each connection answers one request, and breaks off at the next; as many as were told in all.
async fn stale() -> (std::net::SocketAddr, Arc<Seen>) {
    let (listener, address) = listener().await;
    let seen = Arc::<Seen>::default();
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.connections.fetch_add(1, SeqCst);
            head(&mut stream).await;
            counted.requests.fetch_add(1, SeqCst);
            say_ok(&mut stream).await;
            let counted = counted.clone();
            tokio::spawn(async move {
                head(&mut stream).await;
                counted.requests.fetch_add(1, SeqCst);
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn what_a_used_connection_broke_off_is_sent_once_more_if_idempotent() {
    let (address, seen) = stale().await;
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    for (round, method) in ["GET", "PUT", "DELETE", "OPTIONS"].into_iter().enumerate() {
        assert_eq!(upstream.fetch(request(method, "/", Made::nothing())).await, "ok");
        assert_eq!(seen.counts(), (2 + round, 3 + 2 * round), "{method}");
    }
    assert_eq!(upstreams.states()[0].failures_total, 0);
}

#[tokio::test]
async fn what_is_not_idempotent_or_has_a_body_is_never_sent_twice() {
    for (method, body) in [("POST", None), ("PATCH", None), ("PUT", Some("x")), ("POST", Some("x"))] {
        let (address, seen) = stale().await;
        let (upstreams, upstream) = upstream(settings(vec![http(address), http(address)]));
        // The first connection of each of the two.
        for _ in 0..2 {
            assert_eq!(upstream.fetch(get("/")).await, "ok");
        }
        let body = body.map_or_else(Made::nothing, |body| Made::of(body.as_bytes()));
        let failed = upstream.fail(request(method, "/", body)).await;
        assert!(matches!(failed.failure, Failure::Broken(_)), "{}", failed.failure);
        assert_eq!(failed.failure.answer().unwrap().0, 502);
        assert_eq!(seen.counts(), (2, 3), "{method}");
        assert_eq!(upstreams.states().iter().map(|state| state.failures_total).sum::<u64>(), 1);
    }
}

/// Takes a request and says nothing to it; how many it took.
async fn dying() -> (std::net::SocketAddr, Arc<Seen>) {
    let (listener, address) = listener().await;
    let seen = Arc::<Seen>::default();
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            head(&mut stream).await;
            counted.requests.fetch_add(1, SeqCst);
        }
    });
    (address, seen)
}

#[tokio::test]
async fn what_a_dying_server_took_goes_to_one_other_if_idempotent() {
    for (method, body, times) in [("GET", None, 2), ("DELETE", None, 2), ("POST", None, 1), ("PUT", Some("x"), 1)] {
        let servers = [dying().await, dying().await, dying().await];
        let (upstreams, upstream) = upstream(settings(servers.iter().map(|(address, _)| http(*address)).collect()));
        let body = body.map_or_else(Made::nothing, |body| Made::of(body.as_bytes()));
        let failed = upstream.fail(request(method, "/", body)).await;
        assert!(matches!(failed.failure, Failure::Broken(_)), "{method}: {}", failed.failure);
        let seen: Vec<_> = servers.iter().map(|(_, seen)| seen.requests.load(SeqCst)).collect();
        assert_eq!((seen.iter().sum::<usize>(), seen.iter().max()), (times, Some(&1)), "{method}: {seen:?}");
        assert_eq!(upstreams.states().iter().map(|state| state.failures_total).sum::<u64>(), times as u64);
    }
}

#[tokio::test]
async fn what_a_new_connection_broke_off_is_not_sent_again_to_the_only_server() {
    let (listener, address) = listener().await;
    let seen = Arc::<Seen>::default();
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let connection = counted.connections.fetch_add(1, SeqCst);
            head(&mut stream).await;
            counted.requests.fetch_add(1, SeqCst);
            if connection == 1 {
                say_ok(&mut stream).await;
                head(&mut stream).await;
                counted.requests.fetch_add(1, SeqCst);
            }
        }
    });
    let (_, upstream) = upstream(settings(vec![http(address)]));
    let failed = upstream.fail(get("/")).await;
    assert!(matches!(failed.failure, Failure::Broken(_)), "{}", failed.failure);
    assert_eq!(seen.counts(), (1, 1));
    assert_eq!(upstream.fetch(get("/")).await, "ok");
    // Once on the connection that was used before, once on a new one; not a third time.
    let failed = upstream.fail(get("/")).await;
    assert!(matches!(failed.failure, Failure::Broken(_)), "{}", failed.failure);
    assert_eq!(seen.counts(), (3, 4));
}

#[tokio::test]
async fn who_cannot_be_reached_is_passed_over_whatever_the_method() {
    let (address, seen) =
        server(Speaks::Http1, |request| async move { answer(request.into_body().collect().await.unwrap().to_bytes()) })
            .await;
    let (upstreams, upstream) =
        upstream(settings(vec![http(unused_address().await), http(unused_address().await), http(address)]));
    for _ in 0..3 {
        assert_eq!(upstream.fetch(request("POST", "/", Made::of(b"once"))).await, "once");
    }
    assert_eq!(seen.requests.load(SeqCst), 3);
    assert!(upstreams.states()[0].why.as_ref().unwrap().contains("refused"));
}

#[tokio::test]
async fn where_no_server_can_be_reached_the_request_comes_back() {
    let address = unused_address().await;
    let (_, upstream) = upstream(settings(vec![http(address)]));
    let failed = upstream.fail(request("POST", "/", Made::of(b"mine"))).await;
    assert_eq!(failed.failure.answer().unwrap().0, 502);
    assert!(failed.failure.to_string().contains(&format!("http://{address} cannot be reached")), "{}", failed.failure);
    assert_eq!(failed.server.as_deref(), Some(&*format!("http://{address}")));
    let body = failed.body.unwrap().collect().await.unwrap().to_bytes();
    assert_eq!(body, "mine");
}

#[tokio::test]
async fn a_server_without_an_answer_is_given_up_and_not_asked_again() {
    let (address, seen) = server(Speaks::Http1, |_| std::future::pending()).await;
    let mut settings = settings(vec![http(address), http(address)]);
    settings.timeouts.response = Duration::from_millis(80);
    let (upstreams, upstream) = upstream(settings);
    let failed = upstream.fail(get("/")).await;
    assert!(matches!(failed.failure, Failure::TimedOut(_)));
    assert_eq!(failed.failure.answer().unwrap().0, 504);
    assert_eq!(seen.counts(), (1, 1));
    assert_eq!(upstreams.states()[0].failures_total, 1);
}

/// 20 half-sent requests used to eject every server.
#[tokio::test]
async fn a_client_that_stops_sending_is_told_so_and_the_server_not_blamed() {
    let (address, _) =
        server(Speaks::Http1, |request| async move { answer(request.into_body().collect().await.unwrap().to_bytes()) })
            .await;
    let mut settings = settings(vec![http(address)]);
    settings.timeouts.response = Duration::from_millis(80);
    settings.ejection = Some(Ejection { failures: 1, time: LONG, status: None });
    let (upstreams, upstream) = upstream(settings);
    let (fill, body) = Made::slowly();
    fill.send(Ok(http_body::Frame::data("half".into()))).unwrap();
    let failed = upstream.fail(request("POST", "/", body)).await;
    assert_eq!(failed.failure.answer().unwrap().0, 408, "{}", failed.failure);
    assert_eq!(upstreams.states()[0].failures_total, 0);
    drop(fill);
}

#[tokio::test]
async fn a_slow_upload_is_not_a_late_response() {
    let (address, _) =
        server(Speaks::Http1, |request| async move { answer(request.into_body().collect().await.unwrap().to_bytes()) })
            .await;
    let mut settings = settings(vec![http(address)]);
    settings.timeouts.response = Duration::from_millis(400);
    let (_, upstream) = upstream(settings);
    let (fill, body) = Made::slowly();
    let fed = async {
        // Slow itself: in all it takes longer than a response may.
        for _ in 0..10 {
            fill.send(Ok(http_body::Frame::data("x".into()))).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        drop(fill);
    };
    let (got, ()) = tokio::join!(upstream.fetch(request("PUT", "/", body)), fed);
    assert_eq!(got, "xxxxxxxxxx");
}

#[tokio::test]
async fn a_silent_response_breaks_off() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart").await.unwrap();
        std::future::pending::<()>().await;
    });
    let mut settings = settings(vec![http(address)]);
    settings.timeouts.idle = Duration::from_millis(60);
    let (upstreams, upstream) = upstream(settings);
    let mut body = upstream.send(get("/"), CLIENT, None).await.unwrap_or_else(|_| panic!()).response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "part");
    assert!(matches!(body.frame().await.unwrap(), Err(ResponseError::Silent(_))));
    drop(body);
    let state = &upstreams.states()[0];
    assert_eq!((state.in_flight, state.failures_total), (0, 1));
    until(|| upstreams.states()[0].connections == 0).await;
}

#[tokio::test]
async fn a_response_that_breaks_off_is_the_server_s_failure() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart").await.unwrap();
    });
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    let exchanged = upstream.send(get("/"), CLIENT, None).await.unwrap_or_else(|_| panic!());
    assert!(matches!(exchanged.response.into_body().collect().await, Err(ResponseError::Broken(_))));
    assert_eq!(upstreams.states()[0].failures_total, 1);
}

#[tokio::test]
async fn a_request_that_breaks_off_is_not_the_server_s_failure() {
    for speaks in [Speaks::Http1, Speaks::Http2(10)] {
        let (address, _) = server(speaks, |request| async move {
            let _ = request.into_body().collect().await;
            std::future::pending().await
        })
        .await;
        let server = match speaks {
            Speaks::Http1 => http(address),
            Speaks::Http2(_) => ServerAddress::H2c(authority(address)),
        };
        let (upstreams, upstream) = upstream(settings(vec![server]));
        let (fill, body) = Made::slowly();
        fill.send(Ok(http_body::Frame::data("x".into()))).unwrap();
        fill.send(Err(Cut)).unwrap();
        let failed = upstream.fail(request("PUT", "/", body)).await;
        assert_eq!(failed.failure.request_broke(), Some(&Cut), "{}", failed.failure);
        assert!(failed.failure.answer().is_none());
        assert_eq!(upstreams.states()[0].failures_total, 0);
    }
}

/// Their size is limited, not their number (hyper#3283).
#[tokio::test]
async fn a_response_may_have_many_fields() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for count in [101, 1_500, 1_985] {
            head(&mut stream).await;
            let lines: String = (0..count).map(|_| "x:\r\n").collect();
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).await.unwrap();
        }
    });
    let (upstreams, upstream) = upstream(settings(vec![http(address)]));
    for count in [101, 1_500, 1_985] {
        let exchanged = upstream.send(request("HEAD", "/", Made::nothing()), CLIENT, None).await;
        let response = exchanged.unwrap_or_else(|failed| panic!("{}", failed.failure)).response;
        assert_eq!(response.headers().len(), count);
    }
    assert_eq!(upstreams.states()[0].failures_total, 0);
}

#[tokio::test]
async fn a_server_may_not_switch_protocols() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
            .await
            .unwrap();
    });
    let (_, upstream) = upstream(settings(vec![http(address)]));
    assert!(matches!(upstream.fail(get("/")).await.failure, Failure::Switched));
}

#[tokio::test]
async fn a_connection_takes_no_longer_than_it_may() {
    // A name that is not resolved: there is no watch.
    let unresolved = ServerAddress::Http(crate::config::Authority { host: "name.invalid".to_owned(), port: 80 });
    let mut settings = settings(vec![unresolved]);
    settings.timeouts.connect = Duration::from_millis(50);
    let (_, upstream) = upstream(settings);
    let failed = upstream.fail(get("/")).await;
    assert!(matches!(failed.failure, Failure::Connect(ConnectError::TimedOut { .. })), "{}", failed.failure);
    assert_eq!(failed.failure.answer().unwrap().0, 504);
}

#[tokio::test]
async fn a_unix_socket_is_a_server() {
    let path = std::env::temp_dir().join(format!("quic-router-upstream-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 41];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 41\r\n\r\n").await.unwrap();
        stream.write_all(&request).await.unwrap();
    });
    let mut settings = settings(vec![ServerAddress::Unix(path.clone())]);
    settings.host = HostField::Server;
    let (_, upstream) = upstream(settings);
    assert_eq!(upstream.fetch(get("/socket")).await, "GET /socket HTTP/1.1\r\nhost: localhost\r\n\r\n");
    std::fs::remove_file(path).unwrap();
}
