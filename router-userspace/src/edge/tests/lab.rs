//! What the tests stand on: an edge that serves on loopback, and clients of it. Everything ends
//! with the test's runtime.

use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use http::{Request, Response};
use quinn::{
    Endpoint, TransportConfig,
    congestion::CubicConfig,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    address::{Address, path::Witnessing},
    config::Config,
    edge::{
        Drain, Edge, Handshake, IncomingConnection, Instructions, Origins, ServedBy,
        tls::{self, Resumption, tickets::Tickets},
    },
};

/// Octets that quinn may hold for a client that doesn't read.
pub(super) const SEND_WINDOW: u64 = 512 * 1024;

/// An edge that serves every client that connects.
pub(super) struct Lab {
    pub(super) edge: Edge,
    pub(super) drain: Arc<Drain>,
    address: SocketAddr,
    client: Endpoint,
}

impl Lab {
    /// `rest` is what follows the listener in the configuration.
    pub(super) fn new(rest: &str) -> Self {
        let config = config(rest);
        let edge = edge(&config);
        let resumption = Resumption::new(Arc::new(Tickets::new(&[1; 32])));
        let tls = tls::tls(&config.listeners[0], &config.routes, &resumption).unwrap().quic;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        let mut transport = TransportConfig::default();
        transport.send_window(SEND_WINDOW);
        transport.congestion_controller_factory(Witnessing::new(CubicConfig::default()));
        server.transport_config(Arc::new(transport));
        let server = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = server.local_addr().unwrap();
        let drain = Arc::<Drain>::default();
        let (serving, word, listener) = (edge.clone(), drain.clone(), config.listeners[0].address);
        tokio::spawn(async move {
            while let Some(incoming) = server.accept().await {
                let (edge, draining, listener) = (serving.clone(), word.hear(), listener);
                tokio::spawn(async move {
                    let claimed = Address::of(&incoming);
                    if let Ok(connection) = incoming.await {
                        let client = claimed.completed();
                        let handshake = Handshake::complete();
                        edge.serve(IncomingConnection { connection, address: client, handshake, draining, listener })
                            .await;
                    }
                });
            }
        });
        let client = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { edge, drain, address, client }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn connect(&self, alpn: &str) -> quinn::Connection {
        self.connect_by(self.address, alpn).await
    }

    /// The same with a client whose transport is like that.
    pub(super) async fn http3_with(&self, transport: TransportConfig) -> Http3 {
        let mut tls = trusting();
        tls.alpn_protocols = vec!["h3".into()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        config.transport_config(Arc::new(transport));
        Http3::over(self.client.connect_with(config, self.address, "localhost").unwrap().await.unwrap()).await
    }

    /// The same by `address`, from where it is brought to it.
    pub(super) async fn connect_by(&self, address: SocketAddr, alpn: &str) -> quinn::Connection {
        let mut tls = trusting();
        tls.alpn_protocols = vec![alpn.into()];
        let crypto = Arc::new(QuicClientConfig::try_from(tls).unwrap());
        let connecting = self.client.connect_with(quinn::ClientConfig::new(crypto), address, "localhost");
        connecting.unwrap().await.unwrap()
    }

    pub(super) async fn http3(&self) -> Http3 {
        self.http3_by(self.address).await
    }

    pub(super) async fn http3_by(&self, address: SocketAddr) -> Http3 {
        Http3::over(self.connect_by(address, "h3").await).await
    }
}

impl Http3 {
    async fn over(quic: quinn::Connection) -> Self {
        let (mut driver, requests) = h3::client::new(h3_quinn::Connection::new(quic.clone())).await.unwrap();
        let closed = tokio::spawn(async move { poll_fn(|cx| driver.poll_close(cx)).await });
        Self { quic, requests, closed }
    }
}

pub(super) fn edge(config: &Config) -> Edge {
    let served_by = ServedBy { slot: "3".into(), description: "node 1, worker 3".into() };
    let origins = Origins::new(config, None).unwrap();
    let instructions = Instructions { config: Arc::new(config.clone()), origins, access_log: None };
    Edge::new(&instructions, served_by, Arc::default())
}

pub(in crate::edge) fn config(rest: &str) -> Config {
    let text = format!(
        "[router]\nengine = \"userspace\"\ndebug_headers = true\n[[listener]]\naddress = \"127.0.0.1:4433\"\n{rest}"
    );
    Config::parse(&text, "test").unwrap()
}

/// One route for everything, to `server`.
pub(super) fn proxy_to(server: SocketAddr) -> String {
    format!("[[route]]\nupstream = \"u\"\n[upstream.u]\nservers = [\"http://{server}\"]\n")
}

/// The ALPN `echo` to `server`.
pub(super) fn raw_to(server: SocketAddr) -> String {
    format!("[[route]]\nalpn = \"echo\"\nupstream = \"u\"\n[upstream.u]\nservers = [\"tcp://{server}\"]\n")
}

/// A port of loopback on which no socket listens.
pub(super) async fn unused_address() -> SocketAddr {
    listener().await.1
}

pub(super) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(super) type ClientStream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// An HTTP/3 connection to the edge.
pub(super) struct Http3 {
    pub(super) quic: quinn::Connection,
    pub(super) requests: SendRequest<h3_quinn::OpenStreams, Bytes>,
    /// Why it ended.
    pub(super) closed: JoinHandle<h3::error::ConnectionError>,
}

impl Http3 {
    /// Sends a whole request and reads the whole response.
    pub(super) async fn fetch(&mut self, request: Request<()>, body: &'static [u8]) -> (Response<()>, Vec<u8>) {
        let mut stream = self.requests.send_request(request).await.unwrap();
        if !body.is_empty() {
            stream.send_data(Bytes::from_static(body)).await.unwrap();
        }
        stream.finish().await.unwrap();
        let response = stream.recv_response().await.unwrap();
        (response, read(&mut stream).await.unwrap())
    }

    pub(super) async fn get(&mut self, path: &str) -> (Response<()>, Vec<u8>) {
        self.fetch(request("GET", path), b"").await
    }
}

pub(super) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://localhost{path}")).body(()).unwrap()
}

/// The body up to its end, or the error that it ends with.
pub(super) async fn read(stream: &mut ClientStream) -> Result<Vec<u8>, h3::error::StreamError> {
    let mut body = Vec::new();
    while let Some(mut data) = stream.recv_data().await? {
        while data.has_remaining() {
            body.extend_from_slice(data.chunk());
            data.advance(data.chunk().len());
        }
    }
    Ok(body)
}

/// Octets that tell where in a body they stand, so that a lost or doubled piece is noticed.
pub(super) fn pattern(length: usize) -> Bytes {
    (0..length as u64 / 8 + 1)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes())
        .take(length)
        .collect()
}

/// A TLS client that takes any certificate.
pub(super) fn trusting() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth()
}

#[derive(Debug)]
pub(super) struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Comes back once `is` holds, which is not announced.
pub(in crate::edge) async fn until(is: impl Fn() -> bool) {
    let reached = async {
        while !is() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), reached).await.expect("it never came to that");
}
