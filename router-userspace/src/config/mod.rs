//! What the operator asked for, as values that cannot be wrong.
//!
//! `file` reads TOML into raw structs, `flags` lays the command line over them, `check` turns
//! both into a [`Config`]. Code that holds a `Config` need not validate anything again: names
//! resolve, numbers are in range, every route leads somewhere, certificates and keys match, key
//! files hold keys.
//!
//! What needs what, from below: the values of a `Config`, a file for each table (`router`, `limits`);
//! `keys`, which define the keys of each table, over the `raw` values that serde reads; `file` and
//! `flags`, which make a whole of those; `check`; `load`.
//!
//! What is asked for and not in this version is an error; what is tolerated without effect is
//! said in [`Config::notices`]. Nothing is ignored in silence.

mod admission;
mod af_xdp;
mod block_file;
pub mod certificates;
mod changes;
mod check;
mod cluster;
mod connection_id;
mod defaults;
mod error;
mod file;
mod flags;
pub mod key_file;
mod keys;
mod limits;
mod listener;
mod load;
mod node;
mod observe;
pub(crate) mod octets;
pub mod paths;
mod raw;
mod route;
mod router;
mod server_id;
mod suggest;
mod taken_by;
#[cfg(test)]
mod tests;
mod transport;
mod upstream;
mod values;

pub use self::{
    admission::{Admission, AnswerInXdp},
    af_xdp::{AfXdp, SendBy},
    block_file::FileBlock,
    changes::{Changed, changes},
    cluster::{Cluster, EtcdAccess, ForwardBy, MembershipEngine, NewConnections},
    connection_id::{ConnectionIdPlan, Encryption},
    defaults::{DEFAULT_BPF_DIR, DEFAULT_CONTROL, DEFAULT_PATH},
    error::{ConfigError, Problem},
    flags::StartFlags,
    key_file::{CidKey, KeyFileError},
    limits::Limits,
    listener::{
        CertificateFiles, Certificates, ClientCertificates, EarlyData, Group, LISTENERS_MAX, Listener, MinimumTls,
    },
    node::Config,
    observe::{AccessLog, AccessLogFormat, Admin, Destination, Qlog},
    paths::PathNormalization,
    route::{Action, HeaderMatch, HeaderRewrite, Host, HttpRoute, RawRoute, Redirect, Route},
    router::{CpuMap, Engine, Router},
    server_id::ServerId,
    taken_by::TakenBy,
    transport::{Congestion, Transport},
    upstream::{
        Authority, Balance, Ejection, Health, HealthProbe, HostField, Server, ServerAddress, Servers, Timeouts,
        Upstream, UpstreamTls,
    },
    values::duration,
};
