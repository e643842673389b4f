//! The connection IDs a worker issues: QUIC-LB, naming this node and this worker's slot.

use std::{fmt, sync::Arc, time::Duration};

use quinn_proto::{ConnectionIdGenerator, InvalidCid};
use router_common::{connection_id::ConnectionId, maps::SlotState};

use super::issuing::Issuing;
use crate::worker::{flows::Flows, tables::NodeTables};

/// Makes connection IDs, writes each to the flow table, and recognises its own.
pub(in crate::worker) struct SteeredGenerator {
    tables: Arc<NodeTables>,
    slot: u8,
    flows: Flows,
    issuing: Issuing,
    lifetime: Duration,
}

impl SteeredGenerator {
    pub(in crate::worker) fn new(
        tables: Arc<NodeTables>,
        slot: u8,
        (flows, issuing): (Flows, Issuing),
        lifetime: Duration,
    ) -> Self {
        Self { tables, slot, flows, issuing, lifetime }
    }
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
    /// this very slot may be answered with a stateless reset, or one whose slot is free: nobody
    /// else is left to tell its client.
    ///
    /// quinn asks about short headers of connections that it does not have. What the flow table says of one
    /// goes, or anybody could keep it there with a packet now and then.
    fn validate(&self, cid: &quinn_proto::ConnectionId) -> Result<(), InvalidCid> {
        let cid = ConnectionId::new(cid).ok_or(InvalidCid)?;
        let slot = self.tables.connection_ids().now().slot(&cid).ok_or(InvalidCid)?;
        if slot != self.slot && self.tables.slot_state(slot) != SlotState::Free {
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

    use router_common::{connection_id::UNROUTABLE, maps::Settings};

    use super::*;
    use crate::worker::{
        connection_ids::{ConnectionIds, configuration::tests::configuration},
        flows::FlowTable,
    };

    fn tables(encrypted: bool) -> Arc<NodeTables> {
        let without = Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[9; 32]));
        let ids = Arc::new(ConnectionIds::new(configuration(0, encrypted), without));
        let tables = NodeTables::new(Settings::new(7, 17, 1), ids, [1, 2]);
        tables.set_slot_state(3, SlotState::Active);
        tables.set_slot_state(4, SlotState::Draining);
        Arc::new(tables)
    }

    fn unwritten() -> (Flows, Issuing) {
        (Flows::none(), Issuing::default())
    }

    /// 2,000 first packets that were refused had made 2,000 entries, and used as many nonces.
    #[test]
    fn what_is_sent_and_forgotten_takes_nothing() {
        let tables = tables(true);
        let written = Arc::new(Written::default());
        let issuing = Issuing::default();
        let flows = Flows::new(Box::new(Arc::clone(&written)));
        let mut generator =
            SteeredGenerator::new(Arc::clone(&tables), 3, (flows, issuing.clone()), Duration::from_secs(1));
        let unleased = tables.connection_ids().unroutable();
        let cid = issuing.passing(|| generator.generate_cid());
        assert_eq!((cid.len(), written.0.load(Relaxed)), (17, 0));
        assert_eq!(ConnectionId::new(&cid).unwrap().rotation(), UNROUTABLE);
        assert_eq!(tables.connection_ids().unroutable(), unleased, "it is not for want of a nonce");
        let cid = generator.generate_cid();
        let slot = tables.connection_ids().now().slot(&ConnectionId::new(&cid).unwrap());
        assert_eq!((slot, written.0.load(Relaxed)), (Some(3), 1));
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
        let (tables, written) = (tables(true), Arc::new(Written::default()));
        let of = |slot| {
            let flows = Flows::new(Box::new(Arc::clone(&written)));
            SteeredGenerator::new(Arc::clone(&tables), slot, (flows, Issuing::default()), Duration::from_secs(1))
        };
        let (mut own, mut other) = (of(3), of(4));
        let (cid, others) = (own.generate_cid(), other.generate_cid());
        assert!(own.validate(&others).is_err());
        assert_eq!(written.0.load(Relaxed), 2, "another worker's is not touched");
        assert!(own.validate(&cid).is_ok());
        assert_eq!(written.0.load(Relaxed), 1);
    }

    #[test]
    fn answers_for_its_own_slot_and_for_those_that_nobody_has() {
        for encrypted in [false, true] {
            let tables = tables(encrypted);
            let of = |slot| SteeredGenerator::new(Arc::clone(&tables), slot, unwritten(), Duration::from_secs(1));
            let (mut generator, mut other, mut gone) = (of(3), of(4), of(5));
            let own = generator.generate_cid();
            assert_eq!(own.len(), 17);
            assert!(generator.validate(&own).is_ok());
            assert!(generator.validate(&other.generate_cid()).is_err());
            assert!(generator.validate(&gone.generate_cid()).is_ok());
            assert!(generator.validate(&quinn_proto::ConnectionId::new(&own[..16])).is_err());
            let mut rotated = own.to_vec();
            rotated[0] |= 1 << 5;
            assert!(generator.validate(&quinn_proto::ConnectionId::new(&rotated)).is_err());
        }
    }
}
