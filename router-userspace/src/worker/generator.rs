//! The connection IDs a worker issues: QUIC-LB, naming this node and this worker's slot.

use std::{fmt, time::Duration};

use quinn_proto::{ConnectionIdGenerator, InvalidCid};
use rand::RngCore as _;
use router_common::connection_id::{ConnectionId, Layout, MAX_LENGTH, Owner};

use super::flows::Flows;

/// Makes connection IDs, writes each to the flow table, and recognises its own.
pub(super) struct SteeredGenerator {
    layout: Layout,
    owner: Owner,
    flows: Flows,
}

impl SteeredGenerator {
    pub(super) fn new(layout: Layout, owner: Owner, flows: Flows) -> Self {
        Self { layout, owner, flows }
    }
}

impl ConnectionIdGenerator for SteeredGenerator {
    fn generate_cid(&mut self) -> quinn_proto::ConnectionId {
        let cid = random(self.layout, self.owner);
        self.flows.issued(&cid);
        quinn_proto::ConnectionId::new(cid.as_slice())
    }

    /// The last guard against answering for another worker: only a connection ID that names
    /// this very slot may be answered with a stateless reset.
    fn validate(&self, cid: &quinn_proto::ConnectionId) -> Result<(), InvalidCid> {
        ConnectionId::new(cid)
            .filter(|cid| cid.rotation() == self.layout.rotation())
            .and_then(|cid| self.layout.decode(&cid))
            .filter(|owner| *owner == self.owner)
            .map(|_| ())
            .ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        self.layout.length().into()
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

impl fmt::Debug for SteeredGenerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteeredGenerator").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// A fresh connection ID of `owner`. In clear its nonce has to be unlinkable, hence random
/// (QUIC-LB section 5.2).
pub fn random(layout: Layout, owner: Owner) -> ConnectionId {
    let mut nonce = [0; MAX_LENGTH];
    rand::rng().fill_bytes(&mut nonce);
    layout.encode(owner, nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_only_for_its_own_slot() {
        let layout = Layout::new(0, 17).unwrap();
        let owner = Owner { node: 7, slot: 3 };
        let mut generator = SteeredGenerator::new(layout, owner, Flows::none());
        let own = generator.generate_cid();
        assert_eq!(own.len(), 17);
        assert!(generator.validate(&own).is_ok());
        for other in [Owner { node: 7, slot: 4 }, Owner { node: 8, slot: 3 }] {
            let cid = random(layout, other);
            assert!(generator.validate(&quinn_proto::ConnectionId::new(cid.as_slice())).is_err(), "{other:?}");
        }
        assert!(generator.validate(&quinn_proto::ConnectionId::new(&own[..16])).is_err());
        let mut rotated = own.to_vec();
        rotated[0] |= 1 << 5;
        assert!(generator.validate(&quinn_proto::ConnectionId::new(&rotated)).is_err());
    }

    #[test]
    fn never_the_same_twice() {
        let layout = Layout::new(0, 17).unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(random(layout, Owner { node: 1, slot: 1 })));
        }
    }
}
