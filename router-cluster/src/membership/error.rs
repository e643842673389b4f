//! Why an engine of membership does not do what it was asked.

use std::net::IpAddr;

use super::node::{Incarnation, NodeNumber};

/// Why not. [`hint`](Self::hint) names the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The engine cannot be asked. Serving goes on with what is known.
    #[error("{engine} cannot be asked: {why}")]
    Away {
        /// Its name.
        engine: &'static str,
        /// Why not.
        why: String,
    },
    /// There is no cluster of this name yet.
    #[error("the cluster \"{name}\" was not made yet")]
    NotMade {
        /// The cluster's name.
        name: String,
    },
    /// What a change supposes does not hold any more.
    #[error("the cluster has changed meanwhile: {what}")]
    Conflict {
        /// What is other than supposed.
        what: String,
    },
    /// Every number from 1 to 65,535 has been given to a node.
    #[error("all 65535 node numbers have been used under these keys")]
    NumbersUsed,
    /// Another running node has this one's incarnation.
    #[error("node {number} is running already, with the incarnation {incarnation} of this node's state folder")]
    IncarnationInUse {
        /// The number that both would have.
        number: NodeNumber,
        /// What both state folders say.
        incarnation: Incarnation,
    },
    /// The operator's list has no node with this address.
    #[error("{list} has no node with the address {address}")]
    NotListed {
        /// The file.
        list: String,
        /// This node's own.
        address: IpAddr,
    },
    /// The record is not this node's.
    #[error("{record:?}: not the number that this node was given")]
    NotOurs {
        /// The record's number.
        record: NodeNumber,
    },
    /// The engine is changed in another way.
    #[error("{list}: the cluster is changed by editing this file")]
    ChangedByHand {
        /// The file.
        list: String,
    },
    /// Something there cannot be read as this version writes it, or was sealed under another secret, or is older than what
    /// was seen before.
    #[error("{entry}: {why}")]
    Unreadable {
        /// Which entry.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
}

impl MembershipError {
    /// The way out.
    pub fn hint(&self) -> String {
        match self {
            Self::Away { .. } => {
                "nothing is lost meanwhile; `quic-router cluster status` says how it stands".to_owned()
            }
            Self::NotMade { .. } => "once, on one node: quic-router cluster init".to_owned(),
            Self::Conflict { .. } => "try it again".to_owned(),
            Self::NumbersUsed => "make a new cluster under another name, with new keys".to_owned(),
            Self::IncarnationInUse { .. } => {
                "a copied machine takes its state folder along: empty router.state_dir on the copy".to_owned()
            }
            Self::NotListed { list, address } => {
                format!("add it to {list}: [[node]] with address = \"{address}\"; or correct cluster.address")
            }
            Self::NotOurs { .. } => "restart this node".to_owned(),
            Self::ChangedByHand { .. } => {
                "edit it in the same way on all nodes, then on each: quic-router reload".to_owned()
            }
            Self::Unreadable { .. } => {
                "all nodes need the same cluster.secret, and versions that are one apart at most".to_owned()
            }
        }
    }
}
