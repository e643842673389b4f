//! Etcd, as a node's configuration names it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use router_cluster::{
    membership::{
        ClusterState, Freshness, Membership as _,
        etcd::{Etcd, EtcdIdentity, EtcdSettings, EtcdTiming, EtcdTls},
    },
    secret::ClusterSecret,
};

use super::unseen::Unseen;
use crate::config::{self, EtcdAccess};

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

/// Asks it once what it says of a cluster, without a file to note anything in.
///
/// # Errors
/// If nothing can be learned from it.
pub(super) fn ask(cluster: &config::Cluster, access: &EtcdAccess) -> Result<Arc<ClusterState>, Unseen> {
    let secret = ClusterSecret::read(&cluster.secret);
    let secret = secret.map_err(|e| Unseen { why: format!("cluster.secret: {e}"), hint: Some(e.hint()) })?;
    let started = Etcd::start(settings(&cluster.name, access, None), &secret);
    let etcd = started.map_err(|e| Unseen { why: e.to_string(), hint: None })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Unseen { why: format!("no runtime: {e}"), hint: None })?;
    let mut view = etcd.watch();
    let is_live = async { view.wait_for(|view| view.freshness.is_live()).await.map(|view| Arc::clone(&view.state)) };
    let answered = runtime.block_on(async { tokio::time::timeout(PATIENCE, is_live).await });
    if let Ok(Ok(state)) = answered {
        return Ok(state);
    }
    let why = match &etcd.view().freshness {
        Freshness::Live => "it answered too late".to_owned(),
        Freshness::LastKnown { why, .. } | Freshness::Unread { why } => why.clone(),
    };
    let hint = match why.contains("cluster secret") {
        true => "copy the file in cluster.secret from a node".to_owned(),
        false => format!("etcdctl --endpoints={} endpoint health, on this host", access.endpoints.join(",")),
    };
    Err(Unseen { why: format!("etcd says nothing of the cluster \"{}\": {why}", cluster.name), hint: Some(hint) })
}

/// For it to answer.
const PATIENCE: Duration = Duration::from_secs(10);
