//! Does a session get past a listener's demand for client certificates? Public reports of the kind:
//! randombit/botan#5818, junkurihara/rust-rpxy#603, and CVE-2025-23419 in nginx.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, ConnectionCommon, Error, HandshakeKind,
    ServerConfig, ServerConnection, SignatureScheme, SupportedProtocolVersion,
    client::ResolvesClientCert,
    crypto::aws_lc_rs,
    sign::CertifiedKey,
    time_provider::TimeProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};

use super::lab::{Trusting, config, raw_to};
use crate::{
    config::{ClientCertificates, Config, EarlyData},
    edge::tls::{Resumption, Tls, tickets::Tickets, tls},
};

/// A way to a listener: the client's TLS version and protocol, and which of the listener's
/// configurations it meets.
type Way = (&'static SupportedProtocolVersion, &'static [u8], fn(&Tls) -> &Arc<ServerConfig>);

const WAYS: [Way; 4] = [
    (&TLS13, b"h3", |tls| &tls.quic),
    (&TLS13, b"echo", |tls| &tls.quic),
    (&TLS13, b"h2", over_tcp),
    (&TLS12, b"http/1.1", over_tcp),
];

fn over_tcp(tls: &Tls) -> &Arc<ServerConfig> {
    tls.tcp.as_ref().expect("it has a TCP port")
}

/// Certificate required, and nothing else: the alert that a client without one gets.
const REFUSED: Refused = Refused {
    why: Error::NoCertificatesPresented,
    heard: Some(Error::AlertReceived(AlertDescription::CertificateRequired)),
};

#[test]
fn a_session_of_a_listener_that_demands_nothing_is_unknown_where_a_certificate_is_required() {
    let house = House::new();
    let required = house.listener(Some((&[&house.a], true)));
    for before in [house.listener(None), house.listener(Some((&[&house.a], false)))] {
        for (version, alpn, of) in WAYS {
            let client = Client::new(version, alpn);
            assert_eq!(client.meet(of(&before)).unwrap().kind, HandshakeKind::Full);
            assert_eq!(client.meet(of(&before)).unwrap().kind, HandshakeKind::Resumed, "where it is from");
            assert_eq!(client.meet(of(&required)).unwrap_err(), Box::new(REFUSED));
        }
    }
}

#[test]
fn a_session_resumes_where_the_same_is_asked_and_its_certificate_is_told() {
    let house = House::new();
    let certificate = house.a.client(2100);
    for required in [true, false] {
        let listener = house.listener(Some((&[&house.a, &house.b], required)));
        // As a reload reads them again, or another listener: the order of authorities means nothing.
        let again = house.listener(Some((&[&house.b, &house.a, &house.b], required)));
        for (version, alpn, of) in WAYS {
            let client = Client::new(version, alpn).with(&certificate);
            let first = client.meet(of(&listener)).unwrap();
            assert_eq!(first, Met { kind: HandshakeKind::Full, shown: Some(certificate.cert[0].clone()) });
            client.forget_certificate();
            let second = client.meet(of(&again)).unwrap();
            assert_eq!(second, Met { kind: HandshakeKind::Resumed, ..first });
        }
    }
}

#[test]
fn a_session_of_one_authority_is_unknown_where_another_is_trusted() {
    let house = House::new();
    let certificate = house.a.client(2100);
    let of_a = house.listener(Some((&[&house.a], true)));
    let of_b = house.listener(Some((&[&house.b], true)));
    let of_both = house.listener(Some((&[&house.a, &house.b], true)));
    for (version, alpn, of) in WAYS {
        let client = Client::new(version, alpn).with(&certificate);
        client.meet(of(&of_a)).unwrap();
        let refused = client.meet(of(&of_b)).unwrap_err().why;
        assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused:?}");
        assert_eq!(client.meet(of(&of_both)).unwrap().kind, HandshakeKind::Full);
        client.forget_certificate();
        assert_eq!(client.meet(of(&of_b)).unwrap_err(), Box::new(REFUSED));
    }
}

#[test]
fn a_session_stays_with_its_transport() {
    let house = House::new();
    let listener = house.listener(None);
    let client = Client::new(&TLS13, b"h2");
    client.meet(over_tcp(&listener)).unwrap();
    let over_quic = client.speaking(b"h3");
    assert_eq!(over_quic.meet(&listener.quic).unwrap().kind, HandshakeKind::Full);
    assert_eq!(over_quic.meet(over_tcp(&listener)).unwrap_err().why, Error::NoApplicationProtocol);
}

#[test]
fn a_stored_session_is_unknown_where_a_certificate_is_required() {
    let house = House::new();
    let with_early_data = |asked| {
        let mut config = house.config(asked);
        config.listeners[0].early_data = EarlyData::Safe;
        tls(&config.listeners[0], &config.routes, &house.resumption).unwrap().quic
    };
    let before = with_early_data(None);
    let client = Client::new(&TLS13, b"h3");
    client.meet(&before).unwrap();
    assert_eq!(client.meet(&before).unwrap().kind, HandshakeKind::Resumed);
    // The configuration has no such listener; what is stored would be no way around it.
    assert_eq!(client.meet(&with_early_data(Some((&[&house.a], true)))).unwrap_err(), Box::new(REFUSED));
}

/// What quic-go would send by the limits that it remembers breaks lower ones: cloudflare/quiche#2627,
/// aws/s2n-quic#3195.
#[test]
fn a_stored_session_is_known_under_the_limits_it_began_with() {
    let house = House::new();
    let mut config = house.config(None);
    config.listeners[0].early_data = EarlyData::Safe;
    let under =
        |limits: &[u8]| tls(&config.listeners[0], &config.routes, &house.resumption.under(limits)).unwrap().quic;
    let client = Client::new(&TLS13, b"h3");
    client.meet(&under(b"high")).unwrap();
    assert_eq!(client.meet(&under(b"high")).unwrap().kind, HandshakeKind::Resumed, "after a reload of other things");
    assert_eq!(client.meet(&under(b"low")).unwrap().kind, HandshakeKind::Full);
    assert_eq!(client.meet(&under(b"low")).unwrap().kind, HandshakeKind::Resumed);
}

/// rustls/webpki#205: what `openssl req -x509` makes says `CA:TRUE`.
#[test]
fn an_authority_is_let_in_by_its_own_certificate() {
    let house = House::new();
    let listener = house.listener(Some((&[&house.a], true)));
    for (version, alpn, of) in WAYS {
        let client = Client::new(version, alpn).with(&house.a.own);
        let first = client.meet(of(&listener)).unwrap();
        assert_eq!(first, Met { kind: HandshakeKind::Full, shown: Some(house.a.own.cert[0].clone()) });
        assert_eq!(client.meet(of(&listener)).unwrap().kind, HandshakeKind::Resumed);
        let stranger = Client::new(version, alpn).with(&house.b.own).meet(of(&listener)).unwrap_err().why;
        assert!(matches!(stranger, Error::InvalidCertificate(_)), "{stranger:?}");
        // Before it was made: rcgen's begin in 1975.
        let mut then = ServerConfig::clone(of(&listener));
        then.time_provider = Arc::new(At(0));
        let early = Client::new(version, alpn).with(&house.a.own).meet(&Arc::new(then)).unwrap_err().why;
        assert_eq!(early, Error::InvalidCertificate(CertificateError::NotValidYet));
    }
}

#[test]
fn a_session_does_not_outlive_its_certificate() {
    let house = House::new();
    let listener = house.listener(Some((&[&house.a], true)));
    for (version, alpn, of) in WAYS {
        for (until, kind) in [(2100, HandshakeKind::Resumed), (2021, HandshakeKind::Full)] {
            // At the time of the handshakes it is good: tickets are judged by the time there is.
            let mut then = ServerConfig::clone(of(&listener));
            then.time_provider = Arc::new(At(MIDDLE_OF_2020));
            let then = Arc::new(then);
            let client = Client::new(version, alpn).with(&house.a.client(until));
            assert_eq!(client.meet(&then).unwrap().kind, HandshakeKind::Full);
            assert_eq!(client.meet(&then).unwrap().kind, kind, "until {until}");
        }
    }
}

const MIDDLE_OF_2020: u64 = 1_593_561_600;

/// It is always so many seconds after the beginning of 1970.
#[derive(Debug)]
struct At(u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// Two authorities, and listeners of one node that trust them.
struct House {
    a: Authority,
    b: Authority,
    resumption: Resumption,
    folder: PathBuf,
}

impl House {
    fn new() -> Self {
        static NEXT: Mutex<u32> = Mutex::new(0);
        let number = {
            let mut next = NEXT.lock().unwrap();
            *next += 1;
            *next
        };
        let folder = std::env::temp_dir().join(format!("quic-router-resumption-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let resumption = Resumption::new(Arc::new(Tickets::new(&[1; 32])));
        Self { a: Authority::new("a"), b: Authority::new("b"), resumption, folder }
    }

    /// Trusts these authorities; whether a certificate is required.
    fn config(&self, asked: Option<(&[&Authority], bool)>) -> Config {
        let mut config = config(&format!(
            "[[route]]\nupstream = \"h\"\n[upstream.h]\nservers = [\"http://127.0.0.1:1\"]\n{}",
            raw_to("127.0.0.1:1".parse().unwrap())
        ));
        config.listeners[0].tcp = true;
        config.listeners[0].client_certificates = asked.map(|(authorities, required)| {
            let ca = self.folder.join("ca.pem");
            std::fs::write(&ca, authorities.iter().map(|authority| authority.pem.as_str()).collect::<String>())
                .unwrap();
            ClientCertificates { ca, required }
        });
        config
    }

    fn listener(&self, asked: Option<(&[&Authority], bool)>) -> Tls {
        let config = self.config(asked);
        tls(&config.listeners[0], &config.routes, &self.resumption).unwrap()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).expect("the test made the folder");
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Signed by itself.
    own: Arc<CertifiedKey>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let own = certified(&certificate, &key);
        Self { pem: certificate.pem(), own, issuer: Issuer::new(params, key) }
    }

    /// A client's certificate that is good from 2019 until the end of a year.
    fn client(&self, until: i32) -> Arc<CertifiedKey> {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "client");
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        certified(&params.signed_by(&key, &self.issuer).unwrap(), &key)
    }
}

fn certified(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<CertifiedKey> {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).unwrap();
    Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// A client that keeps its sessions.
struct Client {
    config: Arc<ClientConfig>,
    wallet: Arc<Wallet>,
}

/// What came of a handshake, as the server sees it.
#[derive(Debug, PartialEq)]
struct Met {
    kind: HandshakeKind,
    shown: Option<CertificateDer<'static>>,
}

/// Why there was no handshake.
#[derive(Debug, PartialEq)]
struct Refused {
    /// To the server.
    why: Error,
    /// What the client is told.
    heard: Option<Error>,
}

impl Client {
    fn new(version: &'static SupportedProtocolVersion, alpn: &[u8]) -> Self {
        let wallet = Arc::new(Wallet(Mutex::new(None)));
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting))
            .with_client_cert_resolver(wallet.clone());
        config.alpn_protocols = vec![alpn.to_vec()];
        Self { config: Arc::new(config), wallet }
    }

    fn with(self, certificate: &Arc<CertifiedKey>) -> Self {
        *self.wallet.0.lock().unwrap() = Some(certificate.clone());
        self
    }

    /// With the same sessions.
    fn speaking(&self, alpn: &[u8]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![alpn.to_vec()];
        Self { config: Arc::new(config), wallet: self.wallet.clone() }
    }

    /// From now on it has sessions alone.
    fn forget_certificate(&self) {
        *self.wallet.0.lock().unwrap() = None;
    }

    /// A handshake in memory, up to and including the tickets.
    fn meet(&self, server: &Arc<ServerConfig>) -> Result<Met, Box<Refused>> {
        let mut client = ClientConnection::new(self.config.clone(), "localhost".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(server.clone()).unwrap();
        while client.wants_write() || server.wants_write() {
            let judged = carry(&mut client, &mut server);
            let heard = carry(&mut server, &mut client);
            judged.map_err(|why| Box::new(Refused { why, heard: heard.err() }))?;
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        let shown = server.peer_certificates().map(|chain| chain[0].clone().into_owned());
        Ok(Met { kind: server.handshake_kind().unwrap(), shown })
    }
}

/// All that one has to say goes to the other, which judges it.
fn carry<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> Result<(), Error>
where
    A: rustls::SideData,
    B: rustls::SideData,
{
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = wire.as_slice();
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

/// A certificate that can be lost. Sessions are kept apart by whose wallet it was, not by what is in it.
#[derive(Debug)]
struct Wallet(Mutex<Option<Arc<CertifiedKey>>>);

impl ResolvesClientCert for Wallet {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap().clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
