//! Streams for raw QUIC.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::oneshot,
};

use super::lab::*;
use crate::{
    config::ServerAddress,
    edge::upstream::{ConnectError, NoPlace},
};

#[tokio::test]
async fn a_stream_begins_with_who_the_client_is_where_configured() {
    for proxy_protocol in [false, true] {
        let (listener, address) = listener().await;
        let (got, received) = oneshot::channel();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            got.send(all).unwrap();
        });
        let mut settings = settings(vec![
            ServerAddress::Tcp(authority(unused_address().await)),
            ServerAddress::Tcp(authority(address)),
        ]);
        settings.proxy_protocol = proxy_protocol;
        let (upstreams, upstream) = upstream(settings);
        let mut stream = upstream.open(CLIENT, Some("198.51.100.9:4433".parse().unwrap())).await.unwrap();
        assert_eq!((upstreams.states()[1].in_flight, upstreams.states()[1].connections), (1, 1));
        stream.write_all(b"hello").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut expected = Vec::new();
        if proxy_protocol {
            expected.extend_from_slice(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
            expected.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 9, 0xc3, 0x50, 0x11, 0x51]);
        }
        expected.extend_from_slice(b"hello");
        assert_eq!(received.await.unwrap(), expected);
        drop(stream);
        assert_eq!((upstreams.states()[1].in_flight, upstreams.states()[1].connections), (0, 0));
    }
}

#[tokio::test]
async fn a_unix_socket_takes_streams() {
    let path = std::env::temp_dir().join(format!("quic-router-stream-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut five = [0; 5];
        stream.read_exact(&mut five).await.unwrap();
        stream.write_all(&five).await.unwrap();
    });
    let (_, upstream) = upstream(settings(vec![ServerAddress::Unix(path.clone())]));
    let mut stream = upstream.open(CLIENT, None).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"hello");
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn streams_have_places_too() {
    let (_listener, address) = listener().await;
    let mut settings = settings(vec![ServerAddress::Tcp(authority(address))]);
    (settings.max_connections, settings.queue) = (1, 0);
    let (_, upstream) = upstream(settings);
    let first = upstream.open(CLIENT, None).await.unwrap();
    let refused = upstream.open(CLIENT, None).await.err().unwrap();
    assert!(matches!(refused, ConnectError::NoPlace(NoPlace::QueueFull)));
    drop(first);
    assert!(upstream.open(CLIENT, None).await.is_ok());
}
