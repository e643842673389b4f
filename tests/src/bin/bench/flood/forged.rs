//! First flights that a worker has to take for a client's: whole Initials with a ClientHello in them, each with a
//! connection ID of its own, from forged addresses.

use std::{
    net::{Ipv4Addr, SocketAddr},
    panic,
    sync::Arc,
    thread::{self, ScopedJoinHandle},
};

use anyhow::{Context as _, Result, ensure};
use router_tests::{
    lab::{PORT, Wire},
    packets::{Packet, Random},
};
use rustls::{
    CipherSuite, ClientConfig, NamedGroup, RootCertStore, Side, SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs},
    quic::{ClientConnection, Suite, Version},
    version::TLS13,
};
use rustls_pki_types::ServerName;

/// A flood's, in the order in which they are sent.
#[derive(Clone)]
pub(super) struct Frames {
    flights: Arc<Vec<Flight>>,
    /// From the addresses of which flood.
    which: usize,
}

/// A first flight, and what it has before it in each flood: Ethernet, IP and UDP.
#[derive(Clone)]
struct Flight {
    initial: [u8; DATAGRAM],
    heads: [[u8; HEAD]; FLOODS.len()],
}

type Source = fn(&Wire, &mut Random) -> Ipv4Addr;

impl Frames {
    /// Each, in two parts.
    pub(super) fn parts(&self) -> impl Iterator<Item = [&[u8]; 2]> + Clone {
        self.flights.iter().map(|flight| [&flight.heads[self.which][..], &flight.initial[..]])
    }
}

/// The floods, by what their sources are.
pub(super) fn floods(wire: &Wire) -> Result<Vec<(&'static str, Frames)>> {
    let mut flights = vec![Flight { initial: [0; DATAGRAM], heads: [[0; HEAD]; FLOODS.len()] }; DIFFERENT];
    let share = DIFFERENT.div_ceil(thread::available_parallelism()?.get());
    let (suite, hello) = (suite()?, client_hello()?);
    thread::scope(|scope| {
        let begin = |flights| scope.spawn(|| fill(flights, wire, &suite, &hello));
        let threads: Vec<_> = flights.chunks_mut(share).map(begin).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        threads.into_iter().try_for_each(join)
    })?;
    let flights = Arc::new(flights);
    let flood = |(which, (name, _)): (usize, &(_, _))| (*name, Frames { flights: Arc::clone(&flights), which });
    Ok(FLOODS.iter().enumerate().map(flood).collect())
}

fn fill(flights: &mut [Flight], wire: &Wire, suite: &Suite, hello: &[u8]) -> Result<()> {
    let mut random = Random::of_now();
    let to = SocketAddr::from((wire.router4(), PORT));
    for flight in flights {
        let initial = initial(suite, hello, &random.octets(CID_LENGTH))?;
        for ((_, source), head) in FLOODS.iter().zip(&mut flight.heads) {
            // A port that a client's system gives out.
            let port = 32_768 + random.below(28_232) as u16;
            let frame = Packet::udp((source(wire, &mut random), port), to, initial.clone()).frame();
            head.copy_from_slice(&frame[..HEAD]);
        }
        flight.initial.copy_from_slice(&initial);
    }
    Ok(())
}

/// Any address that a host may have, but for networks that are nobody's or the laboratory's own.
fn anywhere(_: &Wire, random: &mut Random) -> Ipv4Addr {
    loop {
        let address = Ipv4Addr::from(random.word() as u32);
        let [first, ..] = address.octets();
        let special = address.is_private() || address.is_link_local() || address.is_loopback();
        if first > 0 && first < 224 && !special {
            return address;
        }
    }
}

/// In the clients' /24, but none of those that are in use.
fn beside_the_clients(wire: &Wire, random: &mut Random) -> Ipv4Addr {
    let [a, b, c, _] = wire.client4()[0].octets();
    Ipv4Addr::new(a, b, c, 4 + random.below(251) as u8)
}

/// RFC 9000 section 17.2.2, protected as RFC 9001 section 5 says.
fn initial(suite: &Suite, hello: &[u8], destination: &[u8]) -> Result<Vec<u8>> {
    let keys = suite.keys(destination, Side::Client, Version::V1).local;
    let mut header = vec![0xc0 | (NUMBER as u8 - 1), 0, 0, 0, 1, destination.len() as u8];
    header.extend(destination);
    header.push(SOURCE.len() as u8);
    header.extend(SOURCE);
    // No token; behind it the length of what follows, and the packet's number.
    header.push(0);
    let rest = DATAGRAM - header.len() - 2;
    header.extend((rest as u16 | 0x4000).to_be_bytes());
    header.extend([0; NUMBER]);

    // A CRYPTO frame from offset 0 on, then padding.
    let mut payload = vec![0x06, 0];
    payload.extend((u16::try_from(hello.len())? | 0x4000).to_be_bytes());
    payload.extend(hello);
    let room = DATAGRAM - header.len() - keys.packet.tag_len();
    ensure!(payload.len() <= room, "a ClientHello of {} octets is too long", hello.len());
    payload.resize(room, 0);
    let tag = keys.packet.encrypt_in_place(0, &header, &mut payload)?;
    payload.extend(tag.as_ref());

    let at = header.len() - NUMBER;
    let sample = &payload[4 - NUMBER..][..keys.header.sample_len()];
    let (first, number) = header.split_at_mut(at);
    keys.header.encrypt_in_place(sample, &mut first[0], number)?;
    header.extend(payload);
    Ok(header)
}

/// Cryptography of Initials (RFC 9001 section 5.2).
fn suite() -> Result<Suite> {
    let wanted = CipherSuite::TLS13_AES_128_GCM_SHA256;
    let suites = aws_lc_rs::default_provider().cipher_suites;
    let quic = suites.iter().find_map(|known| match known {
        SupportedCipherSuite::Tls13(suite) if suite.common.suite == wanted => suite.quic_suite(),
        _ => None,
    });
    quic.context("no cryptography for Initials")
}

/// One for all: what a server does for it is the same.
fn client_hello() -> Result<Vec<u8>> {
    let mut provider: CryptoProvider = aws_lc_rs::default_provider();
    // With a hybrid key share it would not fit one Initial.
    provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&TLS13])?;
    let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = vec![b"h3".to_vec()];
    // initial_source_connection_id (RFC 9000 section 18.2): all that a server asks for.
    let parameters = [&[0x0f, SOURCE.len() as u8], &SOURCE[..]].concat();
    let name = ServerName::try_from("localhost")?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), Version::V1, name, parameters)?.write_hs(&mut hello);
    Ok(hello)
}

const FLOODS: [(&str, Source); 2] = [("from everywhere", anywhere), ("from the clients' prefix", beside_the_clients)];
/// So many that none comes again within a turn: it would be a packet of the handshake that the first one has begun.
const DIFFERENT: usize = 800_000;
/// Of Ethernet, IPv4 and UDP.
const HEAD: usize = 14 + 20 + 8;
const DATAGRAM: usize = 1_200;
const CID_LENGTH: usize = 8;
const SOURCE: [u8; 8] = *b"nobody's";
/// Octets of a packet's number.
const NUMBER: usize = 4;
