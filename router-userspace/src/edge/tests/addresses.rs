//! Which address is a client told by, when its datagrams come from somewhere else?

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderValue, Request};
use quinn::{Endpoint, TransportConfig, congestion::NewRenoConfig, crypto::rustls::QuicServerConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    sync::mpsc,
    time::timeout,
};

use super::lab::{Lab, config, listener, proxy_to, request, trusting};
use crate::{
    address::{
        Address,
        path::{Path, Witnessing},
    },
    edge::tls::{self, Resumption, tickets::Tickets},
};

/// For what takes no time unless something is wrong.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_request_with_a_forged_source_is_told_by_where_its_client_is() {
    let (server, mut told) = told_addresses().await;
    let lab = Lab::new(&proxy_to(server));
    let detour = Detour::to(lab.address()).await;
    let mut client = lab.http3_by(detour.front).await;
    assert_eq!(client.get("/").await.0.status(), 200);
    assert_eq!(told.recv().await.unwrap(), "127.0.0.1");

    // What carries the request has another source, at which the client does not receive.
    detour.forge(Some(1));
    let mut stream = client.requests.send_request(request("GET", "/forged")).await.unwrap();
    stream.finish().await.unwrap();
    assert_eq!(timeout(LONG, told.recv()).await.unwrap().unwrap(), "127.0.0.1");
    detour.forge(None);
    assert_eq!(timeout(LONG, stream.recv_response()).await.unwrap().unwrap().status(), 200);
    let asked = client.quic.stats().frame_rx.path_challenge;
    assert!(asked > 0, "the connection had moved, and its old address was asked");
}

#[tokio::test]
async fn who_has_moved_is_told_by_the_new_address_once_it_has_answered_there() {
    let (server, mut told) = told_addresses().await;
    let lab = Lab::new(&proxy_to(server));
    let detour = Detour::to(lab.address()).await;
    let mut client = lab.http3_by(detour.front).await;
    // A client that moves before its handshake is confirmed is not followed (RFC 9000 section 9).
    assert_eq!(client.get("/").await.0.status(), 200);
    assert_eq!(told.recv().await.unwrap(), "127.0.0.1");
    for (real, before, now) in [(1, "127.0.0.1", "127.0.0.2"), (2, "127.0.0.2", "127.0.0.3")] {
        detour.go(real);
        let mut last = String::new();
        for _ in 0..20 {
            assert_eq!(timeout(LONG, client.fetch(long(), b"")).await.unwrap().0.status(), 200);
            last = told.recv().await.unwrap();
            assert!(last == before || last == now, "{last} after a move from {before} to {now}");
            if last == now {
                break;
            }
        }
        assert_eq!(last, now);
        assert_eq!(timeout(LONG, client.fetch(long(), b"")).await.unwrap().0.status(), 200);
        assert_eq!(told.recv().await.unwrap(), now);
    }
}

/// A request long enough for an answer of a full datagram: to an address that is not validated goes
/// three times what has come from there (RFC 9000 section 9.3).
fn long() -> Request<()> {
    let mut request = request("GET", "/");
    request.headers_mut().insert("x-long", HeaderValue::from_bytes(&[b'x'; 1_500]).unwrap());
    request
}

/// Another port of the same address is a new path too, but quinn copies the old one's state.
#[tokio::test]
async fn nor_is_a_forged_port_believed() {
    let (endpoint, at) = server();
    let detour = Detour::to(at).await;
    let mut tls = trusting();
    tls.alpn_protocols = vec!["h3".into()];
    let crypto = Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap());
    let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = client.connect_with(quinn::ClientConfig::new(crypto), detour.front, "localhost").unwrap();
    let incoming = endpoint.accept().await.unwrap();
    let claimed = Address::of(&incoming);
    assert!(matches!(claimed, Address::Unvalidated(_)), "{claimed:?}");
    let (client, serving) = tokio::join!(connecting, incoming);
    let (client, serving) = (client.unwrap(), serving.unwrap());
    let mut path = Path::new(serving.clone(), claimed.completed());
    let is_at = |path: &mut Path| path.address().socket_address();
    assert_eq!(is_at(&mut path), detour.backs[0]);

    detour.forge(Some(3));
    client.open_uni().await.unwrap().write_all(b"forged").await.unwrap();
    timeout(LONG, serving.accept_uni()).await.unwrap().unwrap();
    assert_eq!(serving.remote_address(), detour.backs[3], "quinn believes it");
    assert_eq!(is_at(&mut path), detour.backs[0]);
    detour.forge(None);

    detour.go(3);
    for _ in 0..20 {
        let (mut send, mut recv) = client.open_bi().await.unwrap();
        send.write_all(&[7; 1_500]).await.unwrap();
        let (mut answer, _) = timeout(LONG, serving.accept_bi()).await.unwrap().unwrap();
        answer.write_all(b"seen").await.unwrap();
        recv.read_exact(&mut [0; 4]).await.unwrap();
        if is_at(&mut path) == detour.backs[3] {
            break;
        }
    }
    assert_eq!(is_at(&mut path), detour.backs[3]);
}

/// A server that says by which address each request was told.
async fn told_addresses() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let (listener, address) = listener().await;
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let tell = tell.clone();
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer_all(stream, tell));
        }
    });
    (address, told)
}

async fn answer_all(mut stream: tokio::net::TcpStream, tell: mpsc::UnboundedSender<String>) {
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        read.extend_from_slice(&buffer[..length]);
        if !read.ends_with(b"\r\n\r\n") {
            continue;
        }
        let head = String::from_utf8(std::mem::take(&mut read)).unwrap();
        let field = head.lines().find_map(|line| line.strip_prefix("x-forwarded-for: ")).unwrap();
        tell.send(field.to_owned()).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    }
}

fn server() -> (Endpoint, SocketAddr) {
    let config = config("");
    let resumption = Resumption::new(Arc::new(Tickets::new(&[1; 32])));
    let tls = tls::tls(&config.listeners[0], &config.routes, &resumption).unwrap().quic;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let mut transport = TransportConfig::default();
    transport.congestion_controller_factory(Witnessing::new(NewRenoConfig::default()));
    server.transport_config(Arc::new(transport));
    let endpoint = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = endpoint.local_addr().unwrap();
    (endpoint, address)
}

/// Brings datagrams to a server from addresses of its choice, and back from those that are real.
struct Detour {
    front: SocketAddr,
    /// Three addresses, and another port of the first.
    backs: [SocketAddr; 4],
    way: Arc<Mutex<Way>>,
}

#[derive(Clone, Copy)]
struct Way {
    real: usize,
    forged: Option<usize>,
}

impl Detour {
    async fn to(server: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut backs = Vec::new();
        for last in [1, 2, 3, 1] {
            backs.push(UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).await.unwrap());
        }
        let backs: [UdpSocket; 4] = backs.try_into().unwrap();
        let way = Arc::new(Mutex::new(Way { real: 0, forged: None }));
        let detour = Self {
            front: front.local_addr().unwrap(),
            backs: backs.each_ref().map(|back| back.local_addr().unwrap()),
            way: Arc::clone(&way),
        };
        tokio::spawn(relay(front, backs, way, server));
        detour
    }

    /// The client's datagrams come from there from now on, and there it receives.
    fn go(&self, real: usize) {
        self.way.lock().unwrap().real = real;
    }

    /// They come from there, but what goes there is lost.
    fn forge(&self, forged: Option<usize>) {
        self.way.lock().unwrap().forged = forged;
    }
}

async fn relay(front: UdpSocket, backs: [UdpSocket; 4], way: Arc<Mutex<Way>>, server: SocketAddr) {
    let [a, b, c, d] = &backs;
    let mut buffers = [[0; 2048]; 5];
    let mut client = None;
    loop {
        let [from_client, to_a, to_b, to_c, to_d] = &mut buffers;
        let (back, length) = tokio::select! {
            Ok((length, from)) = front.recv_from(from_client) => {
                client = Some(from);
                let way = *way.lock().unwrap();
                backs[way.forged.unwrap_or(way.real)].send_to(&from_client[..length], server).await.unwrap();
                continue;
            }
            Ok(length) = a.recv(to_a) => (0, length),
            Ok(length) = b.recv(to_b) => (1, length),
            Ok(length) = c.recv(to_c) => (2, length),
            Ok(length) = d.recv(to_d) => (3, length),
        };
        let is_real = way.lock().unwrap().real == back;
        if let Some(client) = client.filter(|_| is_real) {
            front.send_to(&buffers[1 + back][..length], client).await.unwrap();
        }
    }
}
