//! What do clients notice when one of the upstream servers fails or dies, and when it comes back?

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Lab, Origin, Running, UPSTREAM4, Upstream,
    faulty::{self, Act, Faulty},
    peers::Curl,
};
use router_userspace::agent::api::UpstreamServer;

const REST: &str = "[[route]]\nupstream = \"pair\"\n[upstream.pair]\nservers = [\"http://UPSTREAM:8080\", \"http://UPSTREAM:8081\"]\n\
                    health = { path = \"/bytes/1\", interval = \"100ms\", timeout = \"1s\", rise = 2, fall = 2 }\n";

#[test]
fn a_server_that_dies_and_returns_costs_no_request() -> Result<()> {
    let mut lab = Lab::new().build()?;
    let behind = lab.network().upstream();
    let _stays = Upstream::http(behind, 8080)?;
    let dies = Upstream::http(behind, 8081)?;
    lab.reconfigure(|config| config.rest = REST.replace("UPSTREAM", &UPSTREAM4.to_string()));
    lab.start_agent()?;

    let asking = lab.quic_go().get("/bytes/2000").connections(40).requests(150).pausing(Duration::from_millis(40));
    let clients = asking.in_all(Duration::from_secs(60)).start()?;
    until(&lab, "both are asked", |served| served.iter().all(|server| server.requests_total > 200))?;
    drop(dies);
    until(&lab, "the dead one is down", |served| served[1].health == "down")?;
    let at_death = served(&lab)?;
    ensure!(at_death[1].why.is_some(), "without a reason: {at_death:?}");
    until(&lab, "the other one serves", |served| served[0].requests_total > at_death[0].requests_total + 500)?;
    assert_eq!(served(&lab)?[1].requests_total, at_death[1].requests_total, "what is down is not asked");
    let _returns = Upstream::http(lab.network().upstream(), 8081)?;
    until(&lab, "it is up again", |served| served[1].health == "up")?;
    until(&lab, "it is asked again", |served| served[1].requests_total > at_death[1].requests_total + 200)?;

    // GET is idempotent: what the dead one had begun was asked again of the other.
    let summary = clients.finish()?;
    assert_eq!((summary.requests_ok, summary.requests_failed), (40 * 150, 0), "{:?}", summary.errors);
    ensure!(lab.control().status()?.healthy);
    Ok(())
}

/// When all are down, that is said, and quickly.
#[test]
fn all_servers_down_is_503() -> Result<()> {
    let mut lab = Lab::new().build()?;
    lab.reconfigure(|config| config.rest = REST.replace("UPSTREAM", &UPSTREAM4.to_string()));
    lab.start_agent()?;
    until(&lab, "both are down", |served| served.iter().all(|server| server.health == "down"))?;
    let status = lab.control().status()?;
    ensure!(!status.healthy, "{:?}", status.problems);
    ensure!(status.problems.iter().any(|why| why.starts_with("upstream pair: every server is down: ")), "{status:?}");
    let summary = lab.quic_go().get("/").connections(5).requests(1).run()?;
    assert_eq!(summary.requests_failed, 5);
    ensure!(summary.errors.keys().all(|error| error.contains("503")), "{:?}", summary.errors);
    Ok(())
}

/// What is idempotent is asked again, of the other, also if the connection was new.
#[test]
fn failed_idempotent_requests_go_to_the_other_server() -> Result<()> {
    let (lab, bad, _good) = one_fails()?;
    assert_eq!(ask(&lab, "GET", "/bytes/1", 10)?, "200 ".repeat(10));
    let state = &served(&lab)?[1];
    assert_eq!((state.health.as_str(), state.requests_total, state.failures_total), ("ejected", 3, 3), "{state:?}");
    assert_eq!(bad.exchanges().len(), 3);
    Ok(())
}

/// Without health checks: a server is ejected for the requests it failed, and comes back by and by.
#[test]
fn a_failing_server_is_ejected_and_starts_slowly() -> Result<()> {
    let (lab, bad, _good) = one_fails()?;
    let statuses = ask(&lab, "POST", "/bytes/1", 6)?;
    // The good one knows nothing to post to there.
    assert_eq!(statuses.matches("404").count(), 3, "{statuses}");
    assert_eq!(statuses.matches("502").count(), 3, "{statuses}");
    let state = &served(&lab)?[1];
    assert_eq!((state.health.as_str(), state.requests_total, state.failures_total), ("ejected", 3, 3), "{state:?}");
    ensure!(state.seconds <= EJECTION && state.why.as_ref().is_some_and(|why| why.contains("broke off")), "{state:?}");
    assert_eq!(ask(&lab, "GET", "/bytes/1", 10)?, "200 ".repeat(10));
    assert_eq!(bad.exchanges().len(), 3, "an ejected server was asked");

    // When it comes back it gets a tenth of what the other gets, to begin with.
    until(&lab, "it comes back", |served| served[1].health == "warming")?;
    assert_eq!(ask(&lab, "GET", "/bytes/2", 44)?, "200 ".repeat(44));
    let state = &served(&lab)?[1];
    assert_eq!((state.health.as_str(), state.failures_total), ("warming", 3), "{state:?}");
    ensure!((3 + 3..=3 + 8).contains(&state.requests_total), "{state:?}");
    Ok(())
}

/// Without a good answer between, it is left alone for longer.
#[test]
fn a_server_that_fails_again_is_ejected_for_longer() -> Result<()> {
    let (lab, bad, _good) = one_fails()?;
    ask(&lab, "POST", "/bytes/1", 6)?;
    until(&lab, "it comes back", |served| served[1].health == "warming")?;
    // Looked at while they go on: on a slow machine they take longer than a second of the ejection.
    let statuses = thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&lab, "POST", "/bytes/1", 60));
        let for_longer = EJECTION + 1..=2 * EJECTION;
        until(&lab, "it is ejected for twice the time", |served| {
            served[1].health == "ejected" && for_longer.contains(&served[1].seconds)
        })?;
        asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    assert_eq!(statuses.matches("502").count(), 3, "{statuses}");
    assert_eq!(bad.exchanges().len(), 6);
    Ok(())
}

/// The host of an HTTP/2 server disappears without closing its connection. Requests go to the other server instead of
/// waiting for `response_timeout` (agentgateway#3231: 13 of 40 waited, and got 504).
#[test]
fn a_server_whose_host_is_gone_is_left_before_the_response_timeout() -> Result<()> {
    let mut lab = Lab::new().workers(1).build()?;
    lab.home().write_certificate("origin", &["origin.test"])?;
    let behind = lab.network().upstream();
    let (well, goes) = (Origin::start(&lab, "origin")?, Faulty::h2c(behind, Vec::new())?);
    let (port, response_timeout) = (faulty::PORT, Duration::from_secs(60));
    let rest = format!(
        "[[route]]\nupstream = \"pair\"\n[upstream.pair]\nservers = [\"{}\", \"h2c://{UPSTREAM4}:{port}\"]\n\
         balance = \"round-robin\"\nconnect_timeout = \"1s\"\nresponse_timeout = \"{}s\"\n",
        well.h2c(),
        response_timeout.as_secs()
    );
    lab.reconfigure(|config| config.rest = rest);
    lab.start_agent()?;
    assert_eq!(ask(&lab, "GET", "/good", 10)?, "200 ".repeat(10));
    assert_eq!(goes.exchanges().len(), 5, "half of them, on a connection that stays open");

    // What it sends is lost from now on, acknowledgements among it.
    lab.network().upstream().ip(&format!("rule add ipproto tcp sport {port} blackhole"))?;
    let begun = Instant::now();
    assert_eq!(ask(&lab, "GET", "/good", 40)?, "200 ".repeat(40));
    ensure!(begun.elapsed() < response_timeout, "a client waited {:?}", begun.elapsed());
    let state = &served(&lab)?[1];
    ensure!(state.failures_total > 0, "it was not asked: {state:?}");
    Ok(())
}

/// Two servers. One fails those who ask for one octet; the others it answers.
fn one_fails() -> Result<(Running, Faulty, Upstream)> {
    let mut lab = Lab::new().workers(1).build()?;
    let good = Upstream::http(lab.network().upstream(), 8080)?;
    let bad = Faulty::http(lab.network().upstream(), vec![("1", &[Act::Close])])?;
    let port = faulty::PORT;
    lab.reconfigure(|config| {
        config.rest = format!(
            "[[route]]\nupstream = \"pair\"\n[upstream.pair]\n\
             servers = [\"http://{UPSTREAM4}:8080\", \"http://{UPSTREAM4}:{port}\"]\nbalance = \"round-robin\"\n\
             ejection = {{ failures = 3, time = \"{EJECTION}s\" }}\nslow_start = \"60s\"\n"
        );
    });
    lab.start_agent()?;
    Ok((lab, bad, good))
}

/// The statuses of so many requests, one after the other.
fn ask(lab: &Running, method: &str, path: &str, times: usize) -> Result<String> {
    let curl = Curl::over("--http3-only", lab.wire().namespace(), &lab.url(path)).option("--request").option(method);
    let curl = curl.writing("%{http_code} ");
    let url = lab.url(path);
    let more = (1..times).fold(curl, |curl, _| curl.option("--output").option("/dev/null").option(&url));
    Ok(more.succeed()?.trim_end_matches('\n').to_owned())
}

fn served(lab: &Running) -> Result<Vec<UpstreamServer>> {
    Ok(lab.control().status()?.upstreams)
}

/// Waits until the servers are so.
fn until(lab: &Running, what: &'static str, so: impl Fn(&[UpstreamServer]) -> bool) -> Result<()> {
    lab.await_status(|status| so(&status.upstreams)).context(what).map(drop)
}

/// How long a server is ejected for the first time, in seconds.
const EJECTION: u64 = 6;
