//! `[upstream.NAME]`: what answers requests or takes streams.

use std::{fmt, ops::RangeInclusive, path::PathBuf, time::Duration};

use http::{HeaderValue, StatusCode};

/// `[upstream.NAME]`
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a configuration has few of them, and they are not moved")]
pub enum Upstream {
    /// Servers elsewhere.
    Servers(Servers),
    /// `files:DIR`: the files below a folder.
    Files(PathBuf),
    /// `respond:STATUS`: always the same.
    Respond(StatusCode),
}

/// A set of equivalent servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Servers {
    /// At least one; all for HTTP, or all for streams.
    pub all: Vec<Server>,
    /// How a server is chosen.
    pub balance: Balance,
    /// Asked of each server now and then; none: every server counts as healthy until it is ejected.
    pub health: Option<Health>,
    /// When a server that fails requests is left alone for a while; none: never.
    pub ejection: Option<Ejection>,
    /// Over how long a server's share grows after it came back; none: it has all of it at once.
    pub slow_start: Option<Duration>,
    /// Requests in flight, or streams, on one server at once; the node's.
    pub max_connections: u32,
    /// The part of all places that one client may have while others have none, above 0, at most 1.
    pub client_share: f64,
    /// Requests or streams that may wait for one of them; more are answered with 503.
    pub queue: u32,
    /// How long what is asked of a server may take.
    pub timeouts: Timeouts,
    /// `https://` servers: whom to trust, and who we are.
    pub tls: UpstreamTls,
    /// What servers are told in `Host` and `:authority`.
    pub host: HostField,
    /// Whether a stream begins with a header that tells who the client is (PROXY protocol, version 2).
    pub proxy_protocol: bool,
}

/// One server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Where it is, and what it speaks.
    pub address: ServerAddress,
    /// Its share, 1 to 1000, beside the others' shares.
    pub weight: u16,
}

/// Where a server is, and what it speaks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// `http://HOST:PORT`: HTTP/1.1
    Http(Authority),
    /// `https://HOST:PORT`: HTTP/2 or HTTP/1.1 by ALPN
    Https(Authority),
    /// `h2c://HOST:PORT`: HTTP/2 in clear, with prior knowledge
    H2c(Authority),
    /// `tcp://HOST:PORT`: streams
    Tcp(Authority),
    /// `unix:PATH`: HTTP/1.1 or streams, as the route is
    Unix(PathBuf),
}

/// `HOST:PORT`, the host an IP address or a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Without brackets for IPv6.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// How an upstream's next server is chosen, always by the servers' weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// In turn.
    RoundRobin,
    /// The one with the fewest requests in flight.
    LeastRequests,
    /// Of two at random the one with fewer requests in flight.
    RandomTwoChoices,
    /// The same one for the same client address, as long as it is healthy.
    SourceHash,
}

/// Active health checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is asked.
    pub probe: HealthProbe,
    /// From one question to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row until a server that was down is up.
    pub rise: u32,
    /// Bad ones until one that was up is down.
    pub fall: u32,
}

/// What is asked of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthProbe {
    /// Does it take a connection?
    Connect,
    /// `GET`, with a status in the range.
    Http {
        /// Path and query.
        path: String,
        /// `Host`; none: the server's own.
        host: Option<HeaderValue>,
        /// The good ones.
        status: RangeInclusive<u16>,
    },
}

/// Passive health: by what requests meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row (no connection, broken off, no answer in time, one of `status`) that eject a server.
    pub failures: u32,
    /// For how long.
    pub time: Duration,
    /// First and last of the statuses that count as a failure; none do by default, because a client can ask
    /// for what a server answers so on purpose.
    pub status: Option<[u16; 2]>,
}

/// How long what is asked of a server may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To take a connection, name resolution and TLS included.
    pub connect: Duration,
    /// To begin a response, from the last octet of the request.
    pub response: Duration,
    /// Between two pieces of a response's body.
    pub idle: Duration,
    /// In the queue.
    pub queue: Duration,
}

/// TLS towards servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust; none: the system's.
    pub ca: Option<PathBuf>,
    /// The name in SNI and in the server's certificate; none: the host in its URL.
    pub name: Option<String>,
    /// What we show a server that asks.
    pub certificate: Option<super::CertificateFiles>,
}

/// What servers are told in `Host` and `:authority`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostField {
    /// What the client said.
    Client,
    /// The host and port in the server's URL.
    Server,
    /// Always this.
    Fixed(HeaderValue),
}

/// As the file writes it.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::Https(authority) => write!(f, "https://{authority}"),
            Self::H2c(authority) => write!(f, "h2c://{authority}"),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
