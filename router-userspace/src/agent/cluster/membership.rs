//! The engine that says which nodes there are, and what keys they have in common.

use std::sync::Arc;

use router_cluster::{
    membership::{
        ClusterState, EngineInfo, Membership as _, View,
        file::{File, ListError},
    },
    secret::{ClusterSecret, SecretError},
};
use tokio::sync::watch;

use crate::{
    agent::{
        error::{ErrorKind, RoomError},
        secrets::Secrets,
    },
    config,
};

/// The engine of `[cluster]`.
pub(in crate::agent) struct MembershipEngine {
    secret: ClusterSecret,
    file: File,
}

impl MembershipEngine {
    /// Asks it for the first time.
    ///
    /// # Errors
    /// If the secret or the list of nodes cannot be read.
    pub(in crate::agent) fn open(cluster: &config::Cluster) -> Result<Self, MembershipError> {
        let secret = ClusterSecret::read(&cluster.secret)?;
        match cluster.engine {
            config::MembershipEngine::File => Ok(Self { file: File::open(&cluster.members, secret.clone())?, secret }),
        }
    }

    /// The secret by which nodes know each other.
    pub(super) fn secret(&self) -> &ClusterSecret {
        &self.secret
    }

    /// What it can do.
    pub(super) fn info(&self) -> EngineInfo {
        self.file.engine()
    }

    /// Asks it again, where it does not tell of changes by itself.
    ///
    /// # Errors
    /// If what it says makes no sense; then what it said before stays.
    pub(in crate::agent) fn reload(&self) -> Result<(), MembershipError> {
        Ok(self.file.reload()?)
    }

    /// What it says now, and how far that can be relied on.
    pub(in crate::agent) fn view(&self) -> Arc<View> {
        self.file.view()
    }

    /// The nodes and what they share.
    pub(in crate::agent) fn state(&self) -> Arc<ClusterState> {
        Arc::clone(&self.view().state)
    }

    /// Tells each change.
    pub(in crate::agent) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.file.watch()
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
}

impl RoomError for MembershipError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Secret(error) => Some(error.hint()),
            Self::List(error) => Some(error.hint().to_owned()),
            Self::NoMaster => None,
        }
    }
}
