//! Do trailers, responses to HEAD and `100 Continue` pass between all versions of HTTP?

use anyhow::Result;
use router_tests::lab::{
    faulty::{Act::*, Faulty, Script, Speaks},
    peers::{Curl, Rude, Whole},
};

const HTTP1: &[Script] = &[
    ("trailers", &[Take, Say(CHUNKED), Say("2\r\nok\r\n0\r\nx-sum: 7\r\nset-cookie: a=1\r\nx-more: 8\r\n\r\n")]),
    ("head", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")]),
    ("takes", &[Take, Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")]),
];
const HTTP2: &[Script] = &[
    ("trailers", &[Take, Head("200", &[("trailer", "x-sum, set-cookie, x-more")]), Data("ok"), Trailers(SAID)]),
    ("head", &[Head("200", &[("content-length", "2")]), End]),
    ("takes", &[Take, Head("200", &[]), Data("ok"), End]),
];
const SERVERS: [(Speaks, &[Script]); 2] = [(Speaks::Http, HTTP1), (Speaks::H2c, HTTP2)];

/// Only fields that clients and servers may set: who a client is, or what belongs in a head, passes neither way.
#[test]
fn trailers_pass_both_ways() -> Result<()> {
    for (speaks, scripts) in SERVERS {
        let (lab, server) = Faulty::lab(speaks, "5s", scripts.to_vec())?;
        let ask = |http| {
            let whole = Whole::new(http, "POST", "/trailers").field("te", "trailers").field("trailer", ANNOUNCED);
            let whole = whole.body("hello");
            let whole = whole.trailer("x-check", "1").trailer("x-client-cert-subject", "CN=admin");
            Rude::from(whole.trailer("x_forwarded_for", "192.0.2.1").trailer("x-also", "2"))
        };
        let outcomes = Rude::ask(&lab, &[ask(2), ask(3)])?;
        assert_eq!(outcomes, ["200 2 x-sum: 7 x-more: 8"; 2], "{speaks:?}");
        // HTTP/1.1 clients have to be told of them in advance.
        let curl = Curl::over("--http1.1", lab.wire().namespace(), &lab.url("/trailers"));
        let raw = curl.option("--raw").option("--header").option("te: trailers").succeed()?;
        assert_eq!(raw.lines().next(), Some("2"), "{speaks:?}: {raw}");
        let text = "POST /trailers HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\ntrailer: x-check, x-real-ip, x-also\r\n\
                    connection: close\r\n\r\n\
                    5\r\nhello\r\n0\r\nx-check: 1\r\nx-real-ip: 192.0.2.1\r\nx-also: 2\r\n\r\n";
        assert_eq!(Rude::ask(&lab, &[Rude::Text { http: 1, text: text.into() }])?, ["200"], "{speaks:?}");
        let heard: Vec<_> = server.of("trailers").into_iter().map(|it| (it.received, it.trailers)).collect();
        let trailers = vec!["x-check: 1".to_owned(), "x-also: 2".to_owned()];
        let expected = [(5, trailers.clone()), (5, trailers.clone()), (0, vec![]), (5, trailers)];
        assert_eq!(heard, expected, "{speaks:?}");
    }
    Ok(())
}

/// The length that GET would have had is said, and nothing is waited for.
#[test]
fn head_responses_have_no_body() -> Result<()> {
    for (speaks, scripts) in SERVERS {
        let (lab, server) = Faulty::lab(speaks, "5s", scripts.to_vec())?;
        for version in Curl::VERSIONS {
            let curl = Curl::over(version, lab.wire().namespace(), &lab.url("/head"));
            let said = curl.option("--head").succeed()?.to_ascii_lowercase();
            assert!(said.contains(" 200") && said.lines().any(|line| line.trim() == "content-length: 2"), "{said}");
        }
        let numbers: Vec<_> = server.of("head").iter().map(|exchange| exchange.number).collect();
        assert_eq!(numbers, [1, 2, 3], "{speaks:?}: its connection is good for more");
    }
    Ok(())
}

/// A client that waits for a word before it sends the body gets it: without, it would wait longer than it may.
#[test]
fn expect_100_continue_is_answered() -> Result<()> {
    for (speaks, scripts) in SERVERS {
        let (lab, server) = Faulty::lab(speaks, "20s", scripts.to_vec())?;
        let body = format!("@{}", lab.home().write("body", &"x".repeat(100_000))?.display());
        for version in Curl::VERSIONS {
            let curl = Curl::over(version, lab.wire().namespace(), &lab.url("/takes"));
            // hyper has no such word for HTTP/2 clients, and they do not wait for ever.
            let patience = if version == "--http2" { "0.1" } else { "20" };
            let curl = ["--header", "expect: 100-continue", "--expect100-timeout", patience, "--max-time", "10"]
                .iter()
                .fold(curl, |curl, option| curl.option(option));
            assert_eq!(curl.option("--data-binary").option(&body).succeed()?.trim(), "ok", "{speaks:?} {version}");
        }
        assert!(server.of("takes").iter().all(|exchange| exchange.received == 100_000), "{:?}", server.exchanges());
    }
    Ok(())
}

/// hyper sends others to no HTTP/1.1 server.
const ANNOUNCED: &str = "x-check, x-client-cert-subject, x_forwarded_for, x-also";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, set-cookie, x-more\r\n\r\n";
const SAID: &[(&str, &str)] = &[("x-sum", "7"), ("set-cookie", "a=1"), ("x-more", "8")];
