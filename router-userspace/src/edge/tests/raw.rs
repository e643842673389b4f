//! Raw streams: both ends see how the other ended.

use std::io::ErrorKind;

use quinn::{ConnectionError, ReadError, VarInt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

use super::lab::{Lab, listener, pattern, raw_to, unused_address};
use crate::edge::{NO_ROUTE, STREAM_CANCELLED, STREAM_REFUSED, UPSTREAM_CLOSED, UPSTREAM_RESET, UPSTREAM_UNREACHABLE};

#[tokio::test]
async fn a_client_that_has_finished_still_gets_the_whole_answer() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Answers only once the client's end has come through.
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        stream.write_all(&received).await.unwrap();
    });
    let connection = Lab::new(&raw_to(address)).connect("echo").await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let sent = pattern(3_000_000);
    send.write_all(&sent).await.unwrap();
    send.finish().unwrap();
    let received = recv.read_to_end(sent.len() + 1).await.unwrap();
    assert!(received == sent, "{} octets came back, or not the same", received.len());
}

#[tokio::test]
async fn a_server_that_has_finished_still_gets_the_whole_upload() {
    let (listener, address) = listener().await;
    let (got, uploaded) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"that's all").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        got.send(received).unwrap();
    });
    let connection = Lab::new(&raw_to(address)).connect("echo").await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    assert_eq!(recv.read_to_end(100).await.unwrap(), b"that's all");
    send.write_all(b", still here").await.unwrap();
    send.finish().unwrap();
    assert_eq!(uploaded.await.unwrap(), b"hello, still here");
}

#[tokio::test]
async fn a_server_s_reset_becomes_a_stream_reset() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
        stream.set_zero_linger().unwrap();
    });
    let connection = Lab::new(&raw_to(address)).connect("echo").await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    assert_eq!(recv.read_chunk(100, true).await.unwrap_err(), ReadError::Reset(UPSTREAM_RESET.into()));
    assert_eq!(send.stopped().await.unwrap(), Some(UPSTREAM_RESET.into()));
    assert!(connection.close_reason().is_none(), "the connection goes on");
}

#[tokio::test]
async fn a_client_s_reset_becomes_a_connection_reset() {
    for stop in [false, true] {
        let (listener, address) = listener().await;
        let (ended, outcome) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 5]).await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            ended.send(stream.read(&mut [0; 100]).await.map_err(|error| error.kind())).unwrap();
        });
        let connection = Lab::new(&raw_to(address)).connect("echo").await;
        let (mut send, mut recv) = connection.open_bi().await.unwrap();
        send.write_all(b"hello").await.unwrap();
        recv.read_exact(&mut [0; 5]).await.unwrap();
        if stop {
            recv.stop(VarInt::from_u32(77)).unwrap();
            assert_eq!(send.stopped().await.unwrap(), Some(STREAM_CANCELLED.into()));
        } else {
            send.reset(VarInt::from_u32(77)).unwrap();
            assert_eq!(recv.read_chunk(9, true).await.unwrap_err(), ReadError::Reset(STREAM_CANCELLED.into()));
        }
        assert_eq!(outcome.await.unwrap(), Err(ErrorKind::ConnectionReset), "stop: {stop}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_not_taken_for_an_end() {
    let (listener, address) = listener().await;
    let (ended, outcome) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
        stream.write_all(b"hello").await.unwrap();
        ended.send(stream.read(&mut [0; 100]).await.map_err(|error| error.kind())).unwrap();
    });
    let connection = Lab::new(&raw_to(address)).connect("echo").await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    recv.read_exact(&mut [0; 5]).await.unwrap();
    connection.close(VarInt::from_u32(9), b"gone");
    assert_eq!(outcome.await.unwrap(), Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_server_that_takes_no_more_stops_the_upload_only() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
        stream.write_all(b"enough").await.unwrap();
        // All is read, so closing says FIN; the next data is answered with RST.
    });
    let connection = Lab::new(&raw_to(address)).connect("echo").await;
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    assert_eq!(recv.read_to_end(100).await.unwrap(), b"enough");
    let stopped = async { while send.write_all(&[0; 1000]).await.is_ok() {} };
    stopped.await;
    assert_eq!(send.stopped().await.unwrap(), Some(UPSTREAM_CLOSED.into()));
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_with_its_code() {
    let lab = Lab::new(&raw_to(unused_address().await));
    let connection = lab.connect("echo").await;

    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    assert_eq!(recv.read_chunk(100, true).await.unwrap_err(), ReadError::Reset(UPSTREAM_UNREACHABLE.into()));
    assert_eq!(send.stopped().await.unwrap(), Some(UPSTREAM_UNREACHABLE.into()));

    let mut send = connection.open_uni().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    assert_eq!(send.stopped().await.unwrap(), Some(STREAM_REFUSED.into()));
    assert!(connection.close_reason().is_none(), "the connection goes on");

    let elsewhere = raw_to(unused_address().await).replace("alpn", "host = \"example.com\"\nalpn");
    match Lab::new(&elsewhere).connect("echo").await.closed().await {
        ConnectionError::ApplicationClosed(close) => assert_eq!(close.error_code, NO_ROUTE.into()),
        other => panic!("{other}"),
    }
}
