//! Are ambiguous and malformed requests (request smuggling and its like) refused, or handed on in the one form that every
//! server reads alike (RFC 9110, 9112, 9113, 9114)?
//!
//! Each table has a line for a case: what is sent, what the client gets, and what reaches the server,
//! without what the router adds to every request.

use anyhow::{Result, ensure};
use router_tests::lab::{Lab, Message, Recorder, Running, UPSTREAM4, peers::Rude};

/// `(what is sent, what comes of it, what reaches the server)`. Behind each case goes another
/// request, `LAST`, which must never be taken for a part of it, nor a part of it for a request.
const HTTP1: &[(&str, &str, &[&str])] = &[
    ("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n", "200 200", &["GET / | host: a.test"]),
    // RFC 9112 section 3.2: the authority.
    ("GET http://b.test/x?y HTTP/1.1\r\nhost: a.test\r\n\r\n", "200 200", &["GET /x?y | host: b.test"]),
    ("GET http://b.test?y HTTP/1.1\r\nhost: a.test\r\n\r\n", "200 200", &["GET /?y | host: b.test"]),
    ("GET //b.test/x HTTP/1.1\r\nhost: a.test\r\n\r\n", "200 200", &["GET //b.test/x | host: a.test"]),
    ("GET / HTTP/1.1\r\nx: 1\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test\r\nhost: a.test\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test\r\nHOST: b.test\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test/x\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: u@a.test\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: \r\n\r\n", "400", &[]),
    ("GET / HTTP/1.0\r\nhost: a.test\r\n\r\n", "200", &["GET / | host: a.test"]),
    // Section 3.2.4, and CONNECT.
    ("OPTIONS * HTTP/1.1\r\nhost: a.test\r\n\r\n", "200 200", &["OPTIONS * | host: a.test"]),
    ("GET * HTTP/1.1\r\nhost: a.test\r\n\r\n", "400", &[]),
    ("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n", "501", &[]),
    // Section 3: the request line.
    ("GET /a b HTTP/1.1\r\nhost: a.test\r\n\r\n", "400", &[]),
    ("GET  / HTTP/1.1\r\nhost: a.test\r\n\r\n", "400", &[]),
    ("GET / http/1.1\r\nhost: a.test\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.2\r\nhost: a.test\r\n\r\n", "400", &[]),
    ("GET / HTTP/2.0\r\nhost: a.test\r\n\r\n", "400", &[]),
    ("GET x HTTP/1.1\r\nhost: a.test\r\n\r\n", "400", &[]),
    ("GET /%0d%0ax:%201 HTTP/1.1\r\nhost: a.test\r\n\r\n", "200 200", &["GET /%0D%0Ax:%201 | host: a.test"]),
    // RFC 3986 section 6.2.2: one form of a path, and none above the root.
    ("GET /z/../x/./y?a=/../b%2e HTTP/1.1\r\nhost: a.test\r\n\r\n", "200 200", &["GET /x/y?a=/../b%2e | host: a.test"]),
    ("GET /%7ex/%2e%2E/y%c3%a9%2fz HTTP/1.1\r\nhost: a.test\r\n\r\n", "200 200", &["GET /y%C3%A9%2Fz | host: a.test"]),
    ("GET /../x HTTP/1.1\r\nhost: a.test\r\n\r\n", "400 200", &[]),
    ("GET /x%2f..%2f..%2fy HTTP/1.1\r\nhost: a.test\r\n\r\n", "400 200", &[]),
    ("GET /x%00 HTTP/1.1\r\nhost: a.test\r\n\r\n", "400 200", &[]),
    ("GET /x%zz HTTP/1.1\r\nhost: a.test\r\n\r\n", "400 200", &[]),
    // Sections 2.2 and 5: lines and fields.
    ("GET / HTTP/1.1\nhost: a.test\n\n", "200 200", &["GET / | host: a.test"]),
    ("GET / HTTP/1.1\r\nhost : a.test\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test\r\nx: 1\r\n 2\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\n host: a.test\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test\r\nx y: 1\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test\r\nx: 1\rtransfer-encoding: chunked\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test\r\nx: \0\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test\r\n: 1\r\n\r\n", "400", &[]),
    ("GET / HTTP/1.1\r\nhost: a.test\r\nx: \u{e9}\r\n\r\n", "200 200", &["GET / | host: a.test | x: \u{e9}"]),
    // Section 6: how long a body is.
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\n\r\nhello",
        "200 200",
        &["POST / | content-length: 5 | host: a.test || hello"],
    ),
    (
        "GET / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\n\r\nhello",
        "200 200",
        &["GET / | content-length: 5 | host: a.test || hello"],
    ),
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
        "200 200",
        &["POST / | host: a.test | transfer-encoding: chunked || hello"],
    ),
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "200 200",
        &["POST / | host: a.test | transfer-encoding: chunked || hello"],
    ),
    (
        "GET / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "200 200",
        &["GET / | host: a.test | transfer-encoding: chunked || hello"],
    ),
    // Both: by the coding alone, and nothing behind it is a request (section 6.1).
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "200",
        &["POST / | host: a.test"],
    ),
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        "200",
        &["POST / | host: a.test"],
    ),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "400", &[]),
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        "200 200",
        &["POST / | content-length: 5 | host: a.test || hello"],
    ),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5, 5\r\n\r\nhello", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: +5\r\n\r\nhello", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: -5\r\n\r\nhello", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0x5\r\n\r\nhello", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: \r\n\r\n", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 36893488147419103237\r\n\r\nhello", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "501", &[]),
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        "400",
        &[],
    ),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n", "400", &[]),
    ("POST / HTTP/1.0\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "400", &[]),
    // Section 7.1: chunks.
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", "400", &[]),
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        "400",
        &[],
    ),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n", "400", &[]),
    ("POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5;x\ny\r\nhello\r\n0\r\n\r\n", "400", &[]),
    // RFC 9110 section 7.6: what is about the connection.
    (
        "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: x-mine, keep-alive\r\nx-mine: 1\r\nkeep-alive: 5\r\n\r\n",
        "200 200",
        &["GET / | host: a.test"],
    ),
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\nconnection: content-length\r\ncontent-length: 5\r\n\r\nhello",
        "200 200",
        &["POST / | host: a.test | transfer-encoding: chunked || hello"],
    ),
    ("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: host\r\n\r\n", "200 200", &["GET / | host: a.test"]),
    (
        "GET / HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n\r\n",
        "200 200",
        &["GET / | host: a.test"],
    ),
    (
        "GET / HTTP/1.1\r\nhost: a.test\r\nproxy-connection: close\r\nte: trailers\r\n\r\n",
        "200 200",
        &["GET / | connection: te | host: a.test | te: trailers"],
    ),
    // Only the router says who a client is, whatever the spelling, in heads and in trailers.
    (
        "GET / HTTP/1.1\r\nhost: a.test\r\nX_Client_Cert_Subject: CN=admin\r\nx.forwarded.for: 192.0.2.1\r\n\
         X-Real-IP: 192.0.2.1\r\nx_original-url: /x\r\nProxy: a.test\r\nx-kept: 1\r\n\r\n",
        "200 200",
        &["GET / | host: a.test | x-kept: 1"],
    ),
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\ntrailer: x-sum, x-real-ip, host\r\n\r\n\
         5\r\nhello\r\n0\r\nX_Real_IP: 192.0.2.1\r\nx-real-ip: 192.0.2.1\r\nhost: b.test\r\nx-sum: 7\r\n\r\n",
        "200 200",
        &[
            "POST / | host: a.test | trailer x-sum: 7 | trailer: x-sum, x-real-ip, host | transfer-encoding: chunked || hello",
        ],
    ),
    // Section 10.1.1.
    (
        "POST / HTTP/1.1\r\nhost: a.test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
        "100 200 200",
        &["POST / | content-length: 5 | host: a.test || hello"],
    ),
];

/// `(fields beside the usual ones, body, what comes of it over HTTP/2, over HTTP/3, what reaches the
/// server)`. A field that is `GONE` takes the usual one of its name away.
type Fields = (&'static [(&'static str, &'static str)], &'static str, [&'static str; 2], &'static [&'static str]);

const FIELDS: &[Fields] = &[
    (&[], "", ["200", "200"], &["GET / | host: a.test"]),
    // RFC 9113 section 8.3.1, RFC 9114 section 4.3.1: the authority.
    (&[("host", "a.test")], "", ["200", "200"], &["GET / | host: a.test"]),
    (&[("host", "b.test")], "", ["400", "reset 0x10e"], &[]),
    (&[("host", "a.test"), ("host", "a.test")], "", ["400", "400"], &[]),
    (&[(":authority", GONE), ("host", "b.test")], "", ["200", "200"], &["GET / | host: b.test"]),
    (&[(":authority", GONE)], "", ["400", "reset 0x10e"], &[]),
    (&[(":authority", GONE), (":authority", "")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":authority", GONE), (":authority", "u@a.test")], "", ["400", "400"], &[]),
    (&[(":authority", GONE), (":authority", "a.test/x")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":authority", GONE), (":authority", "a.test, b.test")], "", ["reset 0x1", "reset 0x10e"], &[]),
    // Pseudo-header fields: all, once, first, and no others.
    (&[(":path", GONE)], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":path", GONE), (":path", "")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":method", GONE)], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":scheme", GONE)], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":path", "/x")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":method", "POST")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":path", GONE), ("x", "1"), (":path", "/")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":status", "200")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":x", "1")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[(":path", GONE), (":path", "x")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":path", GONE), (":path", "*")], "", ["400", "400"], &[]),
    (
        &[(":path", GONE), (":path", "*"), (":method", GONE), (":method", "OPTIONS")],
        "",
        ["200", "200"],
        &["OPTIONS * | host: a.test"],
    ),
    (&[(":path", GONE), (":path", "/x y")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":path", GONE), (":path", "/ HTTP/1.1\r\nhost: b.test")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":path", GONE), (":path", "http://b.test/")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":path", GONE), (":path", "//b.test/")], "", ["200", "200"], &["GET //b.test/ | host: a.test"]),
    (&[(":method", GONE), (":method", "GET /x HTTP/1.1\r\n")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[(":method", GONE), (":method", "")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[(":method", GONE), (":method", "get")], "", ["200", "200"], &["get / | host: a.test"]),
    (&[(":scheme", GONE), (":scheme", "http")], "", ["200", "200"], &["GET / | host: a.test"]),
    (&[(":scheme", GONE), (":scheme", "a b")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[(":method", GONE), (":method", "CONNECT"), (":scheme", GONE), (":path", GONE)], "", ["501", "501"], &[]),
    (&[(":method", GONE), (":method", "CONNECT"), (":protocol", "websocket")], "", ["reset 0x1", "reset 0x10e"], &[]),
    // RFC 9113 section 8.2.1, RFC 9114 section 4.2: names and values.
    (&[("X-A", "1")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[("x a", "1")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[("x:a", "1")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[("x\r\ny", "1")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[("x", "1\r\ntransfer-encoding: chunked")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[("x", "1\n2")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[("x", "1\0x")], "", ["closed 0x1", "reset 0x10e"], &[]),
    (&[("x", " 1")], "", ["400", "400"], &[]),
    (&[("x", "1\t")], "", ["400", "400"], &[]),
    (&[("x", "\u{e9}")], "", ["200", "200"], &["GET / | host: a.test | x: \u{e9}"]),
    (
        &[
            ("x_client_cert_subject", "CN=admin"),
            ("x.client-cert-fingerprint", "00"),
            ("x_forwarded_for", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-port", "1"),
            ("true-client-ip", "192.0.2.1"),
            ("proxy", "a.test"),
            ("x-kept", "1"),
        ],
        "",
        ["200", "200"],
        &["GET / | host: a.test | x-kept: 1"],
    ),
    (&[("x", "")], "", ["200", "200"], &["GET / | host: a.test | x: "]),
    // RFC 9113 section 8.2.2, RFC 9114 section 4.2: what is about the connection.
    (&[("connection", "close")], "", ["reset 0x1", "400"], &[]),
    (&[("connection", "x"), ("x", "1")], "", ["reset 0x1", "400"], &[]),
    (&[("keep-alive", "5")], "", ["reset 0x1", "400"], &[]),
    (&[("proxy-connection", "close")], "", ["reset 0x1", "400"], &[]),
    (&[("upgrade", "h2c")], "", ["reset 0x1", "400"], &[]),
    (&[("transfer-encoding", "chunked")], "0\r\n\r\n", ["reset 0x1", "400"], &[]),
    (&[("te", "gzip")], "", ["reset 0x1", "400"], &[]),
    (&[("te", "trailers")], "", ["200", "200"], &["GET / | connection: te | host: a.test | te: trailers"]),
    // RFC 9113 section 8.1.1, RFC 9114 section 4.1.2: how long a body is.
    (&[("content-length", "5")], "hello", ["200", "200"], &["GET / | content-length: 5 | host: a.test || hello"]),
    (&[("content-length", "5")], "", ["reset 0x1", "reset 0x10e"], &[]),
    (&[("content-length", "5")], "hell", ["reset 0x1", "reset 0x10e"], &[]),
    (&[("content-length", "5")], "hello!", ["reset 0x1", "reset 0x10e"], &[]),
    (&[("content-length", "0")], "hello", ["reset 0x1", "reset 0x10e"], &[]),
    (&[("content-length", "5"), ("content-length", "5")], "hello", ["400", "400"], &[]),
    (&[("content-length", "5"), ("content-length", "6")], "hello", ["reset 0x1", "400"], &[]),
    (&[("content-length", "5, 5")], "hello", ["reset 0x1", "400"], &[]),
    (&[("content-length", "+5")], "hello", ["reset 0x1", "400"], &[]),
    (&[("content-length", "")], "", ["400", "400"], &[]),
    (&[], "hello", ["200", "200"], &["GET / | host: a.test | transfer-encoding: chunked || hello"]),
    // RFC 9113 section 8.2.3, RFC 9114 section 4.2.1.
    (&[("cookie", "a=1"), ("cookie", "b=2")], "", ["200", "200"], &["GET / | cookie: a=1; b=2 | host: a.test"]),
];

#[test]
fn requests_over_http1() -> Result<()> {
    let (lab, recorder) = lab()?;
    let case = |(number, (text, ..)): (usize, &(&str, _, _))| {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        Rude::Text { http: 1, text: format!("{line}\n{NUMBER}: {number}\r\n{rest}{LAST}") }
    };
    let cases: Vec<_> = HTTP1.iter().enumerate().map(case).collect();
    let outcomes = Rude::ask(&lab, &cases)?;
    let heard = heard(&recorder, HTTP1.len())?;
    let mut wrong = Vec::new();
    for (((text, outcome, reached), came), heard) in HTTP1.iter().zip(&outcomes).zip(&heard) {
        if came != outcome || heard != reached {
            wrong.push(format!("{text:?}\n    {came}, {heard:?}\n    not {outcome}, {reached:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn requests_over_http2_and_http3() -> Result<()> {
    let (lab, recorder) = lab()?;
    let mut wrong = Vec::new();
    for http in [2, 3] {
        let case = |(number, (fields, body, ..)): (usize, &Fields)| {
            let mut all: Vec<_> = USUAL.iter().filter(|(name, _)| !fields.contains(&(name, GONE))).copied().collect();
            let number = number.to_string();
            all.extend(fields.iter().filter(|(_, value)| *value != GONE));
            all.push((NUMBER, &number));
            let fields = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            Rude::Fields { http, fields, body: (*body).to_owned() }
        };
        let cases: Vec<_> = FIELDS.iter().enumerate().map(case).collect();
        let outcomes = Rude::ask(&lab, &cases)?;
        let heard = heard(&recorder, FIELDS.len())?;
        for (((fields, _, outcome, reached), came), heard) in FIELDS.iter().zip(&outcomes).zip(&heard) {
            let outcome = outcome[usize::from(http - 2)];
            if came != outcome || heard != reached {
                wrong.push(format!("HTTP/{http} {fields:?}\n    {came}, {heard:?}\n    not {outcome}, {reached:?}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn lab() -> Result<(Running, Recorder)> {
    let mut lab = Lab::new().build()?;
    let recorder = Recorder::start(lab.network().upstream(), PORT)?;
    lab.reconfigure(|config| {
        config.listen_on_tcp();
        config.rest = format!(
            "[[route]]\nupstream = \"recorder\"\n[upstream.recorder]\nservers = [\"http://{UPSTREAM4}:{PORT}\"]\n"
        );
    });
    lab.start_agent()?;
    Ok((lab, recorder))
}

/// What reached the server of each case. What is of none was made up on the way.
fn heard(recorder: &Recorder, cases: usize) -> Result<Vec<Vec<String>>> {
    let mut of_cases = vec![Vec::new(); cases];
    for message in recorder.take().into_iter().filter(|message| message.line != "GET /last HTTP/1.1") {
        let number = message.field(NUMBER).and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| of_cases.get_mut(number)) {
            Some(of_case) => of_case.push(shown(&message)),
            None => anyhow::bail!("no case has asked {message:?}"),
        }
    }
    Ok(of_cases)
}

/// `METHOD TARGET | FIELD | ... || BODY`
fn shown(message: &Message) -> String {
    let mut fields: Vec<_> = message.fields.iter().filter(|field| !ADDED.iter().any(|name| is(field, name))).collect();
    fields.sort();
    let line = message.line.strip_suffix(" HTTP/1.1").unwrap_or("not HTTP/1.1");
    let mut shown = fields.into_iter().fold(line.to_owned(), |shown, field| shown + " | " + field);
    if !message.body.is_empty() {
        shown += &format!(" || {}", message.body);
    }
    shown
}

fn is(field: &str, name: &str) -> bool {
    field.split_once(':').is_some_and(|(given, _)| given.eq_ignore_ascii_case(name))
}

const PORT: u16 = 8090;
const GONE: &str = "gone";
const NUMBER: &str = "x-case";
const LAST: &str = "GET /last HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";
const USUAL: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];
/// What the router says of itself and of the client.
const ADDED: [&str; 7] =
    [NUMBER, "forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "traceparent"];
