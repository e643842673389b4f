//! What do clients get when the upstream server is slow, breaks off, or sends malformed answers?
//!
//! The tables have a line for a case: what the server does, what comes of it for the client, and
//! what is written down. curl shows it over each version of HTTP, and asks for something else on
//! the same connection behind it, which has to come whole; aioquic and h2 show the codes of streams.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use router_tests::lab::{
    Running,
    faulty::{Act, Act::*, Faulty, GOOD, Script, Speaks},
    peers::{Curl, Rude, Whole},
    until,
};

/// What comes of a request.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// An answer with so many octets of body, as the server meant it or in its place.
    Answer(u16, usize),
    /// The router's own sentence.
    Sentence(u16),
    /// The same; before it, to HTTP/3 clients, these.
    Hinted(&'static str, u16, usize),
    /// A head with this status, and then the stream breaks off: no client takes it for a whole one.
    Broken(u16),
}

use Comes::{Answer, Broken, Hinted, Sentence};

/// `(name, what the server does, what the client gets, outcome in the access log, failures of the server's)`
type Case = (&'static str, &'static [Act], Comes, &'static str, u64);

/// A response with another behind it: if the router took that for an answer, it would be another request's.
/// In one write, as what comes when the next request is on its way already is an answer to that.
macro_rules! and_evil {
    ($text:literal) => {
        Say(concat!($text, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nso evil"))
    };
}

const HTTP1: &[Case] = &[
    // Slow.
    ("silent", &[Wait], Sentence(504), TIMED_OUT, 1),
    ("half-a-head", &[Say("HTTP/1.1 200 OK\r\ncontent-le"), Wait], Sentence(504), TIMED_OUT, 1),
    ("stalls", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), Wait], Broken(200), TIMED_OUT, 1),
    ("stalls-in-a-chunk", &[Say(CHUNKED), Say("9\r\npart"), Wait], Broken(200), TIMED_OUT, 1),
    ("stalls-between-chunks", &[Say(CHUNKED), Say("4\r\npart\r\n"), Wait], Broken(200), TIMED_OUT, 1),
    ("stalls-at-once", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), Wait], Broken(200), TIMED_OUT, 1),
    // Gone before the head's end.
    ("closes", &[Close], Sentence(502), BROKE, 1),
    ("half-closes", &[HalfClose], Sentence(502), BROKE, 1),
    ("resets", &[Reset(0)], Sentence(502), BROKE, 1),
    ("closes-in-the-head", &[Say("HTTP/1.1 200 OK\r\ncontent-le"), Close], Sentence(502), BROKE, 1),
    // Gone in the body.
    ("short", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), Close], Broken(200), BROKE, 1),
    ("short-half-closed", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), HalfClose], Broken(200), BROKE, 1),
    ("resets-in-the-body", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), Reset(0)], Broken(200), BROKE, 1),
    ("closes-in-a-chunk", &[Say(CHUNKED), Say("9\r\npart"), Close], Broken(200), BROKE, 1),
    ("closes-before-the-last-chunk", &[Say(CHUNKED), Say("4\r\npart\r\n"), Close], Broken(200), BROKE, 1),
    ("closes-in-the-last-chunk", &[Say(CHUNKED), Say("4\r\npart\r\n0\r\n"), Close], Broken(200), BROKE, 1),
    ("resets-in-a-chunk", &[Say(CHUNKED), Say("9\r\npart"), Reset(0)], Broken(200), BROKE, 1),
    ("resets-without-a-length", &[Say("HTTP/1.1 200 OK\r\n\r\npart"), Reset(0)], Broken(200), BROKE, 1),
    // The end of the connection is the end of the body only where nothing else is said.
    ("ends-with-the-connection", &[Say("HTTP/1.1 200 OK\r\n\r\nwhole"), Close], Answer(200, 5), COMPLETE, 0),
    ("ends-half-closed", &[Say("HTTP/1.1 200 OK\r\n\r\nwhole"), HalfClose], Answer(200, 5), COMPLETE, 0),
    ("of-old", &[Say("HTTP/1.0 200 OK\r\n\r\nwhole"), Close], Answer(200, 5), COMPLETE, 0),
    // Lies about the length. What is behind a response belongs to none.
    ("longer", &[and_evil!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Wait], Answer(200, 2), COMPLETE, 0),
    ("longer-by-a-chunk", &[Say(CHUNKED), and_evil!("2\r\nok\r\n0\r\n\r\n"), Wait], Answer(200, 2), COMPLETE, 0),
    ("content-of-204", &[and_evil!("HTTP/1.1 204 No Content\r\n\r\n"), Wait], Answer(204, 0), COMPLETE, 0),
    (
        "length-of-304",
        &[and_evil!("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"), Wait],
        Answer(304, 0),
        COMPLETE,
        0,
    ),
    (
        "two-lengths",
        &[Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!"), Wait],
        Sentence(502),
        BROKE,
        1,
    ),
    ("a-list-of-lengths", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok!"), Wait], Sentence(502), BROKE, 1),
    ("no-number", &[Say("HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\nok"), Wait], Sentence(502), BROKE, 1),
    ("negative", &[Say("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok"), Wait], Sentence(502), BROKE, 1),
    ("signed", &[Say("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok"), Wait], Sentence(502), BROKE, 1),
    (
        "length-and-chunks",
        &[Say("HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")],
        Answer(200, 2),
        COMPLETE,
        0,
    ),
    // No HTTP.
    ("nonsense", &[Say("hello\r\n\r\n"), Wait], Sentence(502), BROKE, 1),
    ("another-protocol", &[Say("ICAP/1.0 200 OK\r\n\r\n"), Wait], Sentence(502), BROKE, 1),
    ("another-version", &[Say("HTTP/3.0 200 OK\r\n\r\n"), Wait], Sentence(502), BROKE, 1),
    ("status-too-long", &[Say("HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n"), Wait], Sentence(502), BROKE, 1),
    ("status-too-low", &[Say("HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n"), Wait], Sentence(502), BROKE, 1),
    ("no-colon", &[Say("HTTP/1.1 200 OK\r\nx\r\ncontent-length: 2\r\n\r\nok"), Wait], Sentence(502), BROKE, 1),
    ("folded", &[Say("HTTP/1.1 200 OK\r\nx: 1\r\n 2\r\ncontent-length: 2\r\n\r\nok"), Wait], Sentence(502), BROKE, 1),
    ("zero-octet", &[Say("HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 2\r\n\r\nok"), Wait], Sentence(502), BROKE, 1),
    (
        "space-in-a-name",
        &[Say("HTTP/1.1 200 OK\r\nx : 1\r\ncontent-length: 2\r\n\r\nok"), Wait],
        Sentence(502),
        BROKE,
        1,
    ),
    ("no-chunk-size", &[Say(CHUNKED), Say("zz\r\nok\r\n0\r\n\r\n"), Wait], Broken(200), BROKE, 1),
    ("chunk-too-long", &[Say(CHUNKED), Say("2\r\nok!\r\n0\r\n\r\n"), Wait], Broken(200), BROKE, 1),
    ("chunk-size-too-big", &[Say(CHUNKED), Say("10000000000000002\r\nok\r\n0\r\n\r\n"), Wait], Broken(200), BROKE, 1),
    ("unknown-coding", &[Say("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok"), Close], Sentence(502), BROKE, 1),
    ("switches", &[Say("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), Wait], Sentence(502), BROKE, 1),
    // Too much.
    ("field-too-big", &[Say("HTTP/1.1 200 OK\r\n"), Fields(1, 200_000), Say("\r\n"), Wait], Sentence(502), BROKE, 1),
    ("field-above-the-limit", &[Say(OK_BEGINS), Fields(1, 65_536), Say("\r\nok"), Wait], Sentence(502), BROKE, 1),
    ("field-below-the-limit", &[Say(OK_BEGINS), Fields(1, 65_000), Say("\r\nok")], Answer(200, 2), COMPLETE, 0),
    // hyper#3283: 64 KiB is the limit, not a number of fields.
    ("many-fields", &[Say(OK_BEGINS), Fields(101, 1), Say("\r\nok")], Answer(200, 2), COMPLETE, 0),
    ("fields-too-many", &[Say(OK_BEGINS), Fields(2_100, 1), Say("\r\nok"), Wait], Sentence(502), BROKE, 1),
    // Well, in an unusual way.
    ("hints", &[Say("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"), Say(OK)], Hinted("103", 200, 2), COMPLETE, 0),
    (
        "goes-on-twice",
        &[Say("HTTP/1.1 100 Continue\r\n\r\n"), Say("HTTP/1.1 100 Continue\r\n\r\n"), Say(OK)],
        Hinted("100 100", 200, 2),
        COMPLETE,
        0,
    ),
    ("bare-newlines", &[Say("HTTP/1.1 200 OK\ncontent-length: 2\n\nok")], Answer(200, 2), COMPLETE, 0),
];

const TLS: &[Case] = &[
    ("silent", &[Wait], Sentence(504), TIMED_OUT, 1),
    ("closes", &[Close], Sentence(502), BROKE, 1),
    ("cut", &[Cut], Sentence(502), BROKE, 1),
    ("short", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), Close], Broken(200), BROKE, 1),
    ("cut-in-the-body", &[Say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), Cut], Broken(200), BROKE, 1),
    ("cut-in-a-chunk", &[Say(CHUNKED), Say("9\r\npart"), Cut], Broken(200), BROKE, 1),
    // Only a server that sends close_notify has said all.
    ("ends-with-the-connection", &[Say("HTTP/1.1 200 OK\r\n\r\nwhole"), Close], Answer(200, 5), COMPLETE, 0),
    ("cut-without-a-length", &[Say("HTTP/1.1 200 OK\r\n\r\npart"), Cut], Broken(200), BROKE, 1),
    ("longer", &[and_evil!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), Wait], Answer(200, 2), COMPLETE, 0),
];

const HTTP2: &[Case] = &[
    ("silent", &[Wait], Sentence(504), TIMED_OUT, 1),
    ("stalls", &[Head("200", NINE), Data("part"), Wait], Broken(200), TIMED_OUT, 1),
    ("stalls-at-once", &[Head("200", NINE), Wait], Broken(200), TIMED_OUT, 1),
    ("resets", &[Reset(INTERNAL_ERROR)], Sentence(502), BROKE, 1),
    ("resets-for-no-reason", &[Reset(0)], Sentence(502), BROKE, 1),
    ("refuses", &[Reset(REFUSED_STREAM)], Sentence(502), BROKE, 1),
    ("closes", &[Close], Sentence(502), BROKE, 1),
    ("resets-in-the-body", &[Head("200", NINE), Data("part"), Reset(INTERNAL_ERROR)], Broken(200), BROKE, 1),
    ("cancels-in-the-body", &[Head("200", &[]), Data("part"), Reset(CANCEL)], Broken(200), BROKE, 1),
    ("closes-in-the-body", &[Head("200", NINE), Data("part"), Close], Broken(200), BROKE, 1),
    // Here the connection's end is never the body's.
    ("closes-without-a-length", &[Head("200", &[]), Data("part"), Close], Broken(200), BROKE, 1),
    ("short", &[Head("200", NINE), Data("part"), End], Broken(200), BROKE, 1),
    ("longer", &[Head("200", &[("content-length", "2")]), Data("ok!"), End], Broken(200), BROKE, 1),
    ("field-too-big", &[Fields(1, 200_000), Head("200", &[]), End], Sentence(502), BROKE, 1),
    ("field-above-the-limit", &[Fields(1, 65_536), Head("200", &[]), End], Sentence(502), BROKE, 1),
    ("field-below-the-limit", &[Fields(1, 65_000), Head("200", &[]), End], Answer(200, 0), COMPLETE, 0),
    ("without-a-length", &[Head("200", &[]), Data("whole"), End], Answer(200, 5), COMPLETE, 0),
];

#[test]
fn faults_of_http1_servers() -> Result<()> {
    see(Speaks::Http, HTTP1)
}

#[test]
fn faults_of_servers_in_tls() -> Result<()> {
    see(Speaks::Https, TLS)
}

#[test]
fn faults_of_http2_servers() -> Result<()> {
    see(Speaks::H2c, HTTP2)
}

/// Whether all of `cases` come as their lines say, over each version of HTTP.
fn see(speaks: Speaks, cases: &[Case]) -> Result<()> {
    let (lab, server) = Faulty::lab(speaks, "600ms", cases.iter().map(|(name, acts, ..)| (*name, *acts)).collect())?;
    let mut wrong = Vec::new();
    for client in CURLS {
        for case in cases {
            if let Some(why) = ask(&lab, &server, client, case).with_context(|| format!("{client:?}: {}", case.0))? {
                wrong.push(format!("{client:?}: {}: {why}", case.0));
            }
        }
    }
    for http in [2, 3] {
        wrong.extend(ask_rude(&lab, http, cases)?);
    }
    let outcomes = outcomes(&lab, cases.len() * (CURLS.len() * 2 + 2))?;
    for (name, _, _, outcome, _) in cases {
        let written = outcomes.get(*name).map_or(&[][..], Vec::as_slice);
        if written != [*outcome; 5] {
            wrong.push(format!("{name}: written down as {written:?}, not {outcome}"));
        }
    }
    ensure!(outcomes[GOOD].iter().all(|outcome| outcome == COMPLETE), "{:?}", outcomes[GOOD]);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// It accepts, and then there is nothing, not even a TLS handshake.
#[test]
fn servers_that_never_answer_a_tls_handshake() -> Result<()> {
    let (lab, _server) = Faulty::lab(Speaks::Nothing, "300ms", Vec::new())?;
    for (asked, Client(version, _)) in (1..).zip(CURLS) {
        let curl = Curl::over(version, lab.wire().namespace(), &lab.url("/"));
        assert_eq!(curl.writing("%{http_code}").succeed()?.trim(), "504", "{version}");
        let state = lab.control().status()?.upstreams.remove(0);
        assert_eq!((state.in_flight, state.failures_total), (0, asked), "{version}: {state:?}");
        ensure!(state.why.as_ref().is_some_and(|why| why.contains("300ms")), "{state:?}");
    }
    Ok(())
}

/// A server sends GOAWAY in the middle of a response: that comes whole, and no request is sent there again.
#[test]
fn http2_servers_that_send_goaway() -> Result<()> {
    let acts = &[Head("200", NINE), Data("part"), GoAway, Data("whole"), End];
    let (lab, server) = Faulty::lab(Speaks::H2c, "5s", vec![("leaves", acts)])?;
    for client in CURLS {
        let case = ("leaves", &acts[..], Answer(200, 9), COMPLETE, 0);
        ensure!(ask(&lab, &server, client, &case)?.is_none(), "{client:?}");
        // The next request comes by another connection, and the next `leaves` by that one.
        let (next, left) = (server.of(GOOD), server.of("leaves"));
        assert_eq!(next.last().map(|exchange| exchange.number), Some(1), "{client:?}: {next:?}");
        ensure!(left.iter().all(|exchange| exchange.ended.is_none()), "{client:?}: {left:?}");
    }
    Ok(())
}

/// A server closes an idle connection just as a request goes out on it: only what may be sent twice is.
#[test]
fn servers_that_close_an_idle_connection() -> Result<()> {
    for (speaks, acts) in [
        (Speaks::Http, [&[Take, Say(OK)][..], &[CloseUnlessFirst, Take, Say(OK)]]),
        (
            Speaks::H2c,
            [
                &[Take, Head("200", &[]), Data("ok"), End][..],
                &[CloseUnlessFirst, Take, Head("200", &[]), Data("ok"), End],
            ],
        ),
    ] {
        let (lab, server) = Faulty::lab(speaks, "5s", vec![("first", acts[0]), ("stale", acts[1])])?;
        let first = lab.url("/first");
        let (mut asked, mut failed) = (0, 0);
        for Client(version, _) in CURLS {
            for (method, body, again) in [
                ("GET", None, true),
                ("OPTIONS", None, true),
                ("PUT", None, true),
                ("DELETE", None, true),
                ("POST", None, false),
                ("PATCH", None, false),
                // It is gone when it has been sent once.
                ("PUT", Some("body"), false),
                ("POST", Some("body"), false),
            ] {
                // On the connection that this one leaves open, or one from before.
                Curl::over(version, lab.wire().namespace(), &first).option("--fail").succeed()?;
                let curl = Curl::over(version, lab.wire().namespace(), &lab.url("/stale"));
                let curl = curl.option("--request").option(method).writing("%{http_code}");
                let curl = body.iter().fold(curl, |curl, body| curl.option("--data").option(body));
                let status = curl.succeed()?;
                let what = format!("{speaks:?}: {version} {method} {body:?}");
                assert_eq!(status.trim(), if again { "200" } else { "502" }, "{what}");
                let seen = server.of("stale");
                let numbers: Vec<_> = seen[asked..].iter().map(|exchange| exchange.number == 1).collect();
                assert_eq!(numbers, if again { &[false, true][..] } else { &[false] }, "{what}: {seen:?}");
                asked = seen.len();
                failed += u64::from(!again);
                assert_eq!(lab.control().status()?.upstreams[0].failures_total, failed, "{what}");
            }
        }
    }
    Ok(())
}

/// The answer is there before the request's body, and comes whole.
#[test]
fn servers_that_answer_before_the_upload_ends() -> Result<()> {
    let scripts: Vec<Script> = vec![
        ("goes-on", &[Say(TOO_MUCH), Take]),
        ("reads-a-little", &[TakeSome(20_000), Say(TOO_MUCH), Take]),
        ("says-no-more", &[Say(TOO_MUCH), HalfClose]),
    ];
    let names: Vec<_> = scripts.iter().map(|(name, _)| *name).collect();
    let (lab, _server) = Faulty::lab(Speaks::Http, "5s", scripts)?;
    let body = format!("@{}", lab.home().write("body", &"x".repeat(3_000_000))?.display());
    for Client(version, _) in CURLS {
        for name in &names {
            let curl = Curl::over(version, lab.wire().namespace(), &lab.url(&format!("/{name}")));
            let curl = ["--data-binary", &body, "--write-out", " %{http_code} %{exitcode}"]
                .iter()
                .fold(curl, |curl, option| curl.option(option));
            let said = curl.start()?.finish(Duration::from_secs(20))?.stdout;
            assert_eq!(said.trim(), "no 413 0", "{version} {name}");
        }
    }
    Ok(())
}

/// The server closes with the upload unread, which resets its connection: its answer comes all the same
/// (rustical#77: 12 of 100 such uploads got 502).
#[test]
fn servers_that_refuse_uploads_and_close() -> Result<()> {
    const REFUSAL: Act = Say("HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
    let scripts: Vec<Script> =
        vec![("at-once", &[REFUSAL, Close]), ("in-the-middle", &[TakeSome(20_000), REFUSAL, Close])];
    let (lab, _server) = Faulty::lab(Speaks::Http, "5s", scripts)?;
    // The client's h2 sends no more than a frame.
    for (http, name, octets) in [(3, "at-once", 50_000), (3, "in-the-middle", 50_000), (2, "at-once", 16_000)] {
        let upload = || Whole::new(http, "POST", &format!("/{name}")).body("x".repeat(octets)).into();
        let outcomes = Rude::ask(&lab, &(0..100).map(|_| upload()).collect::<Vec<Rude>>())?;
        let wrong: Vec<_> = outcomes.iter().filter(|outcome| *outcome != "401 2").collect();
        ensure!(wrong.is_empty(), "HTTP/{http} {name}: {} of 100: {:?}", wrong.len(), wrong[0]);
    }
    assert_eq!(lab.control().status()?.upstreams[0].failures_total, 0);
    Ok(())
}

/// How curl is told to speak a version, and how it says that a stream broke off: over HTTP/3 it hangs
/// on what it has read by then.
#[derive(Clone, Copy, Debug)]
struct Client(&'static str, &'static [u8]);

const CURLS: [Client; 3] = [Client("--http1.1", &[56]), Client("--http2", &[92]), Client("--http3-only", &[18, 95])];

/// What is wrong with what came of a case, if anything is.
fn ask(lab: &Running, server: &Faulty, client: Client, case: &Case) -> Result<Option<String>> {
    let Client(version, broke_off) = client;
    let (name, _, comes, _, failures) = case;
    let before = (lab.control().status()?.upstreams[0].failures_total, server.of(name).len());
    let curl = Curl::over(version, lab.wire().namespace(), &lab.url(&format!("/{name}")));
    let good = lab.url(&format!("/{GOOD}"));
    let curl = ["--request", "POST", "--output", "/dev/null", &good, "--output", "/dev/null", "--write-out", WRITE_OUT]
        .iter()
        .fold(curl, |curl, option| curl.option(option));
    let said = curl.start()?.finish(Duration::from_secs(20))?.stdout;
    let lines: Vec<_> = said.lines().collect();
    let right = match comes {
        Answer(status, octets) | Hinted(_, status, octets) => lines[0] == format!("{status} 0 {octets}"),
        Sentence(status) => lines[0].starts_with(&format!("{status} 0 ")) && !lines[0].ends_with(" 0"),
        // A reset may overtake the head, or have it forgotten.
        Broken(status) => broke_off.iter().any(|code| {
            let begins = |status: u16| lines[0].starts_with(&format!("{status:03} {code} "));
            begins(*status) || begins(0)
        }),
    };
    if !right || lines[1..] != ["200 0 4"] {
        return Ok(Some(format!("{lines:?}")));
    }
    // What it held is free again, and it was asked once: the request may have done something.
    let state = lab.await_status(|status| status.upstreams[0].in_flight == 0)?.upstreams.remove(0);
    let expected = (before.0 + failures, before.1 + 1);
    // One that was given up may be read later yet.
    let asked = until(|| Ok(server.of(name).len()), |&asked| asked >= expected.1)?;
    let after = (state.failures_total, asked);
    Ok((after != expected).then(|| format!("failures and requests {after:?}, not {expected:?}: {:?}", state.why)))
}

/// The same once more, for the codes of streams.
fn ask_rude(lab: &Running, http: u8, cases: &[Case]) -> Result<Vec<String>> {
    let code = if http == 3 { H3_INTERNAL_ERROR } else { INTERNAL_ERROR };
    let asked: Vec<Rude> = cases.iter().map(|case| Whole::new(http, "POST", &format!("/{}", case.0)).into()).collect();
    let mut wrong = Vec::new();
    for ((name, _, comes, ..), came) in cases.iter().zip(Rude::ask(lab, &asked)?) {
        let right = match comes {
            // aioquic takes the length for that of a body here; RFC 9110 section 8.6 says otherwise.
            Answer(304, _) if http == 3 => came == "closed 0x10e",
            Hinted(hints, status, octets) if http == 3 => came == format!("{hints} {status} {octets}"),
            Answer(status, octets) | Hinted(_, status, octets) => came == format!("{status} {octets}"),
            Sentence(status) => came.starts_with(&format!("{status} ")) && !came.contains("reset"),
            Broken(status) => came == format!("{status} reset {code:#x}") || came == format!("reset {code:#x}"),
        };
        if !right {
            wrong.push(format!("HTTP/{http}: {name}: {came}, not {comes:?}"));
        }
    }
    Ok(wrong)
}

/// What is written down, by the last word of the path, once there are `count` lines.
fn outcomes(lab: &Running, count: usize) -> Result<BTreeMap<String, Vec<String>>> {
    let mut outcomes = BTreeMap::<_, Vec<_>>::new();
    for line in lab.await_access_log(|lines| lines.len() >= count)? {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        outcomes.entry(text("path").trim_start_matches('/').to_owned()).or_default().push(text("outcome"));
    }
    Ok(outcomes)
}

const WRITE_OUT: &str = "%{http_code} %{exitcode} %{size_download}\n";
const TIMED_OUT: &str = "timed_out";
const BROKE: &str = "upstream_broke";
const COMPLETE: &str = "complete";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const OK_BEGINS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n";
const TOO_MUCH: &str = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const NINE: &[(&str, &str)] = &[("content-length", "9")];
/// RFC 9113 section 7.
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
/// RFC 9114 section 8.1.
const H3_INTERNAL_ERROR: u32 = 0x102;
