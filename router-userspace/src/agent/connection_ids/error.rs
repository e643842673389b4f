//! Why connection IDs are not configured as they should be.

use std::{io, path::PathBuf};

use router_common::identifiers::ConfigRotation;

use crate::{
    agent::{
        error::{ErrorKind, RoomError},
        state_error::StateError,
    },
    config::KeyFileError,
    datapath::DatapathError,
};

/// Why a configuration of connection IDs is not had, not replaced, or not fit to go on with.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum CidError {
    /// The key store names none that is issued.
    #[error("no configuration of connection IDs")]
    NoneIssued,
    /// One in the key store has lengths that are not legal.
    #[error("a configuration of connection IDs is not legal")]
    Illegal,
    /// The cluster has none that is issued.
    #[error("the cluster names no configuration of connection IDs to issue by")]
    ClusterIssuesNone,
    /// All nodes of a cluster have the same ones, so none makes one for itself.
    #[error("connection IDs are the cluster's: {list} says by which configurations they are decoded and issued")]
    ClusterRotates {
        /// What says so.
        list: String,
    },
    /// The cluster announces one whose rotation is still in use.
    #[error("connection IDs: the cluster announces another configuration {0}, and that is still in use here")]
    RotationInUse(ConfigRotation),
    /// The cluster issues by one that it issued by before another.
    #[error("connection IDs: the cluster issues by configuration {0} again, which this node has not issued by since")]
    IssuedBefore(ConfigRotation),
    /// The nodes of the cluster have connection IDs of another length.
    #[error(
        "connection_id.length is {own} here, and the cluster's connection IDs have {cluster} octets: nodes cannot read each \
         other's"
    )]
    OtherLength {
        /// Here.
        own: u8,
        /// There.
        cluster: u8,
    },
    /// No rotation is free.
    #[error("all seven configurations of connection IDs are still in use")]
    AllInUse,
    /// The key in the operator's file is not a new one: the file.
    #[error("{}: its key has been used for a configuration of connection IDs, and each takes a new one", .0.display())]
    SpentKey(PathBuf),
    /// There is no key in the operator's file.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// No nonces can be obtained.
    #[error("connection IDs of configuration {rotation}: {source}")]
    NoNonces {
        /// Of which configuration.
        rotation: ConfigRotation,
        /// Why.
        source: io::Error,
    },
    /// The issued configuration should be replaced, and is not.
    #[error(
        "connection IDs: configuration {rotation} has used {:.0} % of its nonces and cannot be rotated: {source}",
        .used * 100.0
    )]
    NotReplaced {
        /// Which it is.
        rotation: ConfigRotation,
        /// The largest share of its nonces that any slot has used, 0 to 1.
        used: f64,
        /// Why.
        source: Box<Self>,
    },
    /// Connection IDs were issued without a nonce: how many.
    #[error("connection IDs: {0} were issued without a nonce, and only the flow table can place them")]
    Unroutable(u64),
    /// The key store cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// The maps do not take it.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
}

impl RoomError for CidError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::ClusterIssuesNone
            | Self::ClusterRotates { .. }
            | Self::RotationInUse(_)
            | Self::IssuedBefore(_)
            | Self::OtherLength { .. } => ErrorKind::Refused,
            Self::NoneIssued | Self::Illegal | Self::NoNonces { .. } | Self::Unroutable(_) => ErrorKind::Kernel,
            Self::AllInUse | Self::SpentKey(_) | Self::KeyFile(_) | Self::NotReplaced { .. } => ErrorKind::Refused,
            Self::State(error) => error.kind(),
            Self::Datapath(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::NoneIssued | Self::Illegal | Self::NoNonces { .. } => return None,
            Self::ClusterIssuesNone => "`issuing` in the list of nodes",
            Self::ClusterRotates { list } => {
                return Some(format!(
                    "add the next number to `announced` in {list} on all nodes, reload each; then make it `issuing` on all, and reload each"
                ));
            }
            Self::OtherLength { cluster, .. } => {
                return Some(format!(
                    "connection_id.length = {cluster}, as on the other nodes; quic-router cluster join-check"
                ));
            }
            Self::RotationInUse(_) => {
                "announce it when no connection has IDs of the other; `quic-router cid list` shows it"
            }
            Self::IssuedBefore(_) => "announce a new number in place of it, or restart this node",
            Self::AllInUse => "`quic-router status` says by what; each goes within connection_id.lifetime",
            Self::SpentKey(_) => "a new key in the file: openssl rand -hex 16",
            Self::KeyFile(error) => return Some(error.hint()),
            Self::NotReplaced { source, .. } => {
                return Some(source.hint().unwrap_or_else(|| "quic-router cid rotate".to_owned()));
            }
            Self::Unroutable(_) => "the log says whether the state folder can be written",
            Self::State(error) => return error.hint(),
            Self::Datapath(error) => return error.hint(),
        };
        Some(fixed.to_owned())
    }
}
