//! Makes a cluster in etcd: once, before its first node starts.

use super::membership::MembershipError;
use crate::{
    agent::error::{AgentError, ErrorKind, RoomError},
    config::{self, Config},
};

/// Makes the cluster that `config` names: fresh keys, and the first configuration of connection IDs.
///
/// # Errors
/// If there is one already, or its engine takes no cluster that is made so.
pub fn init(config: &Config) -> Result<(), AgentError> {
    let cluster = config.cluster.as_ref().ok_or(InitError::NoCluster)?;
    match &cluster.engine {
        config::MembershipEngine::File { members, .. } => Err(InitError::List(members.display().to_string()).into()),
        config::MembershipEngine::Etcd(access) => etcd(config, cluster, access),
    }
}

#[cfg(feature = "etcd")]
fn etcd(config: &Config, cluster: &config::Cluster, access: &config::EtcdAccess) -> Result<(), AgentError> {
    use router_cluster::{
        membership::{CidShape, Membership as _, etcd::Etcd, rotation},
        secret::ClusterSecret,
    };
    let secret = ClusterSecret::read(&cluster.secret).map_err(MembershipError::from)?;
    let started = Etcd::start(super::etcd::settings(&cluster.name, access, None), &secret);
    let etcd = started.map_err(|e| MembershipError::NoEngine(e.to_string()))?;
    let shape =
        CidShape { length: config.connection_id.length, describes_length: config.connection_id.describe_length };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(InitError::NoRuntime)?;
    runtime.block_on(async {
        let mut view = etcd.watch();
        let is_live = view.wait_for(|view| view.freshness.is_live());
        let answered = tokio::time::timeout(PATIENCE, is_live).await;
        let state = match answered {
            Ok(Ok(view)) => view.state.clone(),
            Ok(Err(_)) | Err(_) => return Err(InitError::NoAnswer(access.endpoints.join(", ")).into()),
        };
        if state.master.is_some() {
            return Err(InitError::IsThere(cluster.name.clone()).into());
        }
        let made = etcd.commit(rotation::make(shape, super::orders::now())).await;
        made.map(drop).map_err(|e| MembershipError::from(e).into())
    })
}

#[cfg(not(feature = "etcd"))]
fn etcd(_: &Config, _: &config::Cluster, _: &config::EtcdAccess) -> Result<(), AgentError> {
    Err(MembershipError::NoEngine("this program was built without the engine \"etcd\"".to_owned()).into())
}

/// Why no cluster is made.
#[derive(Debug, thiserror::Error)]
enum InitError {
    /// There is no `[cluster]`.
    #[error("the configuration has no [cluster]")]
    NoCluster,
    /// With a list, there is nothing to make: the file.
    #[error("with cluster.engine = \"file\" the list {0} makes the cluster")]
    List(String),
    /// It was made before.
    #[cfg(feature = "etcd")]
    #[error("the cluster \"{0}\" is there already")]
    IsThere(String),
    /// Etcd is away: its URLs.
    #[cfg(feature = "etcd")]
    #[error("etcd does not answer at {0}")]
    NoAnswer(String),
    /// The system gives no runtime.
    #[cfg(feature = "etcd")]
    #[error("no runtime: {0}")]
    NoRuntime(std::io::Error),
}

impl RoomError for InitError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoCluster => Some("[cluster] with name, engine, endpoints, secret and address".to_owned()),
            Self::List(_) => Some("list the nodes there, on all hosts".to_owned()),
            #[cfg(feature = "etcd")]
            Self::IsThere(_) => Some("start the nodes, or give the cluster another name".to_owned()),
            #[cfg(feature = "etcd")]
            Self::NoAnswer(_) => Some("etcdctl endpoint health --endpoints URL".to_owned()),
            #[cfg(feature = "etcd")]
            Self::NoRuntime(_) => None,
        }
    }
}

/// For etcd to answer.
#[cfg(feature = "etcd")]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
