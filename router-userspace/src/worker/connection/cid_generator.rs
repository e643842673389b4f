//! The connection IDs a worker issues: QUIC-LB, naming this node and this worker's slot.

use std::{fmt, sync::Arc, time::Duration};

use quinn_proto::{ConnectionIdGenerator, InvalidCid};
use router_common::{
    connection_id::{ConnectionId, Owner},
    identifiers::SlotId,
    maps::{NodeState, SlotState},
};

use super::issuing::Issuing;
use crate::worker::{flows::Flows, tables::NodeTables};

/// Makes connection IDs, writes each to the flow table, and recognises its own.
pub(in crate::worker) struct SteeredGenerator {
    pub(in crate::worker) tables: Arc<NodeTables>,
    /// Of the worker that issues them.
    pub(in crate::worker) slot: SlotId,
    pub(in crate::worker) flows: Flows,
    pub(in crate::worker) issuing: Issuing,
    /// How long a client uses one before it is given another.
    pub(in crate::worker) lifetime: Duration,
}

impl ConnectionIdGenerator for SteeredGenerator {
    fn generate_cid(&mut self) -> quinn_proto::ConnectionId {
        if self.issuing.is_passing() {
            return quinn_proto::ConnectionId::new(self.tables.connection_ids().passing().as_slice());
        }
        let cid = self.tables.connection_ids().issue(self.slot);
        self.flows.issued(&cid);
        self.issuing.issued(&cid);
        quinn_proto::ConnectionId::new(cid.as_slice())
    }

    /// The last guard against answering for another worker: only a connection ID that names
    /// this very slot may be answered with a stateless reset, or one whose slot is free, or that
    /// another node had which is gone: no other worker is left to tell its client.
    ///
    /// quinn asks about short headers of connections that it does not have. What the flow table says of one
    /// goes, or a client could keep it there with a packet now and then.
    fn validate(&self, cid: &quinn_proto::ConnectionId) -> Result<(), InvalidCid> {
        let cid = ConnectionId::new(cid).ok_or(InvalidCid)?;
        let is_ours = match self.tables.connection_ids().now().owner(&cid).ok_or(InvalidCid)? {
            Owner::Slot(slot) => slot == self.slot || self.tables.slot_state(slot) == SlotState::Free,
            Owner::Node(node) => {
                self.tables.nodes().nodes.get(&node).is_some_and(|node| node.state() == NodeState::Gone)
            }
        };
        if !is_ours {
            return Err(InvalidCid);
        }
        self.flows.ended(&cid);
        Ok(())
    }

    fn cid_len(&self) -> usize {
        self.tables.connection_ids().now().issuing().config().length()
    }

    /// After that, quinn gives the client fresh ones and asks it to retire these.
    fn cid_lifetime(&self) -> Option<Duration> {
        Some(self.lifetime)
    }
}

impl fmt::Debug for SteeredGenerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteeredGenerator").field("slot", &self.slot).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use router_common::{connection_id::UNROUTABLE, identifiers::GenerationId, maps::Settings};

    use super::*;
    use crate::worker::{
        connection_ids::{
            Configuration, ConnectionIds,
            configuration::tests::{configuration, configuration_in_clear},
        },
        flows::FlowTable,
    };

    /// Of two workers, whose connection IDs follow `configuration`.
    fn tables(configuration: Arc<Configuration>) -> Arc<NodeTables> {
        let without = Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[9; 32]));
        let ids = Arc::new(ConnectionIds::new(configuration, without));
        let tables = NodeTables::new(Settings::new(7, 17, GenerationId::new(1)), ids, [1, 2]);
        tables.set_slot_state(SlotId::new(3), SlotState::Active);
        tables.set_slot_state(SlotId::new(4), SlotState::Draining);
        Arc::new(tables)
    }

    /// Writes to no flow table.
    fn generator(tables: &Arc<NodeTables>, slot: SlotId) -> SteeredGenerator {
        let (flows, issuing, lifetime) = (Flows::none(), Issuing::default(), Duration::from_secs(1));
        SteeredGenerator { tables: Arc::clone(tables), slot, flows, issuing, lifetime }
    }

    /// 2,000 first packets that were refused had made 2,000 entries, and used as many nonces.
    #[test]
    fn what_is_sent_and_forgotten_takes_nothing() {
        let tables = tables(configuration(0));
        let written = Arc::new(Written::default());
        let issuing = Issuing::default();
        let flows = Flows::new(Box::new(Arc::clone(&written)));
        let mut generator = SteeredGenerator { flows, issuing: issuing.clone(), ..generator(&tables, SlotId::new(3)) };
        let unleased = tables.connection_ids().unroutable();
        let cid = issuing.passing(|| generator.generate_cid());
        assert_eq!((cid.len(), written.0.load(Relaxed)), (17, 0));
        assert_eq!(ConnectionId::new(&cid).unwrap().rotation(), UNROUTABLE);
        assert_eq!(tables.connection_ids().unroutable(), unleased, "it is not for want of a nonce");
        let cid = generator.generate_cid();
        let slot = tables.connection_ids().now().slot(&ConnectionId::new(&cid).unwrap());
        assert_eq!((slot, written.0.load(Relaxed)), (Some(SlotId::new(3)), 1));
    }

    #[derive(Default)]
    struct Written(AtomicU32);

    impl FlowTable for Arc<Written> {
        fn issued(&mut self, _: &ConnectionId) {
            self.0.fetch_add(1, Relaxed);
        }
        fn chosen(&mut self, _: &ConnectionId) {}
        fn ended(&mut self, _: &ConnectionId) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    /// A packet now and then had kept entries of connections that have ended.
    #[test]
    fn what_no_connection_has_leaves_the_flow_table() {
        let (tables, written) = (tables(configuration(0)), Arc::new(Written::default()));
        let of = |slot| {
            let flows = Flows::new(Box::new(Arc::clone(&written)));
            SteeredGenerator { flows, ..generator(&tables, slot) }
        };
        let (mut own, mut other) = (of(SlotId::new(3)), of(SlotId::new(4)));
        let (cid, others) = (own.generate_cid(), other.generate_cid());
        assert!(own.validate(&others).is_err());
        assert_eq!(written.0.load(Relaxed), 2, "another worker's is not touched");
        assert!(own.validate(&cid).is_ok());
        assert_eq!(written.0.load(Relaxed), 1);
    }

    #[test]
    fn answers_for_its_own_slot_and_for_those_that_are_free() {
        for configuration in [configuration(0), configuration_in_clear(0)] {
            let tables = tables(configuration);
            let [mut own, mut other, mut gone] = [3, 4, 5].map(|slot| generator(&tables, SlotId::new(slot)));
            let cid = own.generate_cid();
            assert_eq!(cid.len(), 17);
            assert!(own.validate(&cid).is_ok());
            assert!(own.validate(&other.generate_cid()).is_err());
            assert!(own.validate(&gone.generate_cid()).is_ok());
            assert!(own.validate(&quinn_proto::ConnectionId::new(&cid[..16])).is_err());
            let mut rotated = cid.to_vec();
            rotated[0] |= 1 << 5;
            assert!(own.validate(&quinn_proto::ConnectionId::new(&rotated)).is_err());
        }
    }
}
