//! What the workers of an agent have in common: tables, limits, and the queues between them.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::sync::{Notify, mpsc};

use super::{
    af_xdp::NextHopResolver,
    connection::Admission,
    socket::ForwardQueues,
    tables::NodeTables,
    tunnel::{Tunnel, TunnelIntake},
};

/// What all workers of an agent share.
#[derive(Clone)]
pub struct Shared {
    pub(super) tables: Arc<NodeTables>,
    pub(super) admission: Arc<Admission>,
    pub(super) cid_lifetime: Duration,
    pub(super) by_kernel: bool,
    pub(super) enquiries: Option<NextHopResolver>,
    pub(super) forward_queues: Arc<ForwardQueues>,
    pub(super) tunnel: Option<Arc<Tunnel>>,
    pub(super) living: mpsc::Sender<Infallible>,
    ended: Arc<Notify>,
}

impl Shared {
    /// A connection's IDs are replaced after `cid_lifetime`. Each worker keeps a copy of
    /// `living` until its thread ends, however it ends.
    pub fn new(
        tables: Arc<NodeTables>,
        admission: Arc<Admission>,
        cid_lifetime: Duration,
        living: mpsc::Sender<Infallible>,
    ) -> Self {
        Self {
            tables,
            admission,
            cid_lifetime,
            by_kernel: false,
            enquiries: None,
            forward_queues: Arc::default(),
            tunnel: None,
            living,
            ended: Arc::default(),
        }
    }

    /// The same, saying whether the kernel brings packets to their workers, or the workers
    /// have to do it among themselves.
    pub fn steered_by_kernel(self, by_kernel: bool) -> Self {
        Self { by_kernel, ..self }
    }

    /// The same, sending by AF_XDP where a worker has a queue of the interface that a datagram goes
    /// out by: `enquiries` know which that is.
    pub fn sending_frames(self, enquiries: Option<NextHopResolver>) -> Self {
        Self { enquiries, ..self }
    }

    /// The same, with a way to other nodes of the cluster.
    pub fn with_tunnel(self, tunnel: Option<Arc<Tunnel>>) -> Self {
        Self { tunnel, ..self }
    }

    /// Where what comes by the tunnel goes.
    pub fn tunnel_intake(&self) -> TunnelIntake {
        TunnelIntake { tables: Arc::clone(&self.tables), forward_queues: Arc::clone(&self.forward_queues) }
    }

    /// Said whenever a worker has ended, however that came.
    pub fn ended(&self) -> Arc<Notify> {
        Arc::clone(&self.ended)
    }

    /// The node's tables.
    pub fn tables(&self) -> &Arc<NodeTables> {
        &self.tables
    }
}
