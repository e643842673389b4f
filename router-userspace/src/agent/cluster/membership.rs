//! The engine that says which nodes there are, and what keys they have in common.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use router_cluster::{
    membership::{
        Change, Claim, ClusterState, EngineInfo, Incarnation, Membership, MembershipError as EngineError, NodeNumber,
        NodeRecord, View,
        file::{File, ListError},
    },
    secret::{ClusterSecret, SecretError},
};
use tokio::{sync::watch, time::timeout};

use crate::{
    agent::{
        error::{ErrorKind, RoomError},
        secrets::Secrets,
        state_dir::{incarnation, remember_number, remembered_number},
        state_error::StateError,
    },
    config,
};

/// The engine of `[cluster]`, which has given this node its number.
pub(in crate::agent) struct MembershipEngine {
    secret: ClusterSecret,
    engine: Engine,
    own: NodeNumber,
    claim: Claim,
}

enum Engine {
    File(File),
    #[cfg(feature = "etcd")]
    Etcd(router_cluster::membership::etcd::Etcd),
}

impl MembershipEngine {
    /// Asks it for the first time, for this node's number among others.
    ///
    /// # Errors
    /// If the secret or the list of nodes cannot be read, or etcd cannot be asked.
    pub(in crate::agent) async fn open(cluster: &config::Cluster, state_dir: &Path) -> Result<Self, MembershipError> {
        let secret = ClusterSecret::read(&cluster.secret)?;
        let engine = Engine::open(cluster, state_dir, &secret)?;
        let incarnation = Incarnation::new(incarnation(state_dir)?);
        let claim = Claim { address: cluster.address, incarnation, host: host() };
        let (own, away) = match engine.get().register(claim).await {
            Ok(number) => {
                remember_number(state_dir, number.get())?;
                (number, None)
            }
            // With what was known last, this node serves; it registers once the engine answers.
            Err(away @ EngineError::Away { .. }) => {
                let known = remembered_number(state_dir)?.and_then(NodeNumber::new);
                tracing::warn!("cluster: {away}");
                (known.ok_or(away.clone())?, Some(away))
            }
            Err(e) => return Err(e.into()),
        };
        let mut watch = engine.get().watch();
        let has_keys = watch.wait_for(|view| view.state.master.is_some());
        if !matches!(timeout(FIRST_VIEW, has_keys).await, Ok(Ok(_))) {
            return Err(away.map_or(MembershipError::NoMaster, MembershipError::Engine));
        }
        Ok(Self { secret, engine, own, claim })
    }

    /// This node's number.
    pub(in crate::agent) fn own(&self) -> NodeNumber {
        self.own
    }

    /// This node's address for others.
    pub(super) fn address(&self) -> IpAddr {
        self.claim.address
    }

    /// By what others tell this node from its copies.
    pub(super) fn claim(&self) -> Claim {
        self.claim
    }

    /// The secret by which nodes know each other.
    pub(super) fn secret(&self) -> &ClusterSecret {
        &self.secret
    }

    /// What it can do.
    pub(super) fn info(&self) -> EngineInfo {
        self.engine.get().engine()
    }

    /// Asks it again, where it does not tell of changes by itself.
    ///
    /// # Errors
    /// If what it says makes no sense; then what it said before stays.
    pub(in crate::agent) fn reload(&self) -> Result<(), MembershipError> {
        match &self.engine {
            Engine::File(file) => Ok(file.reload()?),
            #[cfg(feature = "etcd")]
            Engine::Etcd(_) => Ok(()),
        }
    }

    /// What it says now, and how far that can be relied on.
    pub(in crate::agent) fn view(&self) -> Arc<View> {
        self.engine.get().view()
    }

    /// The nodes and what they share.
    pub(in crate::agent) fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.view().state)
    }

    /// Tells each change.
    pub(in crate::agent) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.engine.get().watch()
    }

    /// Tells the others about this node.
    ///
    /// # Errors
    /// If it has no number there.
    pub(super) async fn publish(&self, record: NodeRecord) -> Result<(), MembershipError> {
        let engine = self.engine.get();
        match engine.publish(record.clone()).await {
            // The engine was away when this node started.
            Err(EngineError::NotOurs { .. }) => {
                let number = engine.register(self.claim).await?;
                if number != self.own {
                    return Err(MembershipError::OtherNumber { own: self.own, number });
                }
                Ok(engine.publish(record).await?)
            }
            published => Ok(published?),
        }
    }

    /// Tells them that it stops.
    ///
    /// # Errors
    /// If the engine cannot be asked: they find out by themselves.
    pub(super) async fn withdraw(&self) -> Result<(), MembershipError> {
        Ok(self.engine.get().withdraw().await?)
    }

    /// Changes what the nodes share.
    ///
    /// # Errors
    /// If that has changed meanwhile, or is changed in another way.
    pub(super) async fn commit(&self, change: Change) -> Result<u64, MembershipError> {
        Ok(self.engine.get().commit(change).await?)
    }

    /// The keys that come of the cluster's master secret.
    ///
    /// # Errors
    /// If there is none yet.
    pub(in crate::agent) fn secrets(&self) -> Result<Secrets, MembershipError> {
        let state = self.state();
        let master = state.master.as_ref().ok_or(MembershipError::NoMaster)?;
        Ok(Secrets::new(master.octets()))
    }
}

impl Engine {
    fn open(cluster: &config::Cluster, state_dir: &Path, secret: &ClusterSecret) -> Result<Self, MembershipError> {
        match &cluster.engine {
            config::MembershipEngine::File { members, .. } => Ok(Self::File(File::open(members, secret.clone())?)),
            config::MembershipEngine::Etcd(access) => Self::etcd(&cluster.name, access, state_dir, secret),
        }
    }

    #[cfg(feature = "etcd")]
    fn etcd(
        name: &str,
        access: &config::EtcdAccess,
        state_dir: &Path,
        secret: &ClusterSecret,
    ) -> Result<Self, MembershipError> {
        let settings = super::etcd::settings(name, access, Some(state_dir.join("cluster-snapshot")));
        let started = router_cluster::membership::etcd::Etcd::start(settings, secret);
        started.map(Self::Etcd).map_err(|e| MembershipError::NoEngine(e.to_string()))
    }

    #[cfg(not(feature = "etcd"))]
    fn etcd(_: &str, _: &config::EtcdAccess, _: &Path, _: &ClusterSecret) -> Result<Self, MembershipError> {
        Err(MembershipError::NoEngine("this program was built without the engine \"etcd\"".to_owned()))
    }

    fn get(&self) -> &dyn Membership {
        match self {
            Self::File(file) => file,
            #[cfg(feature = "etcd")]
            Self::Etcd(etcd) => etcd,
        }
    }
}

/// What all runs on this host have in common, and no other host: its boot ID.
pub(super) fn host() -> u64 {
    let mut hasher = DefaultHasher::new();
    std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// Why nothing is known of the cluster.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum MembershipError {
    /// The secret cannot be read.
    #[error("cluster.secret: {0}")]
    Secret(#[from] SecretError),
    /// The list of nodes cannot be read.
    #[error("cluster.members: {0}")]
    List(#[from] ListError),
    /// The cluster has no master secret.
    #[error("the cluster has no master secret yet")]
    NoMaster,
    /// The engine gives this node another number than it had when it was last asked.
    #[error("cluster: this node runs as {own}, and now is {number}")]
    OtherNumber {
        /// The one that it runs with.
        own: NodeNumber,
        /// The one that it would have.
        number: NodeNumber,
    },
    /// The engine does not begin.
    #[error("{0}")]
    NoEngine(String),
    /// The engine says no.
    #[error("cluster: {0}")]
    Engine(#[from] EngineError),
    /// The state folder has no place for what tells this node from others.
    #[error(transparent)]
    State(#[from] StateError),
}

impl RoomError for MembershipError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Secret(error) => Some(error.hint()),
            Self::List(error) => Some(error.hint().to_owned()),
            Self::NoMaster => Some("once, on one node: quic-router cluster init".to_owned()),
            Self::OtherNumber { .. } => Some("restart this node".to_owned()),
            Self::NoEngine(_) => None,
            Self::Engine(error) => Some(error.hint()),
            Self::State(error) => error.hint(),
        }
    }
}

/// For what the engine knows, once it has given a number.
const FIRST_VIEW: Duration = Duration::from_secs(5);
