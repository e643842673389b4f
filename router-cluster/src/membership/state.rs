//! What a node knows of its cluster, and how far that can be relied on.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::SystemTime};

use router_common::identifiers::ConfigRotation;

use super::{
    cid::CidConfiguration,
    keys::Master,
    node::{Incarnation, NodeNumber, NodeRecord, NodeState, Order},
};

/// The whole state of a cluster at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// Grows by one with every change of what is shared: keys, configurations of connection IDs, orders. A node that
    /// says in its record that it [`acks`](super::node::RunInfo::acks) a revision decodes all configurations of that revision.
    /// 0 before the cluster was made.
    pub revision: u64,
    /// What reset, token, ticket and tunnel keys are derived from; none before the cluster was made.
    pub master: Option<Master>,
    /// All nodes that have a number.
    pub nodes: BTreeMap<NodeNumber, Member>,
    /// Which number each incarnation was given; none for one whose entry cannot be read. Empty with an engine that does not give
    /// numbers by incarnations.
    pub incarnations: BTreeMap<Incarnation, Option<NodeNumber>>,
    /// The configurations of connection IDs: at most one by rotation, 0 to 6.
    pub cid: BTreeMap<ConfigRotation, CidConfiguration>,
    /// The number that the next new node gets, 1 to 65,536; the last says that none is left.
    pub next_id: u32,
    /// Entries that make no sense and are ignored, each with its name and why.
    pub faults: Vec<String>,
}

impl ClusterState {
    /// The node with `number`, if it has one.
    pub fn node(&self, number: NodeNumber) -> Option<&Member> {
        self.nodes.get(&number)
    }

    /// The revision with which a configuration of connection IDs came into its state last: two nodes at the same one have the
    /// same keys, but for those that are not used any more.
    pub fn keys_revision(&self) -> u64 {
        self.cid.values().map(|cid| cid.entered).max().unwrap_or(0)
    }

    /// The configuration that new connection IDs follow.
    pub fn issuing(&self) -> Option<&CidConfiguration> {
        self.cid.values().find(|cid| cid.state == super::cid::CidState::Issuing)
    }
}

/// A node among the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// What it says of itself. None if its lease has run out, or was never taken since the cluster's data was last lost: then
    /// only its number is known.
    pub record: Option<NodeRecord>,
    /// Where its tunnel was by its last record, also once that has ended. None if its engine has no leases, if it has never
    /// had a record, or if it is of a version that does not note it. It may have moved since, without being able to say so.
    pub last_tunnel: Option<SocketAddr>,
    /// What an operator says of it.
    pub order: Option<Order>,
}

impl Member {
    /// What is known of its presence. A lease that is gone says nothing by itself unless the view that says so is
    /// [live](Freshness::Live).
    pub fn presence(&self) -> Presence {
        match (&self.record, self.order) {
            (_, Some(Order::Forget)) => Presence::Forgotten,
            (Some(_), _) => Presence::Present,
            (None, _) => Presence::LeaseGone,
        }
    }

    /// Where its tunnel is, as far as is known: by its record, or where it was last.
    pub fn tunnel(&self) -> Option<SocketAddr> {
        self.record.as_ref().map(NodeRecord::tunnel).or(self.last_tunnel)
    }

    /// Whether it takes new connections, as far as its record and its operator say; `None` where it is not present.
    pub fn state(&self) -> Option<NodeState> {
        let record = self.record.as_ref().filter(|_| self.presence() == Presence::Present)?;
        Some(if self.order == Some(Order::Drain) { NodeState::Draining } else { record.state })
    }
}

/// Whether a node is there, as its engine of membership sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Its record stands: under a lease that it renews, or in the operator's file.
    Present,
    /// It has a number and no record.
    LeaseGone,
    /// The operator said that it does not come back.
    Forgotten,
}

/// What an engine knows now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The state, whole.
    pub state: Arc<ClusterState>,
    /// The engine's own number of this state: with every change, of node records too, there is another. For
    /// [`Change::nodes_as_of`](super::Change::nodes_as_of).
    pub version: u64,
    /// How far it can be relied on.
    pub freshness: Freshness,
}

/// How far a view can be relied on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// The engine says so now: what changes there is seen as it does.
    Live,
    /// It was so, and the engine cannot be asked. Nothing is concluded from what is missing.
    LastKnown {
        /// When it was last live.
        since: SystemTime,
        /// Why it is not.
        why: String,
    },
    /// Nothing was ever read.
    Unread {
        /// Why not.
        why: String,
    },
}

impl Freshness {
    /// Whether the view is live.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }

    /// Seconds since the view was last live: 0 while it is, `None` if it never was.
    pub fn age_seconds(&self, now: SystemTime) -> Option<u64> {
        match self {
            Self::Live => Some(0),
            Self::LastKnown { since, .. } => Some(now.duration_since(*since).unwrap_or_default().as_secs()),
            Self::Unread { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_order_goes_before_what_the_node_says() {
        let number = NodeNumber::new(3).unwrap();
        let record = NodeRecord {
            number,
            address: [10, 0, 0, 3].into(),
            port: 6080,
            weight: 100,
            state: NodeState::Up,
            run: None,
        };
        for (record, order, presence, state) in [
            (Some(record.clone()), None, Presence::Present, Some(NodeState::Up)),
            (Some(record.clone()), Some(Order::Drain), Presence::Present, Some(NodeState::Draining)),
            (Some(record), Some(Order::Forget), Presence::Forgotten, None),
            (None, Some(Order::Drain), Presence::LeaseGone, None),
            (None, Some(Order::Forget), Presence::Forgotten, None),
        ] {
            let member = Member { record, last_tunnel: None, order };
            assert_eq!((member.presence(), member.state()), (presence, state), "{member:?}");
        }
    }

    #[test]
    fn the_age_of_a_view_counts_from_when_it_was_live() {
        let now = SystemTime::now();
        let last_known = Freshness::LastKnown { since: now - Duration::from_secs(60), why: String::new() };
        assert_eq!(last_known.age_seconds(now), Some(60));
        // A clock that was set back.
        assert_eq!(last_known.age_seconds(now - Duration::from_secs(90)), Some(0));
        assert_eq!(Freshness::Live.age_seconds(now), Some(0));
        assert_eq!(Freshness::Unread { why: String::new() }.age_seconds(now), None);
    }
}
