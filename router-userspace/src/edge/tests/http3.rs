//! What clients of HTTP/3 do that no library does for them: octets written by hand, and what comes of them.

use std::{net::SocketAddr, time::Duration};

use quinn::{Connection, ConnectionError, ReadError, ReadToEndError, RecvStream, SendStream};
use router_http3::Code;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, timeout},
};

use super::lab::{Lab, listener, proxy_to, request};

/// Limits that let a head be as large as they can be.
const LARGE: &str = "[limits]\nmax_header_bytes = 1_048_576\nmax_headers = 1_000\n";

/// The fields that requests of tests have, but the method.
const USUAL: [(&str, &str); 3] = [(":scheme", "https"), (":authority", "a.test"), (":path", "/")];

/// A prefixed integer (RFC 7541 section 5.1).
fn integer(first: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if value < most {
        return out.push(first | u8::try_from(value).unwrap());
    }
    out.push(first | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// A frame whose length takes four octets.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap() | 0x8000_0000;
    [&[kind][..], &length.to_be_bytes(), payload].concat()
}

/// A HEADERS frame of literals.
fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in fields {
        integer(0x20, 3, name.len(), &mut section);
        section.extend(name.as_bytes());
        integer(0, 7, value.len(), &mut section);
        section.extend(value.as_bytes());
    }
    frame(1, &section)
}

fn head(method: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    headers(&[&[(":method", method)], &USUAL[..], fields].concat())
}

fn data(content: &[u8]) -> Vec<u8> {
    frame(0, content)
}

async fn open(client: &Connection, octets: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = client.open_bi().await.unwrap();
    send.write_all(octets).await.unwrap();
    (send, recv)
}

/// What comes of a request stream with these octets and its end: `200`, `reset 0x10e`.
async fn outcome(client: &Connection, octets: &[u8]) -> String {
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    // It may be stopped meanwhile.
    if send.write_all(octets).await.is_ok() {
        let _ = send.finish();
    }
    read(&mut recv).await
}

async fn read(recv: &mut RecvStream) -> String {
    match timeout(Duration::from_secs(20), recv.read_to_end(1 << 20)).await.expect("an answer") {
        Ok(answer) => status(&answer).to_string(),
        Err(ReadToEndError::Read(ReadError::Reset(code))) => format!("reset {:#x}", code.into_inner()),
        Err(ReadToEndError::Read(ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close)))) => {
            format!("closed {:#x}", close.error_code.into_inner())
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// The status in a response's first frame, by the static table (RFC 9204 appendix A) or as a literal.
fn status(answer: &[u8]) -> u16 {
    let section = match answer {
        [1, 0..0x40, 0, 0, section @ ..] | [1, 0x40..0x80, _, 0, 0, section @ ..] => section,
        other => panic!("no HEADERS frame: {other:02x?}"),
    };
    match section {
        [0xd9, ..] => 200,
        [0xdb, ..] => 404,
        [0xff, 4, ..] => 400,
        [0x5f, 9, 3, digits @ ..] => std::str::from_utf8(&digits[..3]).unwrap().parse().unwrap(),
        other => panic!("{other:02x?}"),
    }
}

async fn closed_with(client: &Connection) -> Code {
    match client.closed().await {
        ConnectionError::ApplicationClosed(close) => Code::new(close.error_code.into_inner()),
        other => panic!("{other:?}"),
    }
}

/// A server that says of each request what came, to the end of its head or its last chunk.
async fn recorder() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (listener, address) = listener().await;
    let (heard, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut read = Vec::new();
                while let Ok(octet) = stream.read_u8().await {
                    read.push(octet);
                    let text = String::from_utf8_lossy(&read);
                    let is_chunked = text.contains("transfer-encoding: chunked");
                    let is_whole = text.ends_with("\r\n\r\n") && (!is_chunked || text.contains("\r\n0\r\n"));
                    if is_whole {
                        heard.send(text.into_owned()).unwrap();
                        read.clear();
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    }
                }
            });
        }
    });
    (address, requests)
}

/// RFC 9114 section 7.2.1. With h3 the stream was reset, and then the connection closed.
#[tokio::test]
async fn empty_data_frames_are_content_like_others() {
    let client = Lab::new("").connect("h3").await;
    for lengths in [&[0, 5][..], &[5, 0, 5], &[70_000, 0, 16_383], &[0]] {
        let frames = lengths.iter().flat_map(|&length| data(&vec![b'x'; length]));
        let (mut send, mut recv) = open(&client, &[head("POST", &[]), frames.collect()].concat()).await;
        send.finish().unwrap();
        let answer = recv.read_to_end(10_000).await.unwrap();
        let expected = format!("POST / with {} bytes", lengths.iter().sum::<usize>());
        assert!(answer.escape_ascii().to_string().contains(&expected), "{lengths:?}: {}", answer.escape_ascii());
    }
}

/// mod_h2#201: crumbs of a cookie were counted one by one.
#[tokio::test]
async fn a_cookie_in_many_crumbs_is_one_field() {
    let (server, mut heard) = recorder().await;
    let client = Lab::new(&proxy_to(server)).connect("h3").await;
    assert_eq!(outcome(&client, &head("GET", &[("cookie", "a=b"); 120])).await, "200");
    let expected = format!("cookie: {}\r\n", ["a=b"; 120].join("; "));
    let heard = heard.recv().await.unwrap();
    assert!(heard.contains(&expected), "{heard}");
}

/// quic-go#5429.
#[tokio::test]
async fn a_head_that_is_too_large_is_answered() {
    let large = "v".repeat(200_000);
    for (limits, length, expected) in
        [("", 60_000, "200"), ("", 70_000, "431"), ("", 200_000, "431"), (LARGE, 200_000, "200")]
    {
        let client = Lab::new(limits).connect("h3").await;
        let stream = head("GET", &[("x", &large[..length])]);
        assert_eq!(outcome(&client, &stream).await, expected, "{length} octets with {limits:?}");
        assert_eq!(outcome(&client, &head("GET", &[])).await, "200", "the connection goes on");
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_answered() {
    let client = Lab::new("[limits]\nrequest_timeout = \"500ms\"\n").connect("h3").await;
    let whole = head("GET", &[]);
    for part in [0, 1, whole.len() / 2, whole.len() - 1] {
        let begun = Instant::now();
        // The stream has to have something on it to be there at all.
        let (_send, mut recv) = open(&client, &[&[0x21, 0][..], &whole[..part]].concat()).await;
        assert_eq!(read(&mut recv).await, "408", "{part} octets");
        assert!(begun.elapsed() >= Duration::from_millis(500));
    }
    assert_eq!(outcome(&client, &whole).await, "200", "the connection goes on");
}

/// http#603: the map of fields panics beyond 24,576.
#[tokio::test]
async fn fields_without_number_are_refused() {
    let names: Vec<String> = (0..24_577).map(|number| format!("x{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let client = Lab::new(LARGE).connect("h3").await;
    assert_eq!(outcome(&client, &head("GET", &fields)).await, "431");
    let trailers = [head("POST", &[]), headers(&fields)].concat();
    assert_eq!(outcome(&client, &trailers).await, "reset 0x107");
    assert_eq!(outcome(&client, &head("GET", &fields[..900])).await, "200");
}

/// haproxy#3355: `:protocol` reached servers without CONNECT.
#[tokio::test]
async fn a_protocol_needs_connect_and_an_offer() {
    let (server, mut heard) = recorder().await;
    let client = Lab::new(&proxy_to(server)).connect("h3").await;
    for (method, protocol) in [("GET", "connect-udp"), ("POST", "webtransport"), ("CONNECT", "websocket")] {
        let fields = [&[(":method", method), (":protocol", protocol)], &USUAL[..]].concat();
        assert_eq!(outcome(&client, &headers(&fields)).await, "reset 0x10e", "{method} {protocol}");
    }
    assert_eq!(outcome(&client, &head("GET", &[])).await, "200");
    assert!(heard.recv().await.unwrap().starts_with("GET / "), "the first that reached the server");
}

/// RFC 9114 section 4.4.
#[tokio::test]
async fn tunnels_are_not_offered() {
    let client = Lab::new("").connect("h3").await;
    let tunnel = [(":method", "CONNECT"), (":authority", "a.test:443")];
    assert_eq!(outcome(&client, &headers(&tunnel)).await, "501");
    assert_eq!(outcome(&client, &head("CONNECT", &[])).await, "reset 0x10e", "with `:scheme` and `:path`");
}

/// base-drafts#1972: a client may leave its stream open.
#[tokio::test]
async fn a_request_whose_stream_stays_open_is_passed_on() {
    let (server, mut heard) = recorder().await;
    let client = Lab::new(&proxy_to(server)).connect("h3").await;
    let (_send, mut recv) = open(&client, &head("GET", &[("content-length", "0")])).await;
    assert_eq!(read(&mut recv).await, "200");
    assert!(!heard.recv().await.unwrap().contains("chunked"), "there is known to be no content");
    // Whether there is content is not known: it is passed on as what it may be, and ends when the stream does.
    let (mut send, mut recv) = open(&client, &head("GET", &[])).await;
    let (listener, _) = listener().await;
    let _ = timeout(Duration::from_millis(500), listener.accept()).await;
    send.write_all(&data(b"late")).await.unwrap();
    send.finish().unwrap();
    assert_eq!(read(&mut recv).await, "200");
    assert!(heard.recv().await.unwrap().ends_with("\r\n\r\n4\r\nlate\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn trailers_are_fields_and_say_nothing_of_the_message() {
    let (server, mut heard) = recorder().await;
    let client = Lab::new(&proxy_to(server)).connect("h3").await;
    for trailer in
        [(":path", "/x"), (":status", "200"), ("transfer-encoding", "chunked"), ("connection", "x"), ("upgrade", "h2c")]
    {
        let stream = [head("POST", &[]), data(b"x"), headers(&[trailer])].concat();
        assert_eq!(outcome(&client, &stream).await, "reset 0x10e", "{trailer:?}");
    }
    let announced = [("trailer", "checksum, host, content-length, x-forwarded-for, authorization, te")];
    let trailers = [
        ("checksum", "7"),
        ("host", "b.test"),
        ("content-length", "9"),
        ("x-forwarded-for", "192.0.2.1"),
        ("authorization", "Basic eDp5"),
        ("te", "trailers"),
    ];
    let stream = [head("POST", &announced), data(b"x"), headers(&trailers)].concat();
    assert_eq!(outcome(&client, &stream).await, "200");
    let heard = heard.recv().await.unwrap();
    assert!(heard.ends_with("\r\n1\r\nx\r\n0\r\nchecksum: 7\r\n\r\n"), "{heard}");
}

/// xquic#606, quiche#1852: what ends a connection on the streams that it needs.
#[tokio::test]
async fn the_clients_own_streams_keep_their_rules() {
    let settings = &[0, 4, 0][..];
    for (streams, end, code) in [
        (&[&[2][..]][..], End::Fin, Code::H3_CLOSED_CRITICAL_STREAM),
        (&[&[3]], End::Reset, Code::H3_CLOSED_CRITICAL_STREAM),
        (&[settings], End::Fin, Code::H3_CLOSED_CRITICAL_STREAM),
        (&[settings], End::Reset, Code::H3_CLOSED_CRITICAL_STREAM),
        // Set Dynamic Table Capacity to 4096.
        (&[&[2, 0x3f, 0xe1, 0x1f]], End::None, Code::QPACK_ENCODER_STREAM_ERROR),
        (&[&[3, 0x01]], End::None, Code::QPACK_DECODER_STREAM_ERROR),
        // MAX_PUSH_ID 5, and then 4.
        (&[&[0, 4, 0, 0xd, 1, 5, 0xd, 1, 4]], End::None, Code::H3_ID_ERROR),
        (&[settings, settings], End::None, Code::H3_STREAM_CREATION_ERROR),
        (&[&[1, 0]], End::None, Code::H3_STREAM_CREATION_ERROR),
        (&[&[0, 7, 1, 0]], End::None, Code::H3_MISSING_SETTINGS),
        (&[&[0, 4, 4, 6, 1, 6, 1]], End::None, Code::H3_SETTINGS_ERROR),
        (&[&[0, 4, 0, 4, 0]], End::None, Code::H3_FRAME_UNEXPECTED),
    ] {
        let client = Lab::new("").connect("h3").await;
        let mut open = Vec::new();
        for stream in streams {
            let mut send = client.open_uni().await.unwrap();
            send.write_all(stream).await.unwrap();
            open.push(send);
        }
        match end {
            End::Fin => open.iter_mut().for_each(|send| send.finish().unwrap()),
            // What is not there when the reset comes is not seen: the request behind it has been answered.
            End::Reset => {
                assert_eq!(outcome(&client, &head("GET", &[])).await, "200");
                open.iter_mut().for_each(|send| send.reset(0u32.into()).unwrap());
            }
            End::None => {}
        }
        assert_eq!(closed_with(&client).await, code, "{streams:02x?}");
    }
}

#[derive(Clone, Copy)]
enum End {
    None,
    Fin,
    Reset,
}

/// RFC 9114 section 6.2: a stream of a type that is not known may do as it likes.
#[tokio::test]
async fn a_stream_of_an_unknown_type_is_stopped() {
    let client = Lab::new("").connect("h3").await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&[0x21, 1, 2, 3]).await.unwrap();
    let code = send.stopped().await.unwrap().map(|code| Code::new(code.into_inner()));
    assert_eq!(code, Some(Code::H3_STREAM_CREATION_ERROR));
    assert_eq!(outcome(&client, &head("GET", &[])).await, "200");
}

/// quiche's `unknown_uni_stream_leaks_past_max_streams_uni` and `empty_...`: their places are free again.
#[tokio::test]
async fn streams_that_say_nothing_give_their_places_back() {
    let client = Lab::new("").connect("h3").await;
    for octets in [&[0x21][..], &[]] {
        for number in 0..200 {
            let open = timeout(Duration::from_secs(20), client.open_uni()).await;
            let mut send = open.unwrap_or_else(|_| panic!("no place after {number} of {octets:?}")).unwrap();
            // It may be stopped meanwhile.
            let _ = send.write_all(octets).await;
            let _ = send.finish();
        }
    }
    assert_eq!(outcome(&client, &head("GET", &[])).await, "200");
}

#[tokio::test]
async fn what_breaks_the_protocol_on_a_request_stream_ends_the_connection() {
    for (stream, code) in [
        (data(b"x"), Code::H3_FRAME_UNEXPECTED),
        (frame(4, &[]), Code::H3_FRAME_UNEXPECTED),
        (frame(1, &[0, 0, 0x80]), Code::QPACK_DECOMPRESSION_FAILED),
        (head("GET", &[])[..8].to_vec(), Code::H3_FRAME_ERROR),
        // Once the request is being served, too.
        ([head("POST", &[]), frame(7, &[0])].concat(), Code::H3_FRAME_UNEXPECTED),
    ] {
        let client = Lab::new("").connect("h3").await;
        assert_eq!(outcome(&client, &stream).await, format!("closed {:#x}", code.value()), "{stream:02x?}");
    }
    let client = Lab::new("").connect("h3").await;
    assert_eq!(outcome(&client, &[]).await, "reset 0x10d", "no request at all is an error of its stream alone");
    assert_eq!(outcome(&client, &frame(0x21, &[0; 100_000])).await, "reset 0x107", "nor is a large reserved frame");
    assert_eq!(outcome(&client, &head("GET", &[])).await, "200");
}

/// CVE-2023-44487. 3,000 requests were reset within a second, each at the cost of a connection to a server.
#[tokio::test]
async fn a_client_that_cancels_and_cancels_is_disconnected() {
    let client = Lab::new("").connect("h3").await;
    let cancel = async |number: usize| -> Result<(), ConnectionError> {
        let (mut send, mut recv) = client.open_bi().await?;
        if send.write_all(&head("POST", &[])).await.is_ok() {
            // Half of them by reset, half by stopping the response.
            let _ = if number.is_multiple_of(2) { send.reset(0x10cu32.into()) } else { recv.stop(0x10cu32.into()) };
        }
        Ok(())
    };
    for number in 0..150 {
        cancel(number).await.unwrap();
    }
    assert_eq!(outcome(&client, &head("GET", &[])).await, "200", "a page of pictures was left");
    let mut more = 0;
    while cancel(more).await.is_ok() {
        more += 1;
        assert!(more < 3000, "nothing ends it");
    }
    assert_eq!(closed_with(&client).await, Code::H3_EXCESSIVE_LOAD);
}

/// A response that is there at once leaves with its head and the stream's end.
#[tokio::test]
async fn a_short_response_takes_one_packet() {
    let lab = Lab::new("[[route]]\nupstream = \"u\"\n[upstream.u]\nservers = [\"respond:404\"]\n");
    let mut client = lab.http3().await;
    client.get("/").await;
    let before = client.quic.stats().frame_rx.stream;
    for _ in 0..10 {
        let (response, body) = client.fetch(request("GET", "/"), b"").await;
        assert_eq!((response.status().as_u16(), body), (404, Vec::new()));
    }
    assert_eq!(client.quic.stats().frame_rx.stream - before, 10);
}
