//! Whether clients and quinn take what a kernel program answers by itself for what quinn would have answered.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::aead;
use bytes::BytesMut;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, Event, Incoming, ServerConfig,
    crypto::HandshakeTokenKey,
};
use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::SmallRng};
use router_common::{
    admission::{self, Request, Scratch, TokenKey, TokenKeys},
    connection_id::ConnectionId,
    frame::{Endpoint as Client, Payload},
    quic::{self, LongHeader},
};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::secrets::Secrets;

/// Against AES-GCM as aws-lc has it, over Retries of all lengths.
#[test]
fn tags_are_those_of_aes_gcm() {
    const RETRIES: u32 = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
    let key = 0xbe0c_690b_9f66_575a_1d76_6b54_e368_c84e_u128.to_be_bytes();
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_128_GCM, &key).unwrap());
    let nonce = 0x4615_99d3_5d63_2bf2_2398_25bb_u128.to_be_bytes();
    let (mut random, mut scratch) = (SmallRng::seed_from_u64(1), Scratch::EMPTY);
    for number in 0..RETRIES {
        let request = any_request(&mut random);
        let length = admission::retry(&request, &TokenKey::new(number + 1, [random.random(), 2]), &mut scratch);
        let (packet, tag) = scratch.answer().0[..length].split_last_chunk::<16>().unwrap();
        let original = request.destination.as_slice();
        let authenticated = aead::Aad::from([&[original.len() as u8], original, packet].concat());
        let nonce = aead::Nonce::try_assume_unique_for_key(&nonce[4..]).unwrap();
        let expected = key.seal_in_place_separate_tag(nonce, authenticated, &mut []).unwrap();
        assert_eq!(tag, expected.as_ref(), "{request:?}");
    }
}

fn any_request(random: &mut SmallRng) -> Request {
    let mut id = || {
        let mut octets = [0; 20];
        random.fill_bytes(&mut octets);
        ConnectionId::new(&octets[..random.random_range(0..=20)]).unwrap()
    };
    let (destination, source) = (id(), id());
    let (is_ipv4, port) = (random.random::<bool>(), random.random());
    let address = match is_ipv4 {
        true => SocketAddr::from((random.random::<[u8; 4]>(), port)),
        false => SocketAddr::from((random.random::<[u8; 16]>(), port)),
    };
    Request { client: address.into(), destination, source, now: random.random(), random: random.random() }
}

/// Octet for octet, but for what quinn draws at random in the first one.
#[test]
fn version_negotiation_is_quinns() {
    let (mut random, mut server) = (SmallRng::seed_from_u64(1), server(&secrets(1)));
    for version in [0x0a1a_2a3a, 0x0a1a_2a4a, 0x6b33_43cf, 2, 0xff00_001c, u32::MAX].repeat(50) {
        let Request { destination, source, .. } = any_request(&mut random);
        let mut packet = vec![0x80 | random.random::<u8>()];
        packet.extend(version.to_be_bytes());
        for id in [destination, source] {
            packet.push(id.len() as u8);
            packet.extend(id.as_slice());
        }
        packet.resize(1_200, random.random());
        let mut expected = Vec::new();
        let event = server.handle(Instant::now(), CLIENT, None, None, packet[..].into(), &mut expected);
        assert!(matches!(event, Some(DatagramEvent::Response(_))));
        let mut scratch = Scratch::EMPTY;
        let header = quic::long_header(&packet[..], whole(&packet)).unwrap();
        let length = admission::version_negotiation(&header, expected[0] & 0x3f, &mut scratch).unwrap();
        assert_eq!(scratch.answer().0[..length], expected, "{header:?}");
    }
}

/// As clients have them: the handshake is only done if the Retry's tag and both transport parameters that tell of
/// it are right.
#[test]
fn a_handshake_through_a_retry_of_the_kernels() {
    let secrets = secrets(1);
    for client_address in [CLIENT, "[2001:db8::1]:50000".parse().unwrap()] {
        let mut attempt = Attempt { client_address, ..Attempt::new(&secrets) };
        let (mut client, mut server) = (Peer::client(), Peer::of(server(&secrets)));
        let answer = attempt.answer_of(&mut client);
        let incoming = attempt.presented(&answer, &mut server).expect("an Initial that quinn takes up");
        assert!(incoming.remote_address_validated() && !incoming.may_retry());
        assert_eq!(&incoming.orig_dst_cid()[..], attempt.original.as_slice());
        let accepted = server.endpoint.accept(incoming, Instant::now(), &mut Vec::new(), None);
        server.connection = Some(accepted.map_err(|e| e.cause).unwrap());
        for _ in 0..10 {
            server.send().into_iter().for_each(|datagram| drop(client.receive(SERVER, &datagram)));
            client.send().into_iter().for_each(|datagram| drop(server.receive(client_address, &datagram)));
        }
        assert!(client.is_connected() && server.is_connected());
    }
}

#[test]
fn a_token_that_proves_nothing_validates_no_client() {
    let secrets = secrets(1);
    let result = |attempt: Attempt, from: SocketAddr| {
        let (mut client, mut server) = (Peer::client(), Peer::of(server(&secrets)));
        let mut attempt = attempt;
        let answer = attempt.answer_of(&mut client);
        attempt.client_address = from;
        attempt.presented(&answer, &mut server).map(|incoming| incoming.remote_address_validated())
    };
    let attempt = || Attempt::new(&secrets);
    assert_eq!(result(attempt(), CLIENT), Some(true));
    assert_eq!(result(Attempt { now: seconds_now() - 14, ..attempt() }, CLIENT), Some(true));
    // quinn refuses the connection.
    assert_eq!(result(Attempt { now: seconds_now() - 16, ..attempt() }, CLIENT), None);
    assert_eq!(result(attempt(), SocketAddr::new(CLIENT.ip(), 50_001)), None);
    assert_eq!(result(attempt(), "192.0.2.2:50000".parse().unwrap()), None);
    // Like any Initial without a token.
    let of_another_secret = Attempt::new(&self::secrets(2));
    assert_eq!(result(of_another_secret, CLIENT), Some(false));
}

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 50_000);
const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)), 443);

fn secrets(master: u8) -> Secrets {
    Secrets::new(&[master; 32])
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn whole(packet: &[u8]) -> Payload {
    Payload { at: 0, length: packet.len() }
}

/// A client's attempt to connect, which a kernel program answers.
struct Attempt {
    client_address: SocketAddr,
    keys: TokenKeys,
    now: u64,
    original: ConnectionId,
}

impl Attempt {
    fn new(secrets: &Secrets) -> Self {
        let original = ConnectionId::new(&[]).unwrap();
        let keys = secrets.kernel_token_keys().at(SystemTime::now());
        Self { client_address: CLIENT, keys, now: seconds_now(), original }
    }

    /// What the kernel answers to the first flight of `client`: a Retry for its first datagram.
    fn answer_of(&mut self, client: &mut Peer) -> Vec<Vec<u8>> {
        let initial = client.send().swap_remove(0);
        let LongHeader { destination, source, .. } = quic::long_header(&initial[..], whole(&initial)).unwrap();
        self.original = destination;
        let client_endpoint = Client::from(self.client_address);
        let request = Request { client: client_endpoint, destination, source, now: self.now, random: 5 };
        let mut scratch = Scratch::EMPTY;
        let length = admission::retry(&request, self.keys.issuing().unwrap(), &mut scratch);
        client.receive(SERVER, &scratch.answer().0[..length]);
        client.send()
    }

    /// What `server` makes of the client's second flight.
    fn presented(&self, flight: &[Vec<u8>], server: &mut Peer) -> Option<Incoming> {
        let incoming = flight.iter().filter_map(|datagram| server.receive(self.client_address, datagram));
        incoming.take(1).next()
    }
}

/// An endpoint and its one connection.
struct Peer {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
}

impl Peer {
    fn of(endpoint: Endpoint) -> Self {
        Self { endpoint, connection: None }
    }

    fn client() -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CERTIFICATE.cert.der().clone()).unwrap();
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let connection = endpoint.connect(Instant::now(), config, SERVER, "localhost").unwrap();
        Self { endpoint, connection: Some(connection) }
    }

    /// Takes in a datagram; a connection that it begins.
    fn receive(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Incoming> {
        let event = self.endpoint.handle(Instant::now(), from, None, None, BytesMut::from(datagram), &mut Vec::new());
        match (event?, &mut self.connection) {
            (DatagramEvent::NewConnection(incoming), _) => return Some(incoming),
            (DatagramEvent::ConnectionEvent(_, event), Some((_, connection))) => connection.handle_event(event),
            (DatagramEvent::ConnectionEvent(..) | DatagramEvent::Response(_), _) => {}
        }
        None
    }

    /// The datagrams that the connection has to send.
    fn send(&mut self) -> Vec<Vec<u8>> {
        let (handle, connection) = self.connection.as_mut().unwrap();
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        let mut datagrams = Vec::new();
        let mut datagram = Vec::new();
        while let Some(transmit) = connection.poll_transmit(Instant::now(), 1, &mut datagram) {
            datagrams.push(datagram[..transmit.size].to_vec());
            datagram.clear();
        }
        datagrams
    }

    fn is_connected(&mut self) -> bool {
        let (_, connection) = self.connection.as_mut().unwrap();
        std::iter::from_fn(|| connection.poll()).any(|event| matches!(event, Event::Connected))
    }
}

fn server(secrets: &Secrets) -> Endpoint {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(CERTIFICATE.signing_key.serialize_der());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CERTIFICATE.cert.der().clone()], key.into())
        .unwrap();
    let key: Arc<dyn HandshakeTokenKey> = secrets.token_key();
    let config = ServerConfig::new(Arc::new(QuicServerConfig::try_from(tls).unwrap()), key);
    let mut endpoint_config = EndpointConfig::default();
    endpoint_config.supported_versions(quic::SUPPORTED_VERSIONS.to_vec());
    Endpoint::new(Arc::new(endpoint_config), Some(Arc::new(config)), false, None)
}

static CERTIFICATE: std::sync::LazyLock<rcgen::CertifiedKey<rcgen::KeyPair>> =
    std::sync::LazyLock::new(|| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
