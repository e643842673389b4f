//! A worker's way into the kernel's flow table.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use router_common::{connection_id::ConnectionId, identifiers::SlotId, maps::Origin};

use crate::{datapath::FlowWriter, worker::FlowTable};

/// The flow table in the kernel, for the worker of one slot.
pub(super) struct KernelFlows {
    pub(super) slot: SlotId,
    pub(super) writer: FlowWriter,
    pub(super) sweeper: mpsc::Sender<ConnectionId>,
    pub(super) full: Arc<AtomicU64>,
}

impl KernelFlows {
    fn write(&mut self, cid: &ConnectionId, origin: Origin) {
        if self.writer.insert(cid, self.slot, origin) {
            // Without a sweeper the agent is about to stop, and the table with it.
            let _ = self.sweeper.send(*cid);
        } else {
            self.full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl FlowTable for KernelFlows {
    fn issued(&mut self, cid: &ConnectionId) {
        self.write(cid, Origin::Issued);
    }

    fn chosen(&mut self, cid: &ConnectionId) {
        self.write(cid, Origin::Chosen);
    }

    fn ended(&mut self, cid: &ConnectionId) {
        self.writer.remove(cid);
    }
}
