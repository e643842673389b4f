//! Requests that end before their time, clients that misbehave, and draining.

use std::{io::ErrorKind, net::SocketAddr};

use bytes::Bytes;
use h3::error::{Code, StreamError};
use http::Request;
use quinn::{ConnectionError, ReadError, ReadToEndError, VarInt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};

use super::lab::{Lab, listener, pattern, proxy_to, read, request};

/// A server for one connection: says that a request's head came, then how its connection ended.
async fn patient() -> (SocketAddr, oneshot::Receiver<TcpStream>) {
    let (listener, address) = listener().await;
    let (came, begun) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        came.send(stream).unwrap();
    });
    (address, begun)
}

/// Whether the connection ended, in whatever way, before another octet came.
async fn ended(mut stream: TcpStream) -> bool {
    match stream.read_u8().await {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
    }
}

#[tokio::test]
async fn a_cancelled_request_is_cancelled_upstream() {
    // The client says STOP_SENDING while the server still thinks.
    let (origin, begun) = patient().await;
    let lab = Lab::new(&proxy_to(origin));
    let mut client = lab.http3().await;
    let mut stream = client.requests.send_request(request("GET", "/")).await.unwrap();
    stream.finish().await.unwrap();
    let upstream = begun.await.unwrap();
    stream.stop_sending(Code::H3_REQUEST_CANCELLED);
    assert!(ended(upstream).await);

    // The client resets a request that isn't complete.
    let (origin, begun) = patient().await;
    let lab = Lab::new(&proxy_to(origin));
    let mut client = lab.http3().await;
    let mut asked = request("POST", "/");
    asked.headers_mut().insert("content-length", 1000.into());
    let mut stream = client.requests.send_request(asked).await.unwrap();
    let upstream = begun.await.unwrap();
    stream.stop_stream(Code::H3_REQUEST_CANCELLED);
    assert!(ended(upstream).await);
    match stream.recv_response().await {
        Err(StreamError::RemoteTerminate { code: Code::H3_REQUEST_CANCELLED, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(client.quic.close_reason().is_none(), "the connection goes on");

    // The client goes.
    let (origin, begun) = patient().await;
    let lab = Lab::new(&proxy_to(origin));
    let mut client = lab.http3().await;
    let mut stream = client.requests.send_request(request("GET", "/")).await.unwrap();
    stream.finish().await.unwrap();
    let upstream = begun.await.unwrap();
    client.quic.close(VarInt::from_u32(0x100), b"");
    assert!(ended(upstream).await);
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_it_says_is_malformed() {
    for sent in ["four", "five and more"] {
        let (origin, begun) = patient().await;
        let lab = Lab::new(&proxy_to(origin));
        let mut client = lab.http3().await;
        let mut asked = request("POST", "/");
        asked.headers_mut().insert("content-length", 5.into());
        let mut stream = client.requests.send_request(asked).await.unwrap();
        let mut upstream = begun.await.unwrap();
        stream.send_data(Bytes::from_static(sent.as_bytes())).await.unwrap();
        stream.finish().await.unwrap();
        match stream.recv_response().await {
            Err(StreamError::RemoteTerminate { code: Code::H3_MESSAGE_ERROR, .. }) => {}
            other => panic!("{sent}: {other:?}"),
        }
        let mut received = Vec::new();
        let _ = upstream.read_to_end(&mut received).await;
        assert!(received.len() < 5, "the server must not see a complete request: {received:?}");
    }
}

#[tokio::test]
async fn an_early_answer_to_a_long_upload_is_complete() {
    let (origin, begun) = patient().await;
    let lab = Lab::new(&proxy_to(origin));
    let mut client = lab.http3().await;
    let (mut send, mut recv) = client.requests.send_request(request("POST", "/")).await.unwrap().split();
    let mut upstream = begun.await.unwrap();
    upstream.write_all(b"HTTP/1.1 413 Too Much\r\nconnection: close\r\ncontent-length: 3\r\n\r\nno!").await.unwrap();
    assert_eq!(recv.recv_response().await.unwrap().status(), 413);
    drop(upstream);
    // Sends until it is told to stop, with a code that says that nothing is wrong.
    let told = async {
        loop {
            if let Err(error) = send.send_data(pattern(10_000)).await {
                return error;
            }
        }
    };
    match told.await {
        StreamError::RemoteTerminate { code: Code::H3_NO_ERROR, .. } => {}
        other => panic!("{other:?}"),
    }
    let mut body = Vec::new();
    while let Some(data) = recv.recv_data().await.unwrap() {
        body.extend_from_slice(bytes::Buf::chunk(&data));
    }
    assert_eq!(body, b"no!");
}

#[tokio::test]
async fn a_client_that_has_sent_everything_is_not_stopped_for_its_late_end() {
    let (origin, begun) = patient().await;
    let lab = Lab::new(&proxy_to(origin));
    let client = lab.http3().await;
    let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
    let mut frames = head(POST);
    frames[1] += 3;
    // content-length: 5, and a DATA frame of as many octets
    frames.extend([0x54, 1, b'5', 0x00, 5]);
    frames.extend(b"hello");
    send.write_all(&frames).await.unwrap();
    let mut upstream = begun.await.unwrap();
    upstream.read_exact(&mut [0; 5]).await.unwrap();
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes").await.unwrap();
    let answer = recv.read_to_end(1000).await.unwrap();
    assert!(answer.ends_with(b"yes"), "{}", answer.escape_ascii());
    send.finish().unwrap();
    assert_eq!(send.stopped().await.unwrap(), None, "all was received, nothing was stopped");
}

#[tokio::test]
async fn a_request_without_an_authority_is_malformed() {
    let lab = Lab::new("");
    let mut client = lab.http3().await;
    let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
    send.write_all(&[0x01, 5, 0x00, 0x00, 0xc0 | GET, 0xc0 | 23, 0xc0 | 1]).await.unwrap();
    send.finish().unwrap();
    match recv.read_to_end(1000).await {
        Err(ReadToEndError::Read(ReadError::Reset(code))) => {
            assert_eq!(code.into_inner(), Code::H3_MESSAGE_ERROR.value());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(client.get("/").await.0.status(), 200, "the connection goes on");
}

/// Numbers in QPACK's static table (RFC 9204 appendix A).
const GET: u8 = 17;
const POST: u8 = 20;

/// A HEADERS frame: the method, `https`, authority `a`, path `/`.
fn head(method: u8) -> Vec<u8> {
    vec![0x01, 8, 0x00, 0x00, 0xc0 | method, 0xc0 | 23, 0x50, 0x01, b'a', 0xc0 | 1]
}

#[tokio::test]
async fn an_endless_frame_is_not_stored() {
    let lab = Lab::new("");
    let mut client = lab.http3().await;
    // HEADERS, and a reserved type, each with a length of 2^30 - 1 (RFC 9114 section 7.1).
    for frame_type in [0x01, 0x21] {
        let (mut send, _recv) = client.quic.open_bi().await.unwrap();
        send.write_all(&[frame_type, 0xbf, 0xff, 0xff, 0xff]).await.unwrap();
        let mut sent = 0;
        while let Ok(written) = send.write(&[0; 1000]).await {
            sent += written;
        }
        assert!(sent < 4_000_000, "{sent} octets of a frame of type {frame_type:#x} were taken");
    }
    assert_eq!(client.get("/").await.0.status(), 200, "the connection goes on");
}

#[tokio::test]
async fn a_body_in_the_smallest_frames_is_taken_whole() {
    let lab = Lab::new("");
    let client = lab.http3().await;
    let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
    let mut frames = head(POST);
    frames.extend([0x00, 0x01, b'x'].repeat(200_000));
    send.write_all(&frames).await.unwrap();
    send.finish().unwrap();
    let answer = recv.read_to_end(10_000).await.unwrap();
    let expected = b"POST / with 200000 bytes";
    assert!(answer.windows(expected.len()).any(|window| window == expected), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn draining_finishes_what_was_begun_and_asks_the_client_to_go() {
    let (origin, begun) = patient().await;
    let lab = Lab::new(&proxy_to(origin).replace("[[route]]", "[[route]]\nhost = \"localhost\""));
    let mut client = lab.http3().await;
    let mut idle = lab.http3().await;
    let mut stream = client.requests.send_request(request("GET", "/")).await.unwrap();
    stream.finish().await.unwrap();
    let mut upstream = begun.await.unwrap();

    lab.drain.begin();
    // A client that comes late with a first request is served as well.
    let elsewhere = Request::get("https://elsewhere/").body(()).unwrap();
    let mut late = idle.requests.send_request(elsewhere).await.unwrap();
    late.finish().await.unwrap();
    assert_eq!(late.recv_response().await.unwrap().status(), 404);
    // And one that does not listen: the GOAWAY names no request.
    let (mut send, mut recv) = client.quic.open_bi().await.unwrap();
    send.write_all(&head(GET)).await.unwrap();
    send.finish().unwrap();
    let answer = recv.read_to_end(1000).await.unwrap();
    assert!(answer.ends_with(b"404 no route leads there\n"), "{}", answer.escape_ascii());

    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").await.unwrap();
    assert_eq!(stream.recv_response().await.unwrap().status(), 200);
    upstream.write_all(b"whole").await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap(), b"whole");
    for mut client in [client, idle] {
        let more = client.requests.send_request(request("GET", "/")).await;
        assert!(more.is_err(), "the client was told to go elsewhere");
        let error = client.closed.await.unwrap();
        assert!(error.is_h3_no_error(), "closed by the edge once all is served and quiet: {error}");
    }
}

/// The last GOAWAY names the first request that will not be served, and that one is rejected.
#[tokio::test]
async fn a_request_that_crosses_the_last_goaway_is_rejected() {
    let lab = Lab::new("");
    let client = lab.connect("h3").await;
    let ask = async || {
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        send.write_all(&head(GET)).await.unwrap();
        send.finish().unwrap();
        recv.read_to_end(10_000).await
    };
    let mut control = client.accept_uni().await.unwrap();
    ask().await.unwrap();
    lab.drain.begin();
    let (mut goaways, mut octets) = (Vec::new(), Vec::new());
    while goaways.len() < 2 {
        octets.extend(control.read_chunk(1000, true).await.unwrap().unwrap().bytes);
        goaways = self::goaways(&octets);
    }
    // On stream 0 was the request that was served; 4 is the next.
    assert!(goaways[0] > 1 << 32, "{goaways:?}");
    assert_eq!(goaways[1], 4, "{goaways:?}");
    match ask().await {
        Err(ReadToEndError::Read(ReadError::Reset(code))) => {
            assert_eq!(code.into_inner(), Code::H3_REQUEST_REJECTED.value());
        }
        other => panic!("{other:?}"),
    }
    let closed = client.closed().await;
    assert!(
        matches!(&closed, ConnectionError::ApplicationClosed(close)
        if close.error_code.into_inner() == Code::H3_NO_ERROR.value()),
        "{closed:?}"
    );
}

/// What the GOAWAY frames on a control stream name (RFC 9114 sections 6.2.1 and 7.2.6).
fn goaways(mut octets: &[u8]) -> Vec<u64> {
    let octets = &mut octets;
    assert_eq!(varint(octets), Some(0), "the control stream");
    let mut named = Vec::new();
    while let (Some(frame), Some(length)) = (varint(octets), varint(octets)) {
        let Some((mut content, rest)) = octets.split_at_checked(length as usize) else { break };
        if frame == 7 {
            named.extend(varint(&mut content));
        }
        *octets = rest;
    }
    named
}

/// RFC 9000 section 16.
fn varint(octets: &mut &[u8]) -> Option<u64> {
    let length = 1 << (octets.first()? >> 6);
    let (number, rest) = octets.split_at_checked(length)?;
    *octets = rest;
    let number = number.iter().fold(0, |number, &octet| number << 8 | u64::from(octet));
    Some(number & (u64::MAX >> (66 - 8 * length)))
}
