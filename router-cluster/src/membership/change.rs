//! What is changed of that which nodes share.

use router_common::identifiers::ConfigRotation;

use super::{
    cid::CidConfiguration,
    keys::Master,
    node::{NodeNumber, Order},
};

/// A change, and what it supposes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The [`revision`](super::ClusterState::revision) that it was decided on: with any other it is a conflict.
    pub based_on: u64,
    /// The [`version`](super::View::version) of the view that it was decided on, if it supposes something of node records:
    /// then it is a conflict, too, if any record was written since. So a change that every node has to have acked is not
    /// made past a node that joined meanwhile.
    pub nodes_as_of: Option<u64>,
    /// What is written, all in one step.
    pub writes: Vec<Write>,
}

/// One entry that is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// The cluster's master secret.
    Master(Master),
    /// A configuration of connection IDs, in place of what its rotation has.
    Cid(CidConfiguration),
    /// The rotation is free again.
    RemoveCid(ConfigRotation),
    /// What an operator says of a node, in place of what was said before. [`Order::Forget`] also takes the number away
    /// from its incarnation, and the record of it: should the node come back, it gets another number.
    Order(NodeNumber, Order),
    /// The operator's word no longer holds.
    Revoke(NodeNumber),
}
