//! Etcd, as a node's configuration names it.

use std::path::PathBuf;

use router_cluster::membership::etcd::{EtcdIdentity, EtcdSettings, EtcdTiming, EtcdTls};

use crate::config::EtcdAccess;

/// How it is reached, and where what is known is kept from run to run.
pub(super) fn settings(cluster: &str, access: &EtcdAccess, snapshot: Option<PathBuf>) -> EtcdSettings {
    let identity = access.identity.as_ref();
    let identity = identity.map(|files| EtcdIdentity { cert: files.cert.clone(), key: files.key.clone() });
    EtcdSettings {
        cluster: cluster.to_owned(),
        endpoints: access.endpoints.clone(),
        tls: access.ca.clone().map(|ca| EtcdTls { ca, identity }),
        snapshot,
        timing: EtcdTiming::default(),
    }
}
