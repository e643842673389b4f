//! From a client's first Initial to a served connection: limits first, then the handshake,
//! then the edge.
//!
//! The loop never waits for a handshake, so one slow client delays nobody.

use std::{rc::Rc, sync::Arc};

use quinn::{Connecting, Connection, Endpoint, Incoming, VarInt, ZeroRttAccepted};
use router_common::connection_id::ConnectionId;
use tokio::task::spawn_local;

use super::{
    admission::{Admission, Admitted, Refusal},
    connection_ids::Era,
    door::Door,
    flows::Flows,
    stats::{Stat, WorkerStats},
    tables::NodeTables,
};
use crate::edge::{Arrival, Draining, Edge, Handshake};

/// What a worker's accept loops share.
pub(super) struct Reception {
    pub(super) slot: u8,
    pub(super) admission: Arc<Admission>,
    pub(super) tables: Arc<NodeTables>,
    pub(super) flows: Flows,
    pub(super) stats: Arc<WorkerStats>,
    pub(super) edge: Edge,
}

impl Reception {
    /// Takes in connections until the endpoint is closed.
    pub(super) async fn accept(self: Rc<Self>, endpoint: Endpoint, door: Rc<Door>) {
        while let Some(incoming) = endpoint.accept().await {
            if let Some(incoming) = self.challenge(incoming, &door) {
                self.admit(incoming, &door);
            }
        }
    }

    /// Sends a Retry to a client that has not proved its address, once half of the
    /// handshakes that we allow are open (RFC 9000 section 8.1.2).
    fn challenge(&self, incoming: Incoming, door: &Door) -> Option<Incoming> {
        let open = self.stats.handshakes_now.get();
        let limit = u64::from(self.admission.limits().max_handshakes);
        if open >= limit || door.is_shut() {
            self.stats.refused_handshakes.add(1);
            incoming.refuse();
            return None;
        }
        if open < limit.div_ceil(2) || incoming.remote_address_validated() || !incoming.may_retry() {
            return Some(incoming);
        }
        match incoming.retry() {
            Ok(()) => {
                self.stats.retried.add(1);
                None
            }
            Err(e) => Some(e.into_incoming()),
        }
    }

    fn admit(self: &Rc<Self>, incoming: Incoming, door: &Door) {
        let peer = incoming.remote_address();
        let admitted = match self.admission.admit(peer.ip()) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                match refusal {
                    Refusal::Connections => &self.stats.refused_connections,
                    Refusal::PerAddress => &self.stats.refused_per_ip,
                }
                .add(1);
                tracing::debug!(%peer, ?refusal, "connection refused");
                incoming.refuse();
                return;
            }
        };
        // Before the first answer leaves: from now on the whole first flight comes here,
        // also if the assignment changes meanwhile.
        let first_flight = FirstFlight::begin(self, incoming.orig_dst_cid());
        // Counted here and now: of a burst of Initials the next is looked at before any task runs.
        let place = Place {
            _admitted: admitted,
            _first_flight: first_flight,
            _era: self.tables.connection_ids().begin(),
            _open: Gauge::raise(&self.stats, |stats| &stats.connections_now),
        };
        let handshake = Gauge::raise(&self.stats, |stats| &stats.handshakes_now);
        let traced = {
            let terms = door.terms.borrow();
            terms.tracing.as_ref().and_then(|tracing| tracing.accept(&incoming, &terms.quic))
        };
        let accepted = match traced {
            Some(config) => incoming.accept_with(config),
            None => incoming.accept(),
        };
        match accepted {
            Ok(connecting) => {
                let way =
                    Way { draining: door.drain.hear(), port: door.port, early_data: door.terms.borrow().early_data };
                let reception = Rc::clone(self);
                spawn_local(async move { reception.serve(connecting, place, handshake, way).await });
            }
            Err(e) => {
                self.stats.handshakes_failed.add(1);
                tracing::debug!(%peer, "handshake not begun: {e}");
            }
        }
    }

    async fn serve(&self, mut connecting: Connecting, _place: Place, handshake: Gauge, way: Way) {
        let peer = connecting.remote_address();
        // What is asked for is known with the ClientHello, which may span several packets.
        if way.early_data && connecting.handshake_data().await.is_ok() {
            match connecting.into_0rtt() {
                Ok((connection, complete)) => return self.serve_early(connection, complete, handshake, way).await,
                Err(not_yet) => connecting = not_yet,
            }
        }
        let result = connecting.await;
        drop(handshake);
        match result {
            Ok(connection) => {
                self.stats.accepted.add(1);
                self.serve_connection(connection, Handshake::complete(), way).await;
            }
            Err(e) => {
                self.stats.handshakes_failed.add(1);
                tracing::debug!(%peer, "handshake failed: {e}");
            }
        }
    }

    /// Serves requests of 0-RTT while the handshake goes on.
    async fn serve_early(&self, connection: Connection, complete: ZeroRttAccepted, handshake: Gauge, way: Way) {
        let (outcome, known) = Handshake::pending();
        let completed = async {
            complete.await;
            drop(handshake);
            // Said also when the handshake has failed, and the connection with it. Whose handshake is
            // confirmed may be closed again by now.
            let confirmed = connection.stats().frame_tx.handshake_done > 0;
            let is_complete = confirmed || connection.close_reason().is_none();
            match is_complete {
                true => self.stats.accepted.add(1),
                false => self.stats.handshakes_failed.add(1),
            }
            outcome.send_replace(Some(is_complete));
        };
        tokio::join!(completed, self.serve_connection(connection.clone(), known, way));
    }

    async fn serve_connection(&self, connection: Connection, handshake: Handshake, way: Way) {
        let Way { draining, port, .. } = way;
        let mut deadline = draining.clone();
        let arrival = Arrival { connection: connection.clone(), handshake, draining, port };
        tokio::select! {
            () = self.edge.serve(arrival) => {}
            () = deadline.over() => connection.close(CLOSED, b"the time to drain is over"),
        }
    }
}

/// H3_NO_ERROR (RFC 9114 section 8.1), which raw QUIC clients see as an application error
/// code like any other: what a connection is closed with that nothing was wrong with.
pub(super) const CLOSED: VarInt = VarInt::from_u32(0x100);

/// The way by which a connection has come in.
struct Way {
    draining: Draining,
    port: u16,
    early_data: bool,
}

/// What a connection holds for as long as it lives.
struct Place {
    _admitted: Admitted,
    _first_flight: FirstFlight,
    _era: Era,
    _open: Gauge,
}

/// A client-chosen connection ID's entry in the flow table, for as long as its connection
/// lives: late copies of its first flight must find nobody else.
struct FirstFlight {
    cid: Option<ConnectionId>,
    tables: Arc<NodeTables>,
    flows: Flows,
}

impl FirstFlight {
    fn begin(reception: &Reception, chosen: quinn::ConnectionId) -> Self {
        let cid = ConnectionId::new(&chosen);
        if let Some(cid) = &cid {
            reception.tables.first_flights().insert(*cid, reception.slot);
            reception.flows.chosen(cid);
        }
        Self { cid, tables: Arc::clone(&reception.tables), flows: reception.flows.clone() }
    }
}

impl Drop for FirstFlight {
    fn drop(&mut self) {
        if let Some(cid) = &self.cid {
            self.flows.ended(cid);
            self.tables.first_flights().remove(cid);
        }
    }
}

/// One more in a gauge, until dropped.
pub(super) struct Gauge {
    stats: Arc<WorkerStats>,
    which: fn(&WorkerStats) -> &Stat,
}

impl Gauge {
    pub(super) fn raise(stats: &Arc<WorkerStats>, which: fn(&WorkerStats) -> &Stat) -> Self {
        which(stats).add(1);
        Self { stats: Arc::clone(stats), which }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.which)(&self.stats).subtract(1);
    }
}
