//! Do sums add up, and never go backwards?

use std::{
    thread,
    time::{Duration, SystemTime},
};

use super::{super::record::Tls, *};
use crate::address::Validated;

fn request(status: u16, milliseconds: u64) -> Record<'static> {
    Record {
        duration: Duration::from_millis(milliseconds),
        first_byte: Some(Duration::from_millis(1)),
        status: Some(status),
        received: 10,
        sent: 100,
        ..Record::new(SystemTime::UNIX_EPOCH, Protocol::Http3, Validated::assumed("127.0.0.1:1"))
    }
}

fn name(name: &str) -> Arc<str> {
    Arc::from(name)
}

#[test]
fn what_a_request_leaves() {
    let meters = Meters::default();
    let meter = meters.join();
    let route = meter.route(&name("site"));
    route.count(&request(200, 3));
    route.count(&Record { protocol: Protocol::Http11, ..request(200, 70_000) });
    let early = Tls { early_data: true, ..Tls::default() };
    let gone = Record { status: None, first_byte: None, outcome: Outcome::Cancelled, tls: early, ..request(0, 0) };
    route.count(&gone);
    route.count(&Record { protocol: Protocol::Raw, outcome: Outcome::UpstreamBroke, ..request(0, 0) });

    let mut expected = RouteSums {
        requests: [
            ((Protocol::Http3, Status::Exact(200)), 1),
            ((Protocol::Http3, Status::None), 1),
            ((Protocol::Http11, Status::Exact(200)), 1),
        ]
        .into(),
        request_outcomes: [2, 1, 0, 0, 0],
        stream_outcomes: [0, 0, 1, 0, 0],
        early: 1,
        received: 40,
        sent: 400,
        ..RouteSums::default()
    };
    expected.duration.nanoseconds = 70_003_000_000;
    for bucket in [0, 2, 16] {
        expected.duration.buckets[bucket] = 1;
    }
    expected.first_byte.nanoseconds = 2_000_000;
    expected.first_byte.buckets[0] = 2;
    assert_eq!(meters.sums().routes, [(name("site"), expected)].into());
}

#[test]
fn a_route_keeps_its_counts_by_its_name() {
    let meters = Meters::default();
    let meter = meters.join();
    meter.route(&name("a")).count(&request(200, 1));
    // Another configuration looks it up again.
    meter.route(&name("a")).count(&request(200, 1));
    meter.route(&name("b")).count(&request(404, 1));
    meter.route(&name(NO_ROUTE)).count(&request(404, 1));
    let count = |route: &str| meters.sums().routes.get(route).map(|sums| sums.duration.count());
    assert_eq!((count("a"), count("b"), count(NO_ROUTE)), (Some(2), Some(1), Some(1)));
    meters.retain_routes(|name| name == "a");
    assert_eq!((count("a"), count("b"), count(NO_ROUTE)), (Some(2), None, Some(1)));
}

#[test]
fn what_a_worker_counted_outlives_it() {
    let meters = Meters::default();
    let (one, other) = (meters.join(), meters.join());
    let route = one.route(&name("site"));
    let open = one.connection(Protocol::Http3);
    route.count(&request(200, 1));
    one.handshake(Handshake::Failed);
    other.route(&name("site")).count(&request(200, 1));
    drop(one);
    let sums = meters.sums();
    assert_eq!((sums.open, sums.opened, sums.handshakes), ([1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0]));
    drop(open);
    // A request that is on its way out still counts.
    meters.sums();
    route.count(&request(200, 1));
    drop(route);
    meters.sums();
    assert_eq!(meters.state().living.len(), 1, "the other one");
    let before = meters.sums();
    assert_eq!((before.open, before.opened, before.handshakes), ([0; 4], [1, 0, 0, 0], [0, 1, 0]));
    assert_eq!(before.routes["site"].requests[&(Protocol::Http3, Status::Exact(200))], 3);
    drop(other);
    assert_eq!(meters.sums(), before);
    assert!(meters.state().living.is_empty());
}

#[test]
fn workers_count_side_by_side() {
    let meters = Meters::default();
    thread::scope(|scope| {
        for _ in 0..4 {
            let meter = meters.join();
            scope.spawn(move || {
                let route = meter.route(&name("site"));
                for status in (0..10_000).map(|n| 200 + n % 4) {
                    drop(meter.connection(Protocol::Http2));
                    route.count(&request(status, 1));
                }
            });
        }
        let mut last = 0;
        while last < 40_000 {
            let sums = meters.sums();
            let now = sums.routes.get("site").map_or(0, |site| site.requests.values().sum::<u64>());
            assert!(now >= last);
            last = now;
        }
    });
    let sums = meters.sums();
    assert_eq!(sums.routes["site"].requests.values().copied().collect::<Vec<_>>(), [10_000; 4]);
    assert_eq!((sums.open, sums.opened), ([0; 4], [0, 40_000, 0, 0]));
}
