//! One node's configuration, table by table.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{
    AccessLog, Admin, Admission, AfXdp, Cluster, ConnectionIdPlan, Limits, Listener, Qlog, Route, Router, Transport,
    Upstream,
};

/// One node's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[router]`
    pub router: Router,
    /// `[connection_id]`
    pub connection_id: ConnectionIdPlan,
    /// `[cluster]`; none: no other node has the same addresses.
    pub cluster: Option<Cluster>,
    /// `[limits]`
    pub limits: Limits,
    /// `[transport]`
    pub transport: Transport,
    /// `[af_xdp]`
    pub af_xdp: AfXdp,
    /// `[admission]`
    pub admission: Admission,
    /// `[admin]`; none: no metrics.
    pub admin: Option<Admin>,
    /// `[access_log]`; none: requests are not logged.
    pub access_log: Option<AccessLog>,
    /// `[qlog]`; none: connections are not traced.
    pub qlog: Option<Qlog>,
    /// `[[listener]]`, at least one, at most [`LISTENERS_MAX`](super::LISTENERS_MAX).
    pub listeners: Vec<Listener>,
    /// `[[route]]`, in the order of the file: the first match wins. Empty: the built-in page.
    pub routes: Vec<Route>,
    /// `[upstream.NAME]`, by name. Every name that a route uses is here.
    pub upstreams: BTreeMap<Arc<str>, Upstream>,
    /// What was accepted but has no effect, or not the one that might be expected: one sentence
    /// each, for the log.
    pub notices: Vec<String>,
}

impl Config {
    /// Whether a certificate may be made up for `address`: no client on the internet is misled by it.
    pub fn is_private(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        }
    }
}
