//! Is a request that the client cancels cancelled at the server at once, and are streams reset with the client's code?

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Running,
    faulty::{Act::*, Exchange, Faulty, Script, Speaks},
    peers::{Cancel, Curl, Rude, Whole},
    until,
};
use serde_json::Value;

/// Scripts of a server of HTTP/1.1, and of HTTP/2: one that sends without an end, one that never answers,
/// one that takes uploads, and one that answers when all others are over.
const HTTP1: &[Script] = &[
    ("pours", &[Say("HTTP/1.1 200 OK\r\n\r\n"), Pour]),
    ("silent", &[Wait]),
    ("takes", &[TakeSome(1_000), Take]),
    ("hints", &[TakeSome(1_000), Say("HTTP/1.1 103 Early Hints\r\n\r\n"), Take]),
    ("answers", &[TakeSome(1_000), Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), Take]),
    ("over", &[AfterOthers, Say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nover")]),
];
const HTTP2: &[Script] = &[
    ("pours", &[Head("200", &[]), Pour]),
    ("silent", &[Wait]),
    ("takes", &[TakeSome(1_000), Take]),
    ("answers", &[TakeSome(1_000), Head("200", &[("content-length", "9")]), Data("part"), Take]),
    ("over", &[AfterOthers, Head("200", &[]), Data("over"), End]),
];

#[test]
fn a_client_that_gives_up_closes_the_connection_to_an_http1_server() -> Result<()> {
    of_clients(Speaks::Http, HTTP1, "closed")
}

#[test]
fn a_client_that_gives_up_resets_the_stream_to_an_http2_server() -> Result<()> {
    of_clients(Speaks::H2c, HTTP2, "reset CANCEL")
}

/// curl gives up in the middle, of a download, an upload, and what never begins.
fn of_clients(speaks: Speaks, scripts: &[Script], ended: &str) -> Result<()> {
    // So long that it is never the router that loses patience.
    let (mut lab, server) = Faulty::lab(speaks, "60s", scripts.to_vec())?;
    // How long a client of HTTP/1.1 waits that has ended its half: one that is gone looks the same. Longer than curl goes
    // on, which reads slowly.
    lab.reload(|config| config.set_limit("request_timeout", "\"4s\""))?;
    let body = format!("@{}", lab.home().write("body", &"x".repeat(1_000_000))?.display());
    let mut times = 0;
    for version in Curl::VERSIONS {
        times += 1;
        for (name, options) in [
            ("pours", &["--limit-rate", "200k"][..]),
            ("silent", &[]),
            ("takes", &["--limit-rate", "200k", "--data-binary", &body]),
        ] {
            // curl goes without a word when it has not sent all.
            if (version, name) == ("--http3-only", "takes") {
                continue;
            }
            let curl = Curl::over(version, lab.wire().namespace(), &lab.url(&format!("/{name}")));
            let curl = options.iter().fold(curl, |curl, option| curl.option(option));
            // Long enough for a handshake and some octets where other tests have the CPUs.
            let curl = curl.option("--output").option("/dev/null").option("--max-time").option("2");
            let gave_up = curl.start()?.finish(Duration::from_secs(10))?;
            assert_eq!(gave_up.status.code(), Some(28), "{version} {name}: {}", gave_up.stderr);
            let begun = Instant::now();
            let all = until(|| Ok(server.of(name)), |all| all.len() == times && all[times - 1].ended.is_some())?;
            ensure!(begun.elapsed() < AT_ONCE, "{version} {name}: after {:?}", begun.elapsed());
            assert_eq!(all[times - 1].ended.as_deref(), Some(ended), "{version} {name}");
            expect_little(&all[times - 1]).with_context(|| format!("{version} {name}"))?;
        }
    }
    lab.await_status(|status| status.upstreams[0].in_flight == 0 && status.upstreams[0].failures_total == 0)?;
    expect_cancelled(&lab, 8)
}

/// What a client says with a code of its own; then it asks for something else on the same connection,
/// which is answered when the server has seen the end of the first.
#[test]
fn stop_sending_and_reset_stream_are_answered_with_their_code() -> Result<()> {
    let cancel = |by, code| Cancel { by, code };
    for (speaks, scripts, ended) in [(Speaks::Http, HTTP1, "closed"), (Speaks::H2c, HTTP2, "reset CANCEL")] {
        let (lab, server) = Faulty::lab(speaks, "60s", scripts.to_vec())?;
        let mut cases = vec![
            (3, "GET", "pours", cancel("stop", H3_REQUEST_CANCELLED), "200 reset 0x10c, then 200"),
            (3, "GET", "pours", cancel("stop", H3_NO_ERROR), "200 reset 0x100, then 200"),
            (3, "GET", "pours", cancel("stop", 0x33), "200 reset 0x33, then 200"),
            (3, "POST", "answers", cancel("reset", H3_REQUEST_CANCELLED), "200 reset 0x10c, then 200"),
            (3, "POST", "answers", cancel("both", H3_REQUEST_CANCELLED), "200 reset 0x10c, then 200"),
            (2, "GET", "pours", cancel("reset", H2_CANCEL), "200 cancelled, then 200"),
            (2, "POST", "answers", cancel("reset", H2_CANCEL), "200 cancelled, then 200"),
        ];
        if speaks == Speaks::Http {
            // Before there is an answer: hyper does not hear hints from HTTP/2 servers.
            cases.extend([
                (3, "POST", "hints", cancel("stop", H3_REQUEST_CANCELLED), "103 reset 0x10c, then 200"),
                (3, "POST", "hints", cancel("reset", H3_REQUEST_CANCELLED), "103 reset 0x10c, then 200"),
                (3, "POST", "hints", cancel("both", 0x33), "103 reset 0x33, then 200"),
            ]);
        }
        let asked: Vec<Rude> = cases
            .iter()
            .map(|(http, method, name, cancel, _)| {
                let body = if *method == "POST" { "x".repeat(2_000) } else { String::new() };
                Whole::new(*http, method, &format!("/{name}")).body(body).cancelled(*cancel, "/over").into()
            })
            .collect();
        let outcomes = Rude::ask(&lab, &asked)?;
        let of_server: Vec<_> = server.exchanges().into_iter().filter(|exchange| exchange.script != "over").collect();
        assert_eq!(of_server.len(), cases.len(), "{of_server:?}");
        for (((http, _, name, how, expected), came), exchange) in cases.iter().zip(&outcomes).zip(&of_server) {
            assert_eq!(came, expected, "{speaks:?}: HTTP/{http} {name} {how:?}");
            assert_eq!(exchange.ended.as_deref(), Some(ended), "{speaks:?}: HTTP/{http} {name} {how:?}");
            expect_little(exchange)?;
        }
        assert_eq!(lab.control().status()?.upstreams[0].failures_total, 0, "nothing of it is the server's fault");
        expect_cancelled(&lab, cases.len())?;
    }
    Ok(())
}

/// What the client does not take is not taken from the server.
fn expect_little(exchange: &Exchange) -> Result<()> {
    ensure!(exchange.poured < WINDOWS, "{exchange:?}");
    Ok(())
}

/// So many requests are written down as cancelled by the client.
fn expect_cancelled(lab: &Running, count: usize) -> Result<()> {
    let is_cancelled = |line: &&Value| line["path"] != "/over";
    let lines = lab.await_access_log(|lines| lines.iter().filter(is_cancelled).count() >= count)?;
    let outcomes: Vec<_> = lines.iter().filter(is_cancelled).map(|line| &line["outcome"]).collect();
    ensure!(outcomes == vec!["client_cancelled"; count], "{outcomes:?}");
    Ok(())
}

/// RFC 9114 section 8.1.
const H3_NO_ERROR: u64 = 0x100;
const H3_REQUEST_CANCELLED: u64 = 0x10c;
/// RFC 9113 section 7.
const H2_CANCEL: u64 = 8;
/// Much less than the router waits for an answer, in [`of_clients`].
const AT_ONCE: Duration = Duration::from_secs(20);
/// More than the windows and buffers between the server and a client that does not read: the kernel's
/// for the server's connection alone may grow to 32 MiB (`net.ipv4.tcp_rmem`).
const WINDOWS: usize = 64 * 1024 * 1024;
