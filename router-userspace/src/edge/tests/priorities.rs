//! Which of several responses is sent first (RFC 9218).

use std::{net::SocketAddr, sync::Arc};

use bytes::Buf;
use http::HeaderValue;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Barrier, mpsc},
};

use super::lab::{Lab, listener, proxy_to, request};

/// Two of them fit what quinn holds for a client, and take several round trips to be sent.
const OCTETS: usize = 200_000;

/// A server that answers two requests at once.
async fn server() -> SocketAddr {
    let (listener, address) = listener().await;
    let both = Arc::new(Barrier::new(2));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let both = both.clone();
            tokio::spawn(async move {
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                both.wait().await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {OCTETS}\r\n\r\n");
                stream.write_all(&[head.as_bytes(), &vec![b'x'; OCTETS]].concat()).await.unwrap();
            });
        }
    });
    address
}

/// Which of two responses on one connection ends first, and how much of the other has come by then.
async fn race(priorities: [&str; 2]) -> (usize, usize) {
    let lab = Lab::new(&proxy_to(server().await));
    let mut client = lab.http3().await;
    let (tell, mut came) = mpsc::unbounded_channel();
    for (number, priority) in priorities.into_iter().enumerate() {
        let mut asked = request("GET", "/");
        asked.headers_mut().insert("priority", HeaderValue::from_str(priority).unwrap());
        let mut stream = client.requests.send_request(asked).await.unwrap();
        stream.finish().await.unwrap();
        let tell = tell.clone();
        tokio::spawn(async move {
            stream.recv_response().await.unwrap();
            while let Some(data) = stream.recv_data().await.unwrap() {
                tell.send((number, data.remaining())).unwrap();
            }
        });
    }
    let mut received = [0, 0];
    loop {
        let (number, octets) = came.recv().await.unwrap();
        received[number] += octets;
        if received[number] == OCTETS {
            return (number, received[1 - number]);
        }
    }
}

#[tokio::test]
async fn what_is_more_urgent_is_sent_first() {
    for (priorities, first) in [(["u=6", "u=1"], 1), (["u=1", "u=6"], 0)] {
        let (ended, of_other) = race(priorities).await;
        assert_eq!(ended, first, "{priorities:?}");
        assert!(of_other < OCTETS / 2, "{priorities:?}: {of_other} of the other");
    }
    // In turn.
    let (_, of_other) = race(["u=3", "u=3, i"]).await;
    assert!(of_other > OCTETS / 2, "{of_other} of the other");
}
