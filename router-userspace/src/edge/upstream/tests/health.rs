//! Which servers are healthy, and what becomes of requests when none is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::net::TcpListener;

use super::lab::*;
use crate::{
    config::{Authority, Balance, Ejection, Health, HealthProbe, ServerAddress},
    edge::upstream::{ConnectError, Failure, NoPlace, ServerHealth, Upstreams},
};

fn checks(probe: HealthProbe) -> Option<Health> {
    Some(Health { probe, interval: Duration::from_millis(20), timeout: Duration::from_secs(2), rise: 2, fall: 2 })
}

fn get_probe() -> HealthProbe {
    HealthProbe::Http { path: "/healthy?".to_owned(), host: None, status: 200..=299 }
}

/// Runs the watch beside the test; it ends with it.
fn watch(upstreams: &Arc<Upstreams>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(upstreams.clone().watch())
}

fn is_up(upstreams: &Upstreams, index: usize) -> bool {
    !matches!(upstreams.states()[index].health, ServerHealth::Down(_))
}

#[tokio::test]
async fn checks_take_a_server_out_and_back_in() {
    for speaks in [Speaks::Http1, Speaks::Http2(10)] {
        let status = Arc::new(AtomicU16::new(503));
        let checked = Arc::new(AtomicUsize::new(0));
        let (now, count) = (status.clone(), checked.clone());
        let (address, _) = server(speaks, move |request| {
            let status = if request.uri().path() == "/healthy" {
                count.fetch_add(1, SeqCst);
                now.load(SeqCst)
            } else {
                200
            };
            let mut answer = answer("ok");
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            async { answer }
        })
        .await;
        let server = match speaks {
            Speaks::Http1 => http(address),
            Speaks::Http2(_) => ServerAddress::H2c(authority(address)),
        };
        let mut settings = settings(vec![server]);
        settings.health = checks(get_probe());
        settings.slow_start = Some(LONG);
        let (upstreams, upstream) = upstream(settings);
        assert_eq!(upstream.fetch(get("/")).await, "ok", "up until the first answer");
        let watch = watch(&upstreams);
        until(|| !is_up(&upstreams, 0)).await;
        let why = upstreams.states()[0].why.clone().unwrap();
        assert_eq!(why, "health check: GET /healthy? is answered with 503 Service Unavailable");
        let failed = upstream.fail(get("/")).await;
        assert!(matches!(failed.failure, Failure::Connect(ConnectError::NoPlace(NoPlace::AllDown))));
        assert_eq!(failed.failure.answer().unwrap().0, 503);
        assert!(failed.server.is_none() && failed.body.is_some());

        let before = checked.load(SeqCst);
        status.store(204, SeqCst);
        until(|| is_up(&upstreams, 0)).await;
        assert!(checked.load(SeqCst) - before >= 2, "it takes two");
        assert!(matches!(upstreams.states()[0].health, ServerHealth::Warming(1..=20)));
        assert_eq!(upstream.fetch(get("/")).await, "ok");
        watch.abort();
    }
}

#[tokio::test]
async fn a_connection_is_proof_enough_if_so_asked() {
    let (listener, address) = listener().await;
    let mut settings = settings(vec![http(address), http(unused_address().await)]);
    settings.health = checks(HealthProbe::Connect);
    let (upstreams, _) = upstream(settings);
    let watch = watch(&upstreams);
    until(|| !is_up(&upstreams, 1)).await;
    assert!(is_up(&upstreams, 0));
    drop(listener);
    until(|| !is_up(&upstreams, 0)).await;
    // Two in a row bring it back.
    let _listener = TcpListener::bind(address).await.unwrap();
    until(|| is_up(&upstreams, 0)).await;
    watch.abort();
}

#[tokio::test]
async fn what_checks_found_holds_over_a_reload_while_there_are_checks() {
    let mut settings = settings(vec![http(unused_address().await)]);
    settings.health = checks(HealthProbe::Connect);
    let before = upstreams(settings.clone());
    let watch = watch(&before);
    until(|| !is_up(&before, 0)).await;
    watch.abort();
    assert!(!is_up(&Upstreams::new(&config(settings.clone()), Some(&before)).unwrap(), 0));
    settings.health = None;
    assert!(is_up(&Upstreams::new(&config(settings), Some(&before)).unwrap(), 0));
}

const EJECTION: Ejection = Ejection { failures: 2, time: LONG, status: Some([502, 504]) };

#[tokio::test]
async fn who_fails_requests_is_left_alone_for_a_while() {
    let (bad, seen) = server(Speaks::Http1, |_| async {
        let mut answer = answer("bad");
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer
    })
    .await;
    let (good, _) = server(Speaks::Http1, |_| async { answer("good") }).await;
    let mut settings = settings(vec![http(bad), http(good)]);
    settings.ejection = Some(EJECTION);
    let (upstreams, upstream) = upstream(settings);
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(upstream.fetch(get("/")).await);
    }
    assert_eq!(answers, ["bad", "good", "bad", "good", "good", "good"]);
    assert_eq!(seen.requests.load(SeqCst), 2);
    let state = &upstreams.states()[0];
    assert!(matches!(state.health, ServerHealth::Ejected(19..=20)), "{:?}", state.health);
    assert_eq!(state.why.as_deref(), Some("it answered 502 Bad Gateway"));
    assert_eq!(serde_json::to_value(state).unwrap()["health"], serde_json::json!("ejected"), "as status shows it");
}

/// A client that finds what a server answers with 503 on purpose does not eject it.
#[tokio::test]
async fn statuses_count_only_where_they_are_named() {
    let (address, _) = server(Speaks::Http1, |_| async {
        let mut answer = answer("closed today");
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        answer
    })
    .await;
    let mut settings = settings(vec![http(address), http(address)]);
    settings.ejection = Some(Ejection { status: None, ..EJECTION });
    let (upstreams, upstream) = upstream(settings);
    for _ in 0..10 {
        assert_eq!(upstream.fetch(get("/")).await, "closed today");
    }
    let failures: Vec<_> = upstreams.states().iter().map(|state| state.failures_total).collect();
    assert_eq!(failures, [0, 0]);
}

#[tokio::test]
async fn where_all_are_ejected_all_are_used() {
    let (address, seen) = server(Speaks::Http1, |_| async {
        let mut answer = answer("bad");
        *answer.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        answer
    })
    .await;
    let mut settings = settings(vec![http(address), http(address)]);
    settings.ejection = Some(EJECTION);
    let (upstreams, upstream) = upstream(settings);
    for _ in 0..10 {
        assert_eq!(upstream.fetch(get("/")).await, "bad");
    }
    assert_eq!(seen.requests.load(SeqCst), 10);
    assert!(upstreams.states().iter().all(|state| matches!(state.health, ServerHealth::Ejected(_))));
}

#[tokio::test]
async fn a_client_of_source_hash_keeps_its_server_while_that_is_healthy() {
    let (one, _) = server(Speaks::Http1, |_| async { answer("one") }).await;
    let (two, _) = server(Speaks::Http1, |_| async { answer("two") }).await;
    let mut settings = settings(vec![http(one), http(two)]);
    settings.balance = Balance::SourceHash;
    settings.ejection = Some(Ejection { failures: 1, time: LONG, status: None });
    let (upstreams, upstream) = upstream(settings);
    let its = upstream.fetch(get("/")).await;
    for _ in 0..5 {
        assert_eq!(upstream.fetch(get("/")).await, its);
    }
    let index = usize::from(its == "two");
    upstream.set().servers()[index].failed(&"for the test");
    assert!(matches!(upstreams.states()[index].health, ServerHealth::Ejected(_)));
    assert_ne!(upstream.fetch(get("/")).await, its);
}

#[tokio::test]
async fn a_request_waits_until_its_server_s_name_is_resolved() {
    let (address, _) = server(Speaks::Http1, |_| async { answer("ok") }).await;
    let named = ServerAddress::Http(Authority { host: "localhost".to_owned(), port: address.port() });
    let (upstreams, upstream) = upstream(settings(vec![named]));
    let waiting = tokio::spawn({
        let upstream = upstream.clone();
        async move { upstream.fetch(get("/")).await }
    });
    until(|| upstreams.states()[0].in_flight == 1).await;
    assert!(upstreams.states()[0].addresses.is_empty());
    let watch = watch(&upstreams);
    assert_eq!(waiting.await.unwrap(), "ok");
    assert!(upstreams.states()[0].addresses.contains(&address));
    watch.abort();
}

#[tokio::test]
async fn the_next_address_is_tried_within_the_time_for_a_connection() {
    let (address, _) = server(Speaks::Http1, |_| async { answer("ok") }).await;
    let named = ServerAddress::Http(Authority { host: "name.test".to_owned(), port: address.port() });
    let (_, upstream) = upstream(settings(vec![named]));
    let all = [unused_address().await, address].into();
    upstream.set().servers()[0].state().addresses().set(super::super::server::Addresses { all, trouble: None });
    for _ in 0..4 {
        // Its connection is closed after each, so that each takes the next address first.
        assert_eq!(upstream.fetch(get("/")).await, "ok");
        upstream.pooled(0).pool().forget();
    }
}
