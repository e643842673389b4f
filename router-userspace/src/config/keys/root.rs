//! Which tables a file has, and which of them are below which.

use super::{
    admission::AdmissionKeys,
    af_xdp::AfXdpKeys,
    cluster::ClusterKeys,
    connection_id::ConnectionIdKeys,
    health::{EjectionKeys, HealthKeys},
    limits::LimitsKeys,
    listener::{CertificateKeys, ClientCertificatesKeys, ListenerKeys},
    observe::{AccessLogKeys, AdminKeys, QlogKeys},
    route::{RewriteKeys, RouteKeys},
    router::RouterKeys,
    server::ServerKeys,
    table::{Table, Whole},
    transport::TransportKeys,
    upstream::{UpstreamKeys, UpstreamTlsKeys},
};

/// The file.
pub(in crate::config) static ROOT: Table = Table {
    name: "",
    keys: &[],
    whole: None,
    below: &[
        ("router", &RouterKeys::TABLE),
        ("connection_id", &ConnectionIdKeys::TABLE),
        ("cluster", &ClusterKeys::TABLE),
        ("limits", &LimitsKeys::TABLE),
        ("transport", &TransportKeys::TABLE),
        ("af_xdp", &AfXdpKeys::TABLE),
        ("admission", &AdmissionKeys::TABLE),
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
