//! The flow table as a worker uses it: through a trait, so that this room knows no maps.

use std::sync::{Arc, Mutex, PoisonError};

use router_common::connection_id::ConnectionId;

/// Writes flows to wherever the engine keeps them.
pub trait FlowTable: Send {
    /// A connection ID that was issued for this worker's slot.
    fn issued(&mut self, cid: &ConnectionId);

    /// A connection ID that a client chose, of a connection that this worker accepted.
    fn chosen(&mut self, cid: &ConnectionId);

    /// A client-chosen connection ID whose connection has ended.
    fn ended(&mut self, cid: &ConnectionId);
}

/// A worker's handle on the flow table, shared by its generators and its accept loops.
#[derive(Clone)]
pub(super) struct Flows(Arc<Mutex<Box<dyn FlowTable>>>);

impl Flows {
    pub(super) fn new(table: Box<dyn FlowTable>) -> Self {
        Self(Arc::new(Mutex::new(table)))
    }

    pub(super) fn issued(&self, cid: &ConnectionId) {
        self.with(|table| table.issued(cid));
    }

    pub(super) fn chosen(&self, cid: &ConnectionId) {
        self.with(|table| table.chosen(cid));
    }

    pub(super) fn ended(&self, cid: &ConnectionId) {
        self.with(|table| table.ended(cid));
    }

    /// Only this worker's thread ever takes the lock; it costs one uncontended exchange.
    fn with(&self, act: impl FnOnce(&mut dyn FlowTable)) {
        act(&mut **self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self::new(Box::new(NoFlows))
    }
}

/// For an engine without a flow table.
#[derive(Debug)]
pub struct NoFlows;

impl FlowTable for NoFlows {
    fn issued(&mut self, _: &ConnectionId) {}
    fn chosen(&mut self, _: &ConnectionId) {}
    fn ended(&mut self, _: &ConnectionId) {}
}
