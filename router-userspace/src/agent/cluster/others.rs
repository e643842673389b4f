//! The other nodes, as far as this one knows where they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use router_cluster::membership::{ClusterState, NodeNumber, NodeRecord};
use router_common::identifiers::NodeId;

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::agent) struct Other {
    /// Where its tunnel is: by its record, or where it was last.
    pub(in crate::agent) tunnel: SocketAddr,
    /// What its record said last, also once that has ended; none if this agent has seen none.
    pub(in crate::agent) record: Option<NodeRecord>,
}

/// All that were ever seen, by number. One that is not listed any more may have connections yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Others(BTreeMap<NodeNumber, Other>);

impl Others {
    /// Takes in what the engine says of all but `own`. Where a node was last, another one may be now.
    pub(super) fn look(&mut self, state: &ClusterState, own: NodeNumber) {
        let there: BTreeSet<_> =
            state.nodes.values().filter_map(|member| member.record.as_ref()).map(NodeRecord::tunnel).collect();
        for (&number, member) in state.nodes.iter().filter(|(number, _)| **number != own) {
            let is_taken = |tunnel: &SocketAddr| member.record.is_none() && there.contains(tunnel);
            let Some(tunnel) = member.tunnel().filter(|tunnel| !is_taken(tunnel)) else { continue };
            let other = self.0.entry(number).or_insert(Other { tunnel, record: None });
            other.tunnel = tunnel;
            if let Some(record) = &member.record {
                other.record = Some(record.clone());
            }
        }
    }

    pub(super) fn get(&self, number: NodeNumber) -> Option<&Other> {
        self.0.get(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeNumber, &Other)> {
        self.0.iter().map(|(&number, other)| (number, other))
    }

    /// Those whose records were seen.
    pub(super) fn records(&self) -> impl Iterator<Item = &NodeRecord> {
        self.0.values().filter_map(|other| other.record.as_ref())
    }

    pub(super) fn numbers(&self) -> BTreeSet<NodeNumber> {
        self.0.keys().copied().collect()
    }

    /// To which addresses ways are wanted.
    pub(super) fn destinations(&self) -> BTreeMap<NodeId, IpAddr> {
        self.iter().map(|(number, other)| (id(number), other.tunnel.ip())).collect()
    }
}

/// A node's number as maps have it.
pub(super) fn id(number: NodeNumber) -> NodeId {
    NodeId::new(number.get())
}

#[cfg(test)]
impl FromIterator<(NodeNumber, Other)> for Others {
    fn from_iter<I: IntoIterator<Item = (NodeNumber, Other)>>(others: I) -> Self {
        Self(others.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use router_cluster::membership::{Member, NodeState};

    use super::*;

    fn number(number: u16) -> NodeNumber {
        NodeNumber::new(number).unwrap()
    }

    fn record(host: u8) -> NodeRecord {
        let address = [10, 0, 0, host].into();
        NodeRecord { number: number(2), address, port: 6080, weight: 100, state: NodeState::Up, run: None }
    }

    fn look(others: &mut Others, member: Member) -> Option<(String, Option<NodeRecord>)> {
        let own = Member { record: Some(record(1)), ..Member::default() };
        let nodes = [(number(1), own), (number(2), member)].into();
        others.look(&ClusterState { nodes, ..ClusterState::default() }, number(1));
        assert_eq!(others.get(number(1)), None);
        others.get(number(2)).map(|other| (other.tunnel.to_string(), other.record.clone()))
    }

    #[test]
    fn a_node_is_where_its_record_says_or_where_it_was_last() {
        let mut others = Others::default();
        let was_at = |host: u8| Some(record(host).tunnel());
        assert_eq!(look(&mut others, Member::default()), None, "nobody says where");
        let leaseless = |host| Member { last_tunnel: was_at(host), ..Member::default() };
        assert_eq!(look(&mut others, leaseless(7)), Some(("10.0.0.7:6080".to_owned(), None)));
        let present = Member { record: Some(record(8)), last_tunnel: was_at(8), order: None };
        assert_eq!(look(&mut others, present), Some(("10.0.0.8:6080".to_owned(), Some(record(8)))));
        // It has moved and has lost its lease, while this agent could not ask.
        assert_eq!(look(&mut others, leaseless(9)), Some(("10.0.0.9:6080".to_owned(), Some(record(8)))));
        // The present node is there by now.
        assert_eq!(look(&mut others, leaseless(1)), Some(("10.0.0.9:6080".to_owned(), Some(record(8)))));
        // Forgotten, or of a version that does not say where it is.
        assert_eq!(look(&mut others, Member::default()), Some(("10.0.0.9:6080".to_owned(), Some(record(8)))));
        assert_eq!(others.destinations(), [(NodeId::new(2), [10, 0, 0, 9].into())].into());
    }
}
