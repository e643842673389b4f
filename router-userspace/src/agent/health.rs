//! What the admin listener tells of a node, for as long as the node is there.

use std::rc::{Rc, Weak};

use router_cluster::confirmation::Standing;

use super::{
    admin::{HealthSource, NoMetrics, Readiness},
    cluster::Cluster,
    metrics,
    node::Node,
    observe::observe,
};

/// A node as the admin listener sees it. It does not keep the node from ending.
pub(super) struct NodeHealth(Weak<Node>);

impl NodeHealth {
    /// That of `node`.
    pub(super) fn of(node: &Rc<Node>) -> Rc<Self> {
        Rc::new(Self(Rc::downgrade(node)))
    }
}

impl HealthSource for NodeHealth {
    async fn metrics(&self) -> Result<String, NoMetrics> {
        let node = self.0.upgrade().ok_or(NoMetrics::Ending)?;
        let observed = observe(&node).await;
        let (sums, dropped) = (node.observability.meters().sums(), node.observability.access_log_dropped());
        metrics::text(observed, sums, dropped).map_err(|e| {
            tracing::error!("metrics: {e}");
            NoMetrics::Unwritable
        })
    }

    fn readiness(&self) -> Readiness {
        match self.0.upgrade() {
            Some(node) if !node.roster.is_stopping() && node.generations.serves() => {
                match node.cluster.as_ref().map(Cluster::standing) {
                    Some(Standing::Forgotten) => Readiness::Forgotten,
                    Some(standing) if !standing.is_ready() => Readiness::Unconfirmed,
                    _ => Readiness::Serves,
                }
            }
            _ => Readiness::Draining,
        }
    }
}
