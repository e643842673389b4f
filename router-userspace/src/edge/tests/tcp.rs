//! HTTP/1.1 and HTTP/2 over TLS on TCP.

use std::{net::SocketAddr, sync::Arc};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::lab::{config, edge, listener, proxy_to, trusting};
use crate::{
    address::Validated,
    edge::{
        Drain, Speaks,
        tls::{self, Resumption, tickets::Tickets},
    },
};

/// An edge that serves every client that connects by TCP.
pub(super) struct Tcp {
    pub(super) address: SocketAddr,
    _drain: Arc<Drain>,
}

impl Tcp {
    /// `rest` is what follows the listener in the configuration.
    pub(super) async fn new(rest: &str) -> Self {
        let config = config(&format!("tcp = true\n{rest}"));
        let resumption = Resumption::new(Arc::new(Tickets::new(&[1; 32])));
        let tls = tls::tls(&config.listeners[0], &config.routes, &resumption).unwrap().tcp.unwrap();
        Self::speaking(rest, Speaks::Https { tls, alt_svc: None, listener: config.listeners[0].address }).await
    }

    pub(super) async fn speaking(rest: &str, speaks: Speaks) -> Self {
        let edge = edge(&config(&format!("tcp = true\n{rest}")));
        let (listener, address) = listener().await;
        let drain = Arc::<Drain>::default();
        let word = Arc::clone(&drain);
        tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let (edge, speaks, draining) = (edge.clone(), speaks.clone(), word.hear());
                tokio::spawn(async move { edge.serve_tcp(stream, speaks, Validated::by_tcp(peer), draining).await });
            }
        });
        Self { address, _drain: drain }
    }

    pub(super) async fn connect(&self, alpn: &str) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let mut tls = trusting();
        tls.alpn_protocols = vec![alpn.into()];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap()
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A server that answers once it is told to.
async fn thoughtful() -> (SocketAddr, oneshot::Receiver<oneshot::Sender<()>>) {
    let (listener, address) = listener().await;
    let (asked, was_asked) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let (go, told) = oneshot::channel();
        asked.send(go).unwrap();
        told.await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer").await.unwrap();
        let _ = stream.read_u8().await;
    });
    (address, was_asked)
}

/// RFC 9112 section 9.6, hyper#3879: such a client was closed without an answer.
#[tokio::test]
async fn a_client_that_has_nothing_more_to_say_is_answered() {
    for notify in [true, false] {
        let (origin, asked) = thoughtful().await;
        let mut client = Tcp::new(&proxy_to(origin)).await.connect("http/1.1").await;
        client.write_all(GET).await.unwrap();
        let go = asked.await.unwrap();
        match notify {
            true => client.shutdown().await.unwrap(),
            false => client.get_mut().0.shutdown().await.unwrap(),
        }
        // The end has come before the answer.
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        go.send(()).unwrap();
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nanswer"), "{notify}: {answer}");
    }
}

#[tokio::test]
async fn so_is_one_without_tls() {
    let lab = Tcp::speaking("", Speaks::Redirect { port: 443 }).await;
    let mut client = TcpStream::connect(lab.address).await.unwrap();
    client.write_all(GET).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
}
