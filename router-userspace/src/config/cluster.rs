//! `[cluster]`: the other hosts behind the same addresses, and how packets of theirs are sent on.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use router_cluster::membership::ClusterState;

/// `[cluster]`: what a node has to know to be one of several behind one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// What the cluster is called, for people.
    pub name: String,
    /// What says which nodes there are.
    pub engine: MembershipEngine,
    /// The list of nodes, of the engine `file`.
    pub members: PathBuf,
    /// What it said when the configuration was checked. The agent goes by its engine, which reads it again.
    pub listed: Arc<ClusterState>,
    /// The file with the cluster's secret; it was good when the configuration was checked.
    pub secret: PathBuf,
    /// This host's own address, to which other nodes send: not one that nodes share.
    pub address: IpAddr,
    /// The UDP port of the tunnel, the same on all nodes; 1 to 65535.
    pub port: u16,
    /// How packets are sent to the node that they are for.
    pub forward: ForwardBy,
    /// Which node has a new connection.
    pub new_connections: NewConnections,
    /// How long packets for a node are still sent to it that is not heard of, and how long a node must have been
    /// silent, at least, before others answer for it; at least a second.
    pub dead_after: Duration,
}

impl Cluster {
    /// Where other nodes send what is for this one.
    pub fn tunnel(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }
}

/// What says which nodes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MembershipEngine {
    /// A file, the same on all nodes.
    File,
}

impl MembershipEngine {
    /// As the configuration says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
        }
    }
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
