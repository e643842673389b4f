//! Limits, queues and what a reload keeps.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use tokio::sync::Semaphore;

use super::lab::*;
use crate::{
    address::Validated,
    config::Balance,
    edge::upstream::{Clients, ConnectError, Failed, Failure, NoPlace, Upstreams},
};

/// A server that answers as the gate lets it, and notes the paths in their order.
async fn gated() -> (std::net::SocketAddr, Arc<Semaphore>, Arc<Mutex<Vec<String>>>) {
    let gate = Arc::new(Semaphore::new(0));
    let paths = Arc::<Mutex<Vec<String>>>::default();
    let (shut, noted) = (gate.clone(), paths.clone());
    let (address, _) = server(Speaks::Http1, move |request| {
        noted.lock().unwrap().push(request.uri().path().to_owned());
        let shut = shut.clone();
        async move {
            shut.acquire().await.unwrap().forget();
            answer("ok")
        }
    })
    .await;
    (address, gate, paths)
}

#[tokio::test]
async fn those_who_wait_are_served_in_their_order_and_no_more_than_may_wait() {
    let (address, gate, paths) = gated().await;
    let mut settings = settings(vec![http(address)]);
    (settings.max_connections, settings.queue) = (1, 2);
    let (upstreams, upstream) = upstream(settings);
    let spawn = |path: &'static str| {
        let upstream = upstream.clone();
        tokio::spawn(async move { upstream.fetch(get(path)).await })
    };
    let first = spawn("/1");
    until(|| paths.lock().unwrap().len() == 1).await;
    let second = spawn("/2");
    until(|| upstreams.states()[0].queued == 1).await;
    let third = spawn("/3");
    until(|| upstreams.states()[0].queued == 2).await;
    let failed = upstream.fail(get("/4")).await;
    assert!(matches!(failed.failure, Failure::Connect(ConnectError::NoPlace(NoPlace::QueueFull))));
    assert_eq!(failed.failure.answer().unwrap().0, 503);
    assert!(failed.body.is_some());

    gate.add_permits(1);
    assert_eq!(first.await.unwrap(), "ok");
    until(|| paths.lock().unwrap().len() == 2).await;
    assert_eq!((upstreams.states()[0].in_flight, upstreams.states()[0].queued), (1, 1));
    gate.add_permits(2);
    assert_eq!((second.await.unwrap(), third.await.unwrap()), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(*paths.lock().unwrap(), ["/1", "/2", "/3"]);
    assert_eq!((upstreams.states()[0].in_flight, upstreams.states()[0].queued), (0, 0));
}

/// GHSA-7ghq-v6jf-g56c: a client that took all places, and all of the line, shut out every other.
#[tokio::test]
async fn a_client_leaves_places_to_others() {
    let (address, gate, paths) = gated().await;
    let mut settings = settings(vec![http(address)]);
    (settings.max_connections, settings.queue, settings.client_share) = (8, 8, 0.75);
    let (upstreams, upstream) = upstream(settings);
    let spawn = |path: &'static str, client| {
        let upstream = upstream.clone();
        tokio::spawn(async move { upstream.fetch_for(get(path), client).await })
    };
    let state = || (upstreams.states()[0].in_flight, upstreams.states()[0].queued);
    // Other addresses of the same client, too.
    let greedy: Vec<_> =
        (1..=12).map(|host| spawn("/greedy", Validated::assumed(&format!("[2001:db8::{host}]:1")))).collect();
    until(|| state() == (6, 6)).await;
    let refused = upstream.send(get("/"), Validated::assumed("[2001:db8::ffff]:1"), None).await;
    let Err(Failed { failure: Failure::Connect(ConnectError::NoPlace(NoPlace::QueueFull)), .. }) = refused else {
        panic!("three quarters of the line are its share, too");
    };
    let others = [spawn("/other", CLIENT), spawn("/other", Validated::assumed("[2001:db8:0:1::1]:1"))];
    until(|| paths.lock().unwrap().iter().filter(|path| *path == "/other").count() == 2).await;
    assert_eq!(state(), (8, 6), "they pass by the requests that wait");
    let third = spawn("/third", Validated::assumed("[2001:db8:0:2::1]:1"));
    until(|| state() == (8, 7)).await;
    gate.add_permits(20);
    for one in greedy.into_iter().chain(others).chain([third]) {
        assert_eq!(one.await.unwrap(), "ok");
    }
    assert_eq!(state(), (0, 0));
}

#[tokio::test]
async fn who_waits_too_long_or_goes_leaves_the_queue() {
    let (address, gate, paths) = gated().await;
    let mut settings = settings(vec![http(address)]);
    settings.max_connections = 1;
    settings.timeouts.queue = Duration::from_millis(60);
    let (upstreams, upstream) = upstream(settings);
    let first = {
        let upstream = upstream.clone();
        tokio::spawn(async move { upstream.fetch(get("/1")).await })
    };
    until(|| paths.lock().unwrap().len() == 1).await;
    let failed = upstream.fail(get("/2")).await;
    assert!(matches!(failed.failure, Failure::Connect(ConnectError::NoPlace(NoPlace::QueueTimedOut(_)))));
    assert_eq!(failed.failure.answer().unwrap().0, 503);
    {
        let mut gone = Box::pin(upstream.send(get("/3"), CLIENT, None));
        assert!(futures_util::poll!(&mut gone).is_pending());
        assert_eq!(upstreams.states()[0].queued, 1);
    }
    assert_eq!(upstreams.states()[0].queued, 0);
    gate.add_permits(2);
    assert_eq!(first.await.unwrap(), "ok");
    assert_eq!(upstream.fetch(get("/4")).await, "ok");
    assert_eq!(*paths.lock().unwrap(), ["/1", "/4"]);
}

#[tokio::test]
async fn a_place_given_to_one_who_goes_is_not_lost() {
    let (address, gate, paths) = gated().await;
    let mut settings = settings(vec![http(address)]);
    settings.max_connections = 1;
    let (upstreams, upstream) = upstream(settings);
    let mut first = Box::pin(upstream.send(get("/1"), CLIENT, None));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(upstream.send(get("/2"), CLIENT, None));
    assert!(futures_util::poll!(&mut second).is_pending());
    let third = {
        let upstream = upstream.clone();
        tokio::spawn(async move { upstream.fetch(get("/3")).await })
    };
    until(|| upstreams.states()[0].queued == 2).await;
    // The second has the place now, and does not know yet.
    drop(first);
    assert_eq!(upstreams.states()[0].queued, 1);
    drop(second);
    gate.add_permits(2);
    assert_eq!(third.await.unwrap(), "ok");
    assert_eq!(paths.lock().unwrap().last().unwrap(), "/3");
    assert_eq!(upstreams.states()[0].in_flight, 0);
}

#[tokio::test]
async fn at_its_limit_a_server_is_passed_over_except_by_source_hash() {
    for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::RandomTwoChoices, Balance::SourceHash] {
        let (one, gate, paths) = gated().await;
        let (other, other_gate, other_paths) = gated().await;
        let mut settings = settings(vec![http(one), http(other)]);
        settings.balance = balance;
        settings.max_connections = 1;
        let (upstreams, upstream) = upstream(settings);
        let requests: Vec<_> = (0..2)
            .map(|_| {
                let upstream = upstream.clone();
                tokio::spawn(async move { upstream.fetch(get("/")).await })
            })
            .collect();
        let placed = || paths.lock().unwrap().len() + other_paths.lock().unwrap().len();
        if balance == Balance::SourceHash {
            until(|| placed() == 1 && upstreams.states()[0].queued == 1).await;
        } else {
            until(|| placed() == 2).await;
            assert_eq!(upstreams.states().iter().map(|state| state.in_flight).collect::<Vec<_>>(), [1, 1]);
        }
        gate.add_permits(2);
        other_gate.add_permits(2);
        for request in requests {
            assert_eq!(request.await.unwrap(), "ok");
        }
    }
}

#[tokio::test]
async fn the_limit_is_the_node_s() {
    let (address, gate, paths) = gated().await;
    let mut settings = settings(vec![http(address)]);
    settings.max_connections = 1;
    let upstreams = upstreams(settings);
    let workers = [(); 2].map(|()| Clients::<Made>::new(&upstreams, None).get("u").unwrap());
    let requests = workers.map(|worker| tokio::spawn(async move { worker.fetch(get("/")).await }));
    until(|| paths.lock().unwrap().len() == 1 && upstreams.states()[0].queued == 1).await;
    gate.add_permits(2);
    for request in requests {
        assert_eq!(request.await.unwrap(), "ok");
    }
}

#[tokio::test]
async fn a_reload_keeps_state_connections_and_those_who_wait() {
    let (address, gate, paths) = gated().await;
    let (newcomer, _) = server(Speaks::Http1, |_| async { answer("new") }).await;
    let mut before = settings(vec![http(address)]);
    before.max_connections = 1;
    let mut after = settings(vec![http(newcomer), http(address)]);
    after.all[1].weight = 1000;
    let old = Arc::new(Upstreams::new(&config(before), None).unwrap());
    let clients = Clients::<Made>::new(&old, None);
    let worker = clients.get("u").unwrap();
    let spawn = |path: &'static str| {
        let worker = worker.clone();
        tokio::spawn(async move { worker.fetch(get(path)).await })
    };
    let first = spawn("/1");
    until(|| paths.lock().unwrap().len() == 1).await;
    let second = spawn("/2");
    until(|| old.states()[0].queued == 1).await;

    let new = Arc::new(Upstreams::new(&config(after), Some(&old)).unwrap());
    let clients = Clients::<Made>::new(&new, Some(&clients));
    let states = new.states();
    assert_eq!((states[0].in_flight, states[1].in_flight, states[1].queued, states[1].weight), (0, 1, 1, 1000));
    gate.add_permits(3);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), ("ok".to_owned(), "ok".to_owned()));
    until(|| new.states()[1].in_flight == 0).await;
    assert_eq!(clients.get("u").unwrap().fetch(get("/3")).await, "ok");
    let states = new.states();
    assert_eq!((states[1].requests_total, states[1].connections), (3, 1), "one connection, for all three");
}

/// Many threads take places, wait, give up and go: no more than may are ever in use, and none is
/// lost, or a request would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn places_are_neither_lost_nor_made_up() {
    const PLACES: u32 = 3;
    let mut settings = settings(vec![http(unused_address().await), http(unused_address().await)]);
    (settings.max_connections, settings.queue) = (PLACES, 10_000);
    let (upstreams, upstream) = upstream(settings);
    let in_use = Arc::new([const { AtomicU32::new(0) }; 2]);
    let requests: Vec<_> = (0..400)
        .map(|number| {
            let (upstream, in_use) = (upstream.clone(), in_use.clone());
            tokio::spawn(async move {
                let mut placed = 0;
                for round in 0..50 {
                    let mut place = Box::pin(upstream.place(CLIENT, &[]));
                    let (index, lease) = match futures_util::poll!(&mut place) {
                        Poll::Ready(place) => place.unwrap(),
                        Poll::Pending if (number + round) % 7 == 0 => {
                            tokio::task::yield_now().await;
                            continue;
                        }
                        Poll::Pending => place.await.unwrap(),
                    };
                    assert!(in_use[index].fetch_add(1, SeqCst) < PLACES);
                    tokio::task::yield_now().await;
                    in_use[index].fetch_sub(1, SeqCst);
                    drop(lease);
                    placed += 1;
                }
                placed
            })
        })
        .collect();
    let mut placed = 0;
    for one in requests {
        placed += one.await.unwrap();
    }
    assert!(placed >= 400 * 50 * 6 / 7, "{placed}");
    for state in upstreams.states() {
        assert_eq!((state.in_flight, state.queued), (0, 0));
    }
}
