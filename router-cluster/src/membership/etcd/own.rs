//! What this node has told the others, or wants to.

use crate::membership::{
    ClusterState, NodeNumber, NodeRecord, Order,
    store::{Entries, name},
};

/// This node's place among the others.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// What it was registered as.
    pub(super) number: Option<NodeNumber>,
    /// What the others are to know of it.
    pub(super) record: Option<NodeRecord>,
    /// Whether they have to be told: it has changed.
    pub(super) is_news: bool,
    /// Its lease, 0 for none, as etcd says it.
    pub(super) lease: i64,
}

impl Own {
    /// The record, if the store needs it: it is news, or is missing there. One that the operator has forgotten does not
    /// come back.
    pub(super) fn untold(&self, entries: &Entries, state: &ClusterState) -> Option<&NodeRecord> {
        let record = self.record.as_ref()?;
        let order = state.node(record.number).and_then(|member| member.order);
        let is_missing = !entries.contains_key(&name::node(record.number));
        (order != Some(Order::Forget) && (self.is_news || is_missing)).then_some(record)
    }

    /// Whether the number is this node's.
    pub(super) fn has(&self, number: NodeNumber) -> bool {
        self.number == Some(number)
    }
}
