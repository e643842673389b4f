//! The entries of a cluster, by their names below the cluster's own.

use std::collections::BTreeMap;

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::membership) struct Entry {
    pub(in crate::membership) value: Vec<u8>,
    /// The store's revision in which it was last written.
    pub(in crate::membership) modified: u64,
}

/// All of them, by name.
pub(in crate::membership) type Entries = BTreeMap<String, Entry>;

/// What entries are called.
pub(in crate::membership) mod name {
    use router_common::identifiers::ConfigRotation;

    use super::super::super::node::{Incarnation, NodeNumber};

    pub(in crate::membership) const CONFIG: &str = "config";
    pub(in crate::membership) const MASTER: &str = "master";
    pub(in crate::membership) const NEXT_ID: &str = "next_id";
    pub(in crate::membership) const NODES: &str = "nodes/";
    pub(in crate::membership) const IDS: &str = "ids/";
    pub(in crate::membership) const CID: &str = "cid/";
    pub(in crate::membership) const ORDERS: &str = "orders/";

    pub(in crate::membership) fn node(number: NodeNumber) -> String {
        format!("{NODES}{number}")
    }

    pub(in crate::membership) fn id(incarnation: Incarnation) -> String {
        format!("{IDS}{incarnation}")
    }

    pub(in crate::membership) fn cid(rotation: ConfigRotation) -> String {
        format!("{CID}{rotation}")
    }

    pub(in crate::membership) fn order(number: NodeNumber) -> String {
        format!("{ORDERS}{number}")
    }

    /// Whether the entry goes with a node's lease.
    pub(in crate::membership) fn is_leased(name: &str) -> bool {
        name.starts_with(NODES)
    }
}
