//! `cargo xtask bench crypto`: what rustls costs a server with each of the two libraries under it, aws-lc-rs and
//! ring: for a handshake, and for a packet of QUIC.
//!
//! The libraries take turns, on one CPU. The figures are medians over the turns; the ratio is the median
//! of the ratios within each turn, so that a machine that drifts drifts under both. Of a handshake only
//! the server's part is timed; the client is the same for both.

use std::{
    hint::black_box,
    io::Cursor,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};
use router_tests::cpu;
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, NamedGroup, RootCertStore, ServerConfig, ServerConnection, Side,
    SupportedCipherSuite,
    crypto::{CryptoProvider, aws_lc_rs, ring},
    quic::{Keys, Version},
    server::NoServerSessionStorage,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

fn main() -> Result<()> {
    cpu::stay_on_this_one()?;
    println!("medians of {TURNS} turns; ratio: ring's time by that of aws-lc-rs, median of the turns' own\n");
    println!("| a server's part of a handshake, TLS 1.3 | aws-lc-rs, µs | ring, µs | ratio |\n|---|---:|---:|---:|");
    for (name, key) in [("ECDSA P-256", Key::Ecdsa), ("RSA 2048", Key::Rsa)] {
        for group in [NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::X25519MLKEM768] {
            handshakes(&format!("{name}, {}", group.as_str().unwrap_or("?")), &key.make()?, group)?;
        }
    }
    println!(
        "\n| a packet of QUIC, with its header's protection | aws-lc-rs, ns | ring, ns | ratio |\n|---|---:|---:|---:|"
    );
    for suite in [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256] {
        for octets in SIZES {
            packets(suite, octets)?;
        }
    }
    Ok(())
}

/// Does something many times, and gives the time of one.
type Timed = Box<dyn FnMut() -> Result<Duration>>;

/// What each of the two takes for one, in turns; none if it cannot do it.
fn row(name: &str, mut with: [Option<Timed>; 2], unit: Duration) -> Result<()> {
    let mut turns = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (one, turns) in with.iter_mut().zip(&mut turns) {
            if let Some(one) = one {
                turns.push(one()?.as_secs_f64() / unit.as_secs_f64());
            }
        }
    }
    let ratios = turns[0].iter().zip(&turns[1]).map(|(aws_lc_rs, ring)| ring / aws_lc_rs).collect();
    let shown = |values: Vec<f64>, digits| median(values).map_or("-".into(), |value| format!("{value:.digits$}"));
    let [aws_lc_rs, ring] = turns;
    println!("| {name} | {} | {} | {} |", shown(aws_lc_rs, 1), shown(ring, 1), shown(ratios, 2));
    Ok(())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn handshakes(name: &str, identity: &Identity, group: NamedGroup) -> Result<()> {
    let client = client(identity, group)?;
    let with = |provider: CryptoProvider| -> Result<Option<Timed>> {
        if !provider.kx_groups.iter().any(|known| known.name() == group) {
            return Ok(None);
        }
        let (server, client) = (server(identity, provider)?, Arc::clone(&client));
        Ok(Some(Box::new(move || {
            let mut time = Duration::ZERO;
            for _ in 0..HANDSHAKES {
                time += handshake(&client, &server)?;
            }
            Ok(time / HANDSHAKES)
        })))
    };
    row(name, [with(aws_lc_rs::default_provider())?, with(ring::default_provider())?], Duration::from_micros(1))
}

/// The time that the server took for its part.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Duration> {
    let mut client = ClientConnection::new(Arc::clone(client), ServerName::try_from(NAME)?)?;
    let begun = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut time = begun.elapsed();
    for _flight in 0..2 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight)?;
        }
        let begun = Instant::now();
        let answer = answer(&mut server, &flight)?;
        time += begun.elapsed();
        let mut answer = Cursor::new(answer);
        while client.read_tls(&mut answer)? > 0 {
            client.process_new_packets()?;
        }
    }
    ensure!(!server.is_handshaking() && !client.is_handshaking(), "a handshake takes more than two flights");
    Ok(time)
}

fn answer(server: &mut ServerConnection, flight: &[u8]) -> Result<Vec<u8>> {
    let (mut flight, mut answer) = (Cursor::new(flight), Vec::new());
    while server.read_tls(&mut flight)? > 0 {
        server.process_new_packets()?;
    }
    while server.wants_write() {
        server.write_tls(&mut answer)?;
    }
    Ok(answer)
}

fn client(identity: &Identity, group: NamedGroup) -> Result<Arc<ClientConfig>> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.retain(|known| known.name() == group);
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone())?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&TLS13])?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn server(identity: &Identity, provider: CryptoProvider) -> Result<Arc<ServerConfig>> {
    let config = ServerConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(&[&TLS13])?;
    let chain = vec![identity.certificate.clone()];
    let mut config = config.with_no_client_auth().with_single_cert(chain, identity.key.clone_key())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

#[derive(Clone, Copy)]
enum Key {
    Ecdsa,
    Rsa,
}

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Key {
    fn make(self) -> Result<Identity> {
        let key = match self {
            Self::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            Self::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        };
        let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok(Identity { certificate: certificate.der().clone(), key: key.into() })
    }
}

fn packets(suite: CipherSuite, octets: usize) -> Result<()> {
    let name = suite.as_str().unwrap_or("?").trim_start_matches("TLS13_").to_owned();
    let keys = |provider: CryptoProvider, side| keys(&provider, suite, side);
    for (what, seals) in [("sealed", true), ("opened", false)] {
        let with = |provider: fn() -> CryptoProvider| -> Result<Option<Timed>> {
            let (ours, theirs) = (keys(provider(), Side::Server)?, keys(provider(), Side::Client)?);
            let clear = [&HEADER[..], &vec![0x5a; octets], &[0; TAG]].concat();
            let mut sealed = clear.clone();
            seal(&theirs, &mut sealed)?;
            let packet = if seals { clear } else { sealed };
            Ok(Some(Box::new(move || {
                // Both ways there is a copy: what is opened, or sealed, is not so any more.
                let mut room = vec![0; packet.len()];
                let begun = Instant::now();
                for _ in 0..PACKETS {
                    room.copy_from_slice(&packet);
                    if seals {
                        seal(&ours, &mut room)?;
                    } else {
                        open(&ours, &mut room)?;
                    }
                    black_box(&room);
                }
                Ok(begun.elapsed() / PACKETS)
            })))
        };
        let name = format!("{octets} octets {what}, {name}");
        row(&name, [with(aws_lc_rs::default_provider)?, with(ring::default_provider)?], Duration::from_nanos(1))?;
    }
    Ok(())
}

/// Those of Initial packets, which any suite can have: how they were come by makes no difference.
fn keys(provider: &CryptoProvider, suite: CipherSuite, side: Side) -> Result<Keys> {
    let known = provider.cipher_suites.iter().find(|known| known.suite() == suite).context("no such suite")?;
    let SupportedCipherSuite::Tls13(suite) = known else { anyhow::bail!("not of TLS 1.3") };
    Ok(suite.quic_suite().context("not for QUIC")?.keys(&[7; 8], side, Version::V1))
}

/// RFC 9001 section 5: the payload, with the header for associated data, then the header.
fn seal(keys: &Keys, packet: &mut [u8]) -> Result<()> {
    let (header, rest) = packet.split_at_mut(HEADER.len());
    let end = rest.len() - TAG;
    let tag = keys.local.packet.encrypt_in_place(1, header, &mut rest[..end])?;
    rest[end..].copy_from_slice(tag.as_ref());
    let (first, number) = header.split_at_mut(HEADER.len() - NUMBER);
    keys.local.header.encrypt_in_place(&rest[4 - NUMBER..][..SAMPLE], &mut first[0], number)?;
    Ok(())
}

fn open(keys: &Keys, packet: &mut [u8]) -> Result<()> {
    let (header, rest) = packet.split_at_mut(HEADER.len());
    let (first, number) = header.split_at_mut(HEADER.len() - NUMBER);
    keys.remote.header.decrypt_in_place(&rest[4 - NUMBER..][..SAMPLE], &mut first[0], number)?;
    keys.remote.packet.decrypt_in_place(1, header, rest)?;
    Ok(())
}

const NAME: &str = "bench.test";
const TURNS: usize = 31;
const HANDSHAKES: u32 = 40;
const PACKETS: u32 = 4_000;
/// An acknowledgement, a full packet, and one of a path that takes more.
const SIZES: [usize; 3] = [40, 1_200, 1_440];
/// A short header: the first octet, a connection ID of 17, a packet number of two.
const HEADER: [u8; 20] = [0x41, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 1];
const NUMBER: usize = 2;
const TAG: usize = 16;
const SAMPLE: usize = 16;
