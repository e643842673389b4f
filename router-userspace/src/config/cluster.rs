//! `[cluster]`: the other hosts behind the same addresses, and how packets of theirs are sent on.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use router_cluster::membership::ClusterState;

use super::{CertificateFiles, Listener};

/// `[cluster]`: what a node has to know to be one of several behind one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// What the cluster is called, for people.
    pub name: String,
    /// What says which nodes there are.
    pub engine: MembershipEngine,
    /// The file with the cluster's secret; it was good when the configuration was checked.
    pub secret: PathBuf,
    /// This host's own address, to which other nodes send: not one that nodes share.
    pub address: IpAddr,
    /// The UDP port of the tunnel, the same on all nodes; 1 to 65535.
    pub port: u16,
    /// This node's share of new connections by hash, relative to the others', where no list says it; 1 to 1,000.
    pub weight: u16,
    /// How packets are sent to the node that they are for.
    pub forward: ForwardBy,
    /// Which node has a new connection.
    pub new_connections: NewConnections,
    /// How long packets for a node are still sent to it that is not heard of, and how long a node must have been
    /// silent, at least, before others answer for it; at least a second.
    pub dead_after: Duration,
    /// The kernel's routing table that has a route to each shared address while this node takes new connections; none: there
    /// are no such routes.
    pub announce_table: Option<u32>,
}

impl Cluster {
    /// Where other nodes send what is for this one.
    pub fn tunnel(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// The addresses of `listeners` that nodes share, as far as the configuration tells: not those that stand for all, nor
    /// this host's own.
    pub fn announced(&self, listeners: &[Listener]) -> BTreeSet<IpAddr> {
        let addresses = listeners.iter().map(|listener| listener.address.ip());
        addresses.filter(|ip| !ip.is_unspecified() && !ip.is_loopback() && *ip != self.address).collect()
    }
}

/// What says which nodes there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipEngine {
    /// A file, the same on all nodes.
    File {
        /// The list of nodes.
        members: PathBuf,
        /// What it said when the configuration was checked. The agent goes by its engine, which reads it again.
        listed: Arc<ClusterState>,
    },
    /// An etcd, which gives the node its number.
    Etcd(EtcdAccess),
}

impl MembershipEngine {
    /// As the configuration says it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Etcd(_) => "etcd",
        }
    }

    /// What an operator changes to change the cluster, where it is a file.
    pub fn members(&self) -> Option<&Path> {
        match self {
            Self::File { members, .. } => Some(members),
            Self::Etcd(_) => None,
        }
    }
}

/// How an etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdAccess {
    /// Client URLs of its members, at least one.
    pub endpoints: Vec<String>,
    /// The certificate authority of its certificates; for `https://`.
    pub ca: Option<PathBuf>,
    /// This node's certificate and its key, where etcd wants to know its clients.
    pub identity: Option<CertificateFiles>,
}

/// How packets are sent to the node that they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardBy {
    /// In UDP (GUE), with a tag that only nodes of the cluster can make.
    Udp,
}

/// Which node has a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewConnections {
    /// The one that its first packet comes to.
    Local,
    /// One that a hash of its connection ID names, by the nodes' weights.
    Hash,
}
