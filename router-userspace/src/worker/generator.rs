//! The connection IDs a worker issues: QUIC-LB, naming this node and this worker's slot.

use std::{fmt, sync::Arc, time::Duration};

use quinn_proto::{ConnectionIdGenerator, InvalidCid};
use router_common::{connection_id::ConnectionId, maps::SlotState};

use super::{flows::Flows, tables::NodeTables};

/// Makes connection IDs, writes each to the flow table, and recognises its own.
pub(super) struct SteeredGenerator {
    tables: Arc<NodeTables>,
    slot: u8,
    flows: Flows,
    lifetime: Duration,
}

impl SteeredGenerator {
    pub(super) fn new(tables: Arc<NodeTables>, slot: u8, flows: Flows, lifetime: Duration) -> Self {
        Self { tables, slot, flows, lifetime }
    }
}

impl ConnectionIdGenerator for SteeredGenerator {
    fn generate_cid(&mut self) -> quinn_proto::ConnectionId {
        let cid = self.tables.connection_ids().issue(self.slot);
        self.flows.issued(&cid);
        quinn_proto::ConnectionId::new(cid.as_slice())
    }

    /// The last guard against answering for another worker: only a connection ID that names
    /// this very slot may be answered with a stateless reset, or one whose slot is free: nobody
    /// else is left to tell its client.
    fn validate(&self, cid: &quinn_proto::ConnectionId) -> Result<(), InvalidCid> {
        ConnectionId::new(cid)
            .and_then(|cid| self.tables.connection_ids().now().slot(&cid))
            .filter(|&slot| slot == self.slot || self.tables.slot_state(slot) == SlotState::Free)
            .map(|_| ())
            .ok_or(InvalidCid)
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
    use router_common::maps::Settings;

    use super::{
        super::connection_ids::{ConnectionIds, configuration::tests::configuration},
        *,
    };

    fn tables(encrypted: bool) -> Arc<NodeTables> {
        let without = Arc::new(aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[9; 32]));
        let ids = Arc::new(ConnectionIds::new(configuration(0, encrypted), without));
        let tables = NodeTables::new(Settings::new(7, 17, 1), ids, [1, 2]);
        tables.set_slot_state(3, SlotState::Active);
        tables.set_slot_state(4, SlotState::Draining);
        Arc::new(tables)
    }

    #[test]
    fn answers_for_its_own_slot_and_for_those_that_nobody_has() {
        for encrypted in [false, true] {
            let tables = tables(encrypted);
            let of = |slot| SteeredGenerator::new(Arc::clone(&tables), slot, Flows::none(), Duration::from_secs(1));
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
