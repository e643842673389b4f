//! `[[listener]]`: where and how clients reach us.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Most `[[listener]]` tables a node can have: the size of the map that knows them.
pub const LISTENERS_MAX: usize = router_common::maps::LISTENERS_MAX as usize;

/// `[[listener]]`: an address we answer on.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// UDP address. `[::]` means IPv6 only: list `0.0.0.0` beside it for IPv4.
    pub address: SocketAddr,
    /// What to present to clients.
    pub certificates: Certificates,
    /// HTTP/1.1 and HTTP/2 over TLS on the TCP port of the same number, by the same routes.
    pub tcp: bool,
    /// Where plain HTTP is answered with a redirect to this listener; none: nowhere.
    pub redirect_from: Option<SocketAddr>,
    /// How long a client that came by TCP may remember that HTTP/3 is here (`ma` of Alt-Svc,
    /// RFC 7838 section 3.1); none: it is not told.
    pub alt_svc_max_age: Option<Duration>,
    /// 0-RTT (RFC 8470).
    pub early_data: EarlyData,
    /// Whose clients are let in; none: all clients.
    pub client_certificates: Option<ClientCertificates>,
    /// The oldest TLS version on TCP; QUIC has 1.3 alone.
    pub minimum_tls: MinimumTls,
    /// Key exchange groups, the most wanted first; never empty.
    pub groups: Vec<Group>,
    /// An address of this host that clients are asked to move to after the handshake (RFC 9000
    /// section 9.6); the listener's own address is the wildcard of the same family and port.
    pub preferred_address: Option<SocketAddr>,
    /// What a case of the interop runner asks for; the file cannot.
    #[cfg(feature = "interop")]
    pub interop: crate::interop::Switches,
}

/// What a listener presents in its TLS handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificates {
    /// Certificate and key files; chosen by SNI, the first when none matches.
    Files(Vec<CertificateFiles>),
    /// Made in memory at start; only on loopback and private addresses.
    SelfSigned,
}

/// A PEM certificate chain and its PEM private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Chain, leaf first.
    pub cert: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// What may be done with requests that come in 0-RTT, which an observer can replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyData {
    /// Clients are not offered it.
    Off,
    /// Requests with safe methods are served, with `Early-Data: 1` for the upstream; others wait
    /// for the handshake's end (RFC 8470 section 5).
    Safe,
}

/// Client certificates (TLS client authentication).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM file of the authorities that sign them.
    pub ca: PathBuf,
    /// Whether a client without one is refused.
    pub required: bool,
}

/// The oldest TLS version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinimumTls {
    /// RFC 5246, with forward secrecy and AEAD only.
    Tls12,
    /// RFC 8446
    Tls13,
}

/// A key exchange group (RFC 8446 section 4.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// `X25519MLKEM768`, hybrid with ML-KEM: keeps what is recorded today from the quantum
    /// computers of later.
    X25519MlKem768,
    /// `X25519`
    X25519,
    /// `P-256`, secp256r1.
    P256,
    /// `P-384`, secp384r1.
    P384,
}
