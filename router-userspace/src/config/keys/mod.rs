//! Every key that a configuration file may hold, each defined once: `limits.rs` has those of `[limits]`,
//! and so on.
//!
//! What a definition serves: serde reads the raw values of a table by it, the checker takes range,
//! default and words from it, a reload asks what takes a change, an unknown key is found by it, and the
//! tables of docs/configuration.md are made of it.

mod af_xdp;
mod connection_id;
mod health;
mod key;
pub(super) mod kinds;
mod limits;
mod listener;
mod observe;
mod route;
mod router;
mod transport;
mod unknown;
mod upstream;

use self::{
    af_xdp::AfXdpKeys,
    connection_id::ConnectionIdKeys,
    health::{EjectionKeys, HealthKeys},
    limits::LimitsKeys,
    listener::{CertificateKeys, ClientCertificatesKeys, ListenerKeys},
    observe::{AccessLogKeys, AdminKeys, QlogKeys},
    route::{RewriteKeys, RouteKeys},
    router::RouterKeys,
    transport::TransportKeys,
    upstream::{ServerKeys, UpstreamKeys, UpstreamTlsKeys},
};
pub(super) use self::{
    af_xdp::{AF_XDP, RawAfXdp},
    connection_id::{CONNECTION_ID, RawConnectionId},
    health::{EJECTION, HEALTH, RawEjection, RawHealth},
    key::{Compared, Described, Key},
    limits::{LIMITS, RawLimits},
    listener::{CLIENT_CERTIFICATES, LISTENER, RawCertificate, RawClientCertificates, RawListener, WILDCARDS},
    observe::{ACCESS_LOG, ADMIN, QLOG, RawAccessLog, RawAdmin, RawQlog},
    route::{ROUTE, RawFields, RawHeaders, RawRewrite, RawRoute},
    router::{ROUTER, RawRouter},
    transport::{RawTransport, TRANSPORT},
    unknown::{path_at, remove_unknown},
    upstream::{RawUpstream, RawUpstreamTls, RawWeighted, SERVER, UPSTREAM},
};
use super::{Config, TakenBy, error::Place, file::At};

/// One kind of table.
pub(super) struct Table {
    /// As the file writes its header, without brackets; empty for the file itself.
    pub(super) name: &'static str,
    pub(super) keys: &'static [&'static dyn Described],
    /// How a change of it, and of what is below it, is found and told; none: each key says it for itself.
    pub(super) whole: Option<Whole>,
    /// Tables below it, by key; `*` stands for any name.
    below: &'static [(&'static str, &'static Table)],
}

/// A table that a reload compares as one.
pub(super) struct Whole {
    pub(super) differs: fn(&Config, &Config) -> bool,
    /// How a reload tells of it.
    pub(super) told: &'static str,
}

/// The file.
pub(super) static ROOT: Table = Table {
    name: "",
    keys: &[],
    whole: None,
    below: &[
        ("router", &RouterKeys::TABLE),
        ("connection_id", &ConnectionIdKeys::TABLE),
        ("limits", &LimitsKeys::TABLE),
        ("transport", &TransportKeys::TABLE),
        ("af_xdp", &AfXdpKeys::TABLE),
        ("admin", &AdminKeys::TABLE),
        ("access_log", &AccessLogKeys::TABLE),
        ("qlog", &QlogKeys::TABLE),
        ("listener", &LISTENERS),
        ("route", &ROUTES),
        ("upstream", &UPSTREAMS),
    ],
};

static LISTENERS: Table = Table {
    below: &[("certificates", &CertificateKeys::TABLE), ("client_certificates", &ClientCertificatesKeys::TABLE)],
    ..ListenerKeys::TABLE
};

static ROUTES: Table = Table {
    below: &[("request_headers", &RewriteKeys::TABLE), ("response_headers", &RewriteKeys::TABLE)],
    ..RouteKeys::TABLE
};

static UPSTREAMS: Table = Table {
    name: "upstream",
    keys: &[],
    whole: Some(Whole { differs: |before, after| before.upstreams != after.upstreams, told: "upstreams have changed" }),
    below: &[("*", &ONE_UPSTREAM)],
};

static ONE_UPSTREAM: Table = Table {
    below: &[
        ("servers", &ServerKeys::TABLE),
        ("health", &HealthKeys::TABLE),
        ("ejection", &EjectionKeys::TABLE),
        ("tls", &UpstreamTlsKeys::TABLE),
    ],
    ..UpstreamKeys::TABLE
};

impl Table {
    /// This table and all below it.
    pub(super) fn all(&'static self) -> Vec<&'static Self> {
        let mut tables = vec![self];
        tables.extend(self.below.iter().flat_map(|(_, table)| table.all()));
        tables
    }

    /// The words that may stand in this table; none if any may.
    fn words(&self) -> Option<Vec<&'static str>> {
        let mut words: Vec<_> = self.keys.iter().map(|key| key.short()).collect();
        let tables = self.below.iter().map(|(word, _)| *word).filter(|word| !words.contains(word)).collect::<Vec<_>>();
        words.extend(tables);
        (!words.contains(&"*")).then_some(words)
    }

    fn child(&self, key: &str) -> Option<&'static Self> {
        self.below.iter().find(|(word, _)| *word == key || *word == "*").map(|(_, table)| *table)
    }
}
