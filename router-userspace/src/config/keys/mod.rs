//! Every key that a configuration file may hold, each defined once: `limits.rs` has those of `[limits]`,
//! and so on.
//!
//! What a definition serves: serde reads the raw values of a table by it, the checker takes range,
//! default and words from it, a reload asks what takes a change, an unknown key is found by it, and the
//! tables of docs/configuration.md are made of it.

mod admission;
mod af_xdp;
mod cluster;
mod connection_id;
mod health;
mod key;
pub(super) mod kinds;
mod limits;
mod listener;
mod observe;
mod root;
mod route;
mod router;
mod server;
mod table;
mod transport;
mod unknown;
mod upstream;

pub(super) use self::{
    admission::{ADMISSION, RawAdmission},
    af_xdp::{AF_XDP, RawAfXdp},
    cluster::{CLUSTER, EngineWord, RawCluster},
    connection_id::{CONNECTION_ID, RawConnectionId},
    health::{EJECTION, HEALTH, RawEjection, RawHealth},
    key::{Compared, Described, Key},
    limits::{LIMITS, RawLimits},
    listener::{CLIENT_CERTIFICATES, LISTENER, RawCertificate, RawClientCertificates, RawListener, WILDCARDS},
    observe::{ACCESS_LOG, ADMIN, QLOG, RawAccessLog, RawAdmin, RawQlog},
    root::ROOT,
    route::{ROUTE, RawFields, RawHeaders, RawRewrite, RawRoute},
    router::{ROUTER, RawRouter},
    server::{RawServer, SERVER},
    table::{Table, Whole},
    transport::{RawTransport, TRANSPORT},
    unknown::{path_at, remove_unknown},
    upstream::{RawUpstream, RawUpstreamTls, UPSTREAM},
};
