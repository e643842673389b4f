//! What a host that is to become a node finds: the cluster as its engine says it, and itself in there. Nothing is changed:
//! no number is asked for, no record told, no file written.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::SystemTime,
};

use router_cluster::membership::{ClusterState, Incarnation, NodeNumber, TunnelVersions};

#[cfg(feature = "etcd")]
use super::etcd::ask;
use super::{component::TUNNEL_VERSIONS, membership::host, unseen::Unseen};
use crate::{
    agent::state_dir::{known_incarnation, remembered_number},
    config::{self, Config, Encryption},
    datapath::Routes,
};

/// What was found.
#[derive(Clone, Debug)]
pub struct ClusterSurvey {
    /// What says which nodes there are: a file, or URLs.
    pub source: String,
    /// The cluster, or why it cannot be seen.
    pub cluster: Result<Arc<ClusterState>, Unseen>,
    /// What this host would be as a node.
    pub own: Candidate,
    /// By node, the longest packet that the interface towards it carries, from its IP header on; none where no way is known.
    pub mtus: BTreeMap<NodeNumber, Option<u32>>,
    /// Seconds since 1970.
    pub now: u64,
}

/// A host that is to become a node, by its configuration and its state folder.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where other nodes are to send to.
    pub tunnel: SocketAddr,
    /// What tells the node from others, if it has been one before.
    pub incarnation: Result<Option<Incarnation>, String>,
    /// The number that it had last.
    pub number: Option<NodeNumber>,
    /// What all runs on this host have, and no other host.
    pub host: u64,
    /// Octets of a connection ID.
    pub length: u8,
    /// Whether connection IDs are encrypted.
    pub is_encrypted: bool,
    /// Where clients come in.
    pub listeners: BTreeSet<SocketAddr>,
    /// The versions of the tunnel that it reads.
    pub versions: TunnelVersions,
    /// Where the state folder is.
    pub state_dir: String,
}

/// Looks at the cluster that `config` names, and at what this host would be in there; none if it names none.
pub fn survey(config: &Config) -> Option<ClusterSurvey> {
    let cluster = config.cluster.as_ref()?;
    let seen = match &cluster.engine {
        config::MembershipEngine::File { listed, .. } => Ok(Arc::clone(listed)),
        config::MembershipEngine::Etcd(access) => ask(cluster, access),
    };
    let mtus = seen.as_ref().map(|state| mtus(cluster, state)).unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let source = match &cluster.engine {
        config::MembershipEngine::File { members, .. } => members.display().to_string(),
        config::MembershipEngine::Etcd(access) => access.endpoints.join(", "),
    };
    Some(ClusterSurvey { source, cluster: seen, own: candidate(config, cluster), mtus, now })
}

fn candidate(config: &Config, cluster: &config::Cluster) -> Candidate {
    let state_dir = &config.router.state_dir;
    let incarnation = known_incarnation(state_dir).map(|known| known.map(Incarnation::new)).map_err(|e| e.to_string());
    Candidate {
        tunnel: cluster.tunnel(),
        incarnation,
        number: remembered_number(state_dir).ok().flatten().and_then(NodeNumber::new),
        host: host(),
        length: config.connection_id.length,
        is_encrypted: !matches!(config.connection_id.encryption, Encryption::None),
        listeners: config.listeners.iter().map(|one| one.address).collect(),
        versions: TUNNEL_VERSIONS,
        state_dir: state_dir.display().to_string(),
    }
}

fn mtus(cluster: &config::Cluster, state: &ClusterState) -> BTreeMap<NodeNumber, Option<u32>> {
    let Ok(mut routes) = Routes::open() else { return BTreeMap::new() };
    let records = state.nodes.values().filter_map(|member| member.record.as_ref());
    let others = records.filter(|record| record.address != cluster.address);
    others.map(|record| (record.number, routes.mtu(cluster.address, record.address))).collect()
}

#[cfg(not(feature = "etcd"))]
fn ask(_: &config::Cluster, _: &config::EtcdAccess) -> Result<Arc<ClusterState>, Unseen> {
    Err(Unseen { why: "this program was built without the engine \"etcd\"".to_owned(), hint: None })
}
