//! What an operator says of the cluster, and what the nodes do by themselves to the keys that they share.

use std::time::{SystemTime, UNIX_EPOCH};

use router_cluster::membership::{
    Change, CidShape, MembershipError as EngineError, NodeNumber, Order, Write,
    rotation::{self, Next},
};
use router_common::identifiers::ConfigRotation;

use super::{Cluster, membership::MembershipError};
use crate::agent::{
    api::NodeOrder,
    error::{AgentError, ErrorKind, RoomError},
    node::Node,
};

/// Has a node count as an operator says.
///
/// # Errors
/// If there is no such node, or the cluster is changed in another way.
pub(in crate::agent) async fn order(node: &Node, number: u16, order: NodeOrder) -> Result<(), AgentError> {
    let cluster = cluster(node)?;
    let view = cluster.view();
    let known = NodeNumber::new(number).filter(|number| view.state.nodes.contains_key(number));
    let number = known.ok_or(OrderError::NoSuchNode(number))?;
    let write = match order {
        NodeOrder::Drain => Write::Order(number, Order::Drain),
        NodeOrder::Forget => Write::Order(number, Order::Forget),
        NodeOrder::Undrain => Write::Revoke(number),
        NodeOrder::Unknown => return Err(OrderError::NoSuchOrder.into()),
    };
    let change = Change { based_on: view.state.revision, nodes_as_of: None, writes: vec![write] };
    cluster.engine().commit(change).await?;
    tracing::info!("cluster: {order} node {number}, as was asked for");
    Ok(())
}

/// Announces a configuration of connection IDs: nodes issue by it once all decode it.
///
/// # Errors
/// If one is on its way already, or the cluster is changed in another way.
pub(in crate::agent) async fn rotate(node: &Node) -> Result<(), AgentError> {
    let cluster = cluster(node)?;
    let state = cluster.view().state.clone();
    let change = rotation::announce(&state, shape(node), now(), &cluster.unleased()).map_err(OrderError::Rotation)?;
    cluster.engine().commit(change).await?;
    Ok(())
}

/// Takes the next step of a rotation, where all nodes are ready for it. Whether what this node knows of the others is in
/// the rotation's record: until it is, this node acks nothing more, or the rotation would go on without it.
pub(super) async fn go_on(node: &Node) -> bool {
    let Ok(cluster) = cluster(node) else { return true };
    if !cluster.engine().info().has_leases {
        return true;
    }
    let config = node.serving.config();
    let retire_after = 2 * config.connection_id.lifetime + config.limits.idle_timeout + config.router.drain_timeout;
    if let Next::Change(change) = rotation::next(&cluster.view(), now(), retire_after.as_secs(), &cluster.unleased()) {
        match cluster.engine().commit(change).await {
            Ok(revision) => tracing::info!("cluster: a rotation of connection IDs goes on, revision {revision}"),
            // Another node did it.
            Err(MembershipError::Engine(EngineError::Conflict { .. })) => return false,
            Err(e) => {
                tracing::warn!("cluster: a rotation of connection IDs does not go on: {e}");
                return false;
            }
        }
    }
    true
}

/// For whom a rotation waits, in a sentence.
pub(in crate::agent) fn waits_for(node: &Node) -> Option<String> {
    let (rotation, awaited) = awaited(node.cluster.as_ref()?)?;
    let nodes: Vec<_> = awaited.iter().map(ToString::to_string).collect();
    Some(format!("connection IDs: configuration {rotation} waits until nodes {} decode by it", nodes.join(", ")))
}

/// The configuration of connection IDs that waits for nodes, and for which.
pub(super) fn awaited(cluster: &Cluster) -> Option<(ConfigRotation, Vec<NodeNumber>)> {
    match rotation::next(&cluster.view(), now(), u64::MAX, &cluster.unleased()) {
        Next::Waiting { rotation, nodes } => Some((rotation, nodes.into_iter().map(|(number, _)| number).collect())),
        _ => None,
    }
}

fn cluster(node: &Node) -> Result<&Cluster, OrderError> {
    node.cluster.as_ref().ok_or(OrderError::NoCluster)
}

/// What connection IDs look like, by this node's configuration.
fn shape(node: &Node) -> CidShape {
    let config = node.serving.config();
    CidShape { length: config.connection_id.length, describes_length: config.connection_id.describe_length }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Why an order is not carried out.
#[derive(Debug, thiserror::Error)]
enum OrderError {
    /// There is no `[cluster]`.
    #[error("this node is in no cluster: its configuration has no [cluster]")]
    NoCluster,
    /// No node has the number.
    #[error("no node of the cluster has the number {0}")]
    NoSuchNode(u16),
    /// A word of a newer program.
    #[error("an order that this version does not know")]
    NoSuchOrder,
    /// Nothing can be announced now.
    #[error("connection IDs: {0}")]
    Rotation(rotation::RotationError),
}

impl RoomError for OrderError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Refused
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoCluster | Self::NoSuchOrder => None,
            Self::NoSuchNode(_) => Some("`quic-router nodes list` has all of them".to_owned()),
            Self::Rotation(error) => Some(error.hint().to_owned()),
        }
    }
}
