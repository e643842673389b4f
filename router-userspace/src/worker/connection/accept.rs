//! From a client's first Initial to a served connection: limits first, then the handshake,
//! then the edge.
//!
//! The loop never waits for a handshake, so one slow client delays no other.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use quinn::{Connecting, Connection, Endpoint, Incoming, VarInt, ZeroRttAccepted};
use router_common::{
    admission::{Challenge, Listed},
    connection_id::ConnectionId,
    identifiers::SlotId,
};
use tokio::{
    task::spawn_local,
    time::{Instant, sleep_until},
};

use super::{
    admission::{Admission, Admitted, Opening, Refusal},
    half_open::{Entered, HalfOpen},
    issuing::{Issuing, OfAccept},
    listener_state::ListenerState,
    retirement::{BLOCKED, BLOCKED_WHY, Retirements},
};
use crate::{
    address::{Address, Validated},
    edge::{Draining, Edge, Handshake, IncomingConnection},
    worker::{
        connection_ids::Era,
        flows::Flows,
        socket::SourceOverride,
        stats::{Stat, WorkerStats},
        tables::NodeTables,
        tcp_connections::TcpConnections,
    },
};

/// What a worker's accept loops share.
pub(in crate::worker) struct Acceptor {
    pub(in crate::worker) slot: SlotId,
    pub(in crate::worker) admission: Arc<Admission>,
    pub(in crate::worker) tables: Arc<NodeTables>,
    pub(in crate::worker) flows: Flows,
    pub(in crate::worker) stats: Arc<WorkerStats>,
    pub(in crate::worker) half_open: Rc<HalfOpen>,
    pub(in crate::worker) issuing: Issuing,
    pub(in crate::worker) retirements: Rc<Retirements>,
    pub(in crate::worker) tcp: Rc<TcpConnections>,
    pub(in crate::worker) edge: Edge,
}

impl Acceptor {
    /// Takes in connections until the endpoint is closed.
    pub(in crate::worker) async fn accept(self: Rc<Self>, endpoint: Endpoint, listener_state: Rc<ListenerState>) {
        while let Some(incoming) = endpoint.accept().await {
            let address = Address::of(&incoming);
            let standing = match self.listed(&incoming) {
                Listed::Drop => Err(Away::Ignore),
                _ if listener_state.has_stopped() || self.admission.is_closed() => {
                    Err(Away::Refuse(Refusal::Handshakes))
                }
                _ if self.aims_at_a_slot(&incoming) => Err(Away::Retry),
                listed if self.asks(listed, &incoming, address) => Err(Away::Retry),
                Listed::No | Listed::Allow | Listed::Challenge => self.standing(address),
            };
            #[cfg(feature = "interop")]
            let standing = match address {
                Address::Known(..) | Address::Unvalidated(_)
                    if !matches!(standing, Err(Away::Ignore)) && listener_state.terms.borrow().always_retry =>
                {
                    Err(Away::Retry)
                }
                _ => standing,
            };
            match standing {
                Ok(standing) => self.begin(Candidate { incoming, address, standing }, &listener_state),
                Err(away) => self.turn_away(incoming, away),
            }
        }
    }

    /// What the block list says of a client. One that is dropped came here all the same: behind a datagram of a
    /// connection that exists, in one train, or by a connection ID that names this slot.
    fn listed(&self, incoming: &Incoming) -> Listed {
        self.tables.listed_packet(incoming.remote_address().ip(), |listed| listed == Listed::Drop)
    }

    /// The place within the limits of a client that begins at `address`. What would meet a limit has
    /// to show first that it receives there (RFC 9000 section 8.1.2): a refusal is meant for the client
    /// that has the address, and a forged one would hit it.
    fn standing(&self, address: Address) -> Result<Standing, Away> {
        let (open, limits) = (self.half_open.count(), self.admission.limits());
        let limit = limits.max_handshakes;
        if open >= limit.div_ceil(2) as usize {
            self.admission.press();
        }
        let (claimed, limit) = match address {
            Address::Validated(address) => {
                let admitted = self.admission.admit(address).map_err(Away::Refuse)?;
                if self.half_open.make_room(&address.prefix(&limits), limit) {
                    self.stats.refused(Refusal::Handshakes).add(1);
                }
                return Ok(Standing::Admitted(admitted));
            }
            Address::Known(claimed, _) => (claimed, limit),
            Address::Unvalidated(claimed) => (claimed, limit.div_ceil(2)),
        };
        if open >= limit as usize {
            return Err(Away::Retry);
        }
        self.admission.begin(claimed).map(Standing::Opening).ok_or(Away::Retry)
    }

    /// Whether a client is asked to show that it receives at its address: each is where `admission.challenge` says so,
    /// but those that the block list allows, and those that it names in any case. Where the XDP program asks, only those
    /// come here that have shown it, and those that it cannot ask.
    fn asks(&self, listed: Listed, incoming: &Incoming, address: Address) -> bool {
        let asks = match listed {
            Listed::Challenge => true,
            Listed::Allow => false,
            Listed::No | Listed::Drop => self.tables.admission().challenge() == Challenge::Always,
        };
        asks && !matches!(address, Address::Validated(_)) && incoming.may_retry() && !self.is_probe(incoming)
    }

    /// Whether it is the probe of a takeover, which is expected.
    fn is_probe(&self, incoming: &Incoming) -> bool {
        ConnectionId::new(&incoming.orig_dst_cid()).is_some_and(|cid| self.tables.expects_probe(&cid))
    }

    /// Whether a client has chosen a connection ID that names a slot, which is how it got here. Clients
    /// choose at random; one that had such an ID from an earlier connection could put all its connections
    /// on one worker, also on one that drains. The connection ID of a Retry is ours, and names none: what
    /// answers it is placed by the assignment.
    fn aims_at_a_slot(&self, incoming: &Incoming) -> bool {
        incoming.may_retry()
            && ConnectionId::new(&incoming.orig_dst_cid())
                .is_some_and(|cid| self.tables.connection_ids().now().slot(&cid).is_some())
            // Which does so on purpose.
            && !self.is_probe(incoming)
    }

    fn turn_away(&self, incoming: Incoming, away: Away) {
        let peer = incoming.remote_address();
        match away {
            Away::Retry => match self.issuing.passing(|| incoming.retry()) {
                Ok(()) => self.stats.retried.add(1),
                // Only a client that has been sent one may not be: and its address is validated.
                Err(e) => self.issuing.passing(|| e.into_incoming().refuse()),
            },
            Away::Ignore => {
                tracing::debug!(%peer, "first flight from a blocked prefix ignored");
                incoming.ignore();
            }
            Away::Refuse(refusal) => {
                self.stats.refused(refusal).add(1);
                tracing::debug!(%peer, ?refusal, "connection refused");
                self.issuing.passing(|| incoming.refuse());
            }
        }
    }

    fn begin(self: &Rc<Self>, candidate: Candidate, listener_state: &ListenerState) {
        let Candidate { incoming, address, standing } = candidate;
        let peer = incoming.remote_address();
        // Before the first answer leaves: from now on the whole first flight comes here,
        // also if the assignment changes meanwhile.
        let first_flight = FirstFlightGuard::begin(self, &incoming);
        // Counted here and now: of a burst of Initials the next is looked at before any task runs.
        let open = Gauge::raise(&self.stats, |stats| &stats.connections_now);
        let era = self.tables.connection_ids().begin();
        let handshake = Handshaking {
            entered: self.half_open.enter(address.prefix(&self.admission.limits())),
            _gauge: Gauge::raise(&self.stats, |stats| &stats.handshakes_now),
        };
        let traced = listener_state.traced(&incoming);
        let (accepted, issued) = self.issuing.noting(|| match traced {
            Some(config) => incoming.accept_with(config),
            None => incoming.accept(),
        });
        let place = ConnectionGuard {
            _first_flight: first_flight,
            _issued: OfAccept::new(issued, &self.flows),
            _era: era,
            _open: open,
        };
        match accepted {
            Ok(connecting) => {
                let context = ConnectionContext::of(listener_state);
                let until = Instant::now() + self.admission.limits().request_timeout;
                let begun = Begun { address, standing, handshake, until, context };
                let acceptor = Rc::clone(self);
                spawn_local(async move {
                    acceptor.serve(connecting, begun).await;
                    drop(place);
                });
            }
            Err(e) => {
                self.stats.handshakes_failed.add(1);
                tracing::debug!(%peer, "handshake not begun: {e}");
            }
        }
    }

    async fn serve(&self, mut connecting: Connecting, begun: Begun) {
        let peer = connecting.remote_address();
        // A request of 0-RTT is told where its client is: without a token, that is not known before
        // the handshake is complete, and the request waits for it.
        if let (true, Some(known)) = (begun.context.early_data, begun.address.known()) {
            // What is asked for is known with the ClientHello, which may span several packets.
            if let Ok(Ok(_)) = begun.handshake.within(begun.until, connecting.handshake_data()).await {
                match connecting.into_0rtt() {
                    Ok((connection, complete)) => {
                        // In a box: the others need no room for it, for as long as they are there.
                        let early = Located { connection, address: known };
                        return Box::pin(self.serve_early(early, complete, begun)).await;
                    }
                    Err(not_yet) => connecting = not_yet,
                }
            }
        }
        let Begun { address, standing, handshake, until, context } = begun;
        let result = handshake.within(until, connecting).await;
        drop(handshake);
        match result {
            Ok(Ok(connection)) => {
                self.stats.accepted.add(1);
                let located = Located { connection, address: address.completed() };
                let Some(_admitted) = self.let_in(standing, &located) else { return };
                self.serve_connection(located, Handshake::complete(), context).await;
            }
            Ok(Err(e)) => {
                self.stats.handshakes_failed.add(1);
                tracing::debug!(%peer, "handshake failed: {e}");
            }
            // Dropped with what there is of it, the connection is closed.
            Err(why) => {
                self.stats.handshakes_failed.add(1);
                tracing::debug!(%peer, "{why}");
            }
        }
    }

    /// Serves requests of 0-RTT while the handshake goes on.
    async fn serve_early(
        &self,
        early: Located,
        complete: ZeroRttAccepted,
        Begun { standing, handshake, until, context, .. }: Begun,
    ) {
        let connection = &early.connection;
        let (outcome, known) = Handshake::pending();
        let mut admitted = None;
        let completed = async {
            if let Err(why) = handshake.within(until, complete).await {
                connection.close(CLOSED, why.as_bytes());
            }
            drop(handshake);
            // Said also when the handshake has failed, and the connection with it. A connection whose handshake is
            // confirmed may be closed again by now.
            let confirmed = connection.stats().frame_tx.handshake_done > 0;
            let is_complete = confirmed || connection.close_reason().is_none();
            match is_complete {
                true => self.stats.accepted.add(1),
                false => self.stats.handshakes_failed.add(1),
            }
            admitted = is_complete.then(|| self.let_in(standing, &early)).flatten();
            outcome.send_replace(Some(admitted.is_some()));
        };
        tokio::join!(completed, self.serve_connection(early.clone(), known, context));
        drop(admitted);
    }

    /// Counts a connection, or closes it: other connections have taken the room since it began, or its address was
    /// blocked.
    fn let_in(&self, standing: Standing, located: &Located) -> Option<Admitted> {
        let Located { connection, address } = located;
        if self.tables.listed(address.ip()) == Listed::Drop {
            connection.close(BLOCKED, BLOCKED_WHY);
            return None;
        }
        let admitted = match standing {
            Standing::Admitted(admitted) => Ok(admitted),
            Standing::Opening(opening) => opening.validate(*address),
        };
        admitted
            .inspect_err(|refusal| {
                self.stats.refused(*refusal).add(1);
                tracing::debug!(peer = %address, ?refusal, "connection closed");
                connection.close(TOO_MANY, b"the limit of connections is reached");
            })
            .ok()
    }

    async fn serve_connection(&self, located: Located, handshake: Handshake, context: ConnectionContext) {
        let Located { connection, address } = located;
        let _watched = self.retirements.watch(&connection);
        let _may_move = context.source_override.may_move(connection.clone());
        let ConnectionContext { draining, listener, .. } = context;
        let mut deadline = draining.clone();
        let arrival = IncomingConnection { connection: connection.clone(), address, handshake, draining, listener };
        tokio::select! {
            () = self.edge.serve(arrival) => {}
            () = deadline.over() => connection.close(CLOSED, b"the time to drain is over"),
        }
    }
}

/// H3_NO_ERROR (RFC 9114 section 8.1), which raw QUIC clients see as an application error
/// code like any other: what a connection is closed with that nothing was wrong with.
pub(in crate::worker) const CLOSED: VarInt = VarInt::from_u32(0x100);

/// H3_EXCESSIVE_LOAD (RFC 9114 section 8.1): what a connection is closed with that is one too many,
/// where that is known only after its handshake.
const TOO_MANY: VarInt = VarInt::from_u32(0x107);

/// What becomes of a first Initial that begins no connection.
enum Away {
    /// The client is not answered.
    Ignore,
    Retry,
    Refuse(Refusal),
}

/// A first Initial that begins a connection.
struct Candidate {
    incoming: Incoming,
    address: Address,
    standing: Standing,
}

/// A connection, and where its client is.
#[derive(Clone)]
struct Located {
    connection: Connection,
    address: Validated,
}

/// A client's place within the limits.
enum Standing {
    Opening(Opening),
    Admitted(Admitted),
}

/// A connection whose handshake goes on.
struct Begun {
    address: Address,
    standing: Standing,
    handshake: Handshaking,
    until: Instant,
    context: ConnectionContext,
}

/// A handshake's part in the gauge and among the others.
struct Handshaking {
    entered: Entered,
    _gauge: Gauge,
}

impl Handshaking {
    /// What comes of `handshake`, if it comes in time and before it has to make room.
    async fn within<T>(&self, until: Instant, handshake: impl Future<Output = T>) -> Result<T, &'static str> {
        tokio::select! {
            biased;
            result = handshake => Ok(result),
            () = self.entered.has_to_leave() => Err("the handshake made room for a newer one"),
            () = sleep_until(until) => Err("the handshake took too long"),
        }
    }
}

/// The listener that a connection came in by, as it was then.
struct ConnectionContext {
    draining: Draining,
    listener: SocketAddr,
    early_data: bool,
    source_override: Arc<SourceOverride>,
}

impl ConnectionContext {
    fn of(listener_state: &ListenerState) -> Self {
        Self {
            draining: listener_state.drain.hear(),
            listener: listener_state.listener,
            early_data: listener_state.terms.borrow().early_data,
            source_override: Arc::clone(&listener_state.source_override),
        }
    }
}

/// RAII guard of one connection: its entries in the flow table, its configuration of connection IDs, its gauge.
struct ConnectionGuard {
    _first_flight: FirstFlightGuard,
    _issued: OfAccept,
    _era: Era,
    _open: Gauge,
}

/// A client-chosen connection ID's entry in the flow table, for as long as its connection
/// lives: late copies of its first flight must find no other worker.
///
/// None where the client answers a Retry: it sends to the connection ID of that, and what its token
/// says of the one before may be another connection's.
struct FirstFlightGuard {
    cid: Option<ConnectionId>,
    tables: Arc<NodeTables>,
    flows: Flows,
}

impl FirstFlightGuard {
    fn begin(acceptor: &Acceptor, incoming: &Incoming) -> Self {
        let chosen = incoming.may_retry().then(|| incoming.orig_dst_cid());
        // Nor where the connection ID itself names another slot: an entry never contradicts it.
        let ids = acceptor.tables.connection_ids().now();
        let cid = chosen
            .and_then(|chosen| ConnectionId::new(&chosen))
            .filter(|cid| ids.slot(cid).is_none_or(|slot| slot == acceptor.slot));
        if let Some(cid) = &cid {
            acceptor.tables.first_flights().insert(*cid, acceptor.slot);
            acceptor.flows.chosen(cid);
        }
        Self { cid, tables: Arc::clone(&acceptor.tables), flows: acceptor.flows.clone() }
    }
}

impl Drop for FirstFlightGuard {
    fn drop(&mut self) {
        if let Some(cid) = &self.cid {
            self.flows.ended(cid);
            self.tables.first_flights().remove(cid);
        }
    }
}

/// One more in a gauge, until dropped.
pub(in crate::worker) struct Gauge {
    stats: Arc<WorkerStats>,
    which: fn(&WorkerStats) -> &Stat,
}

impl Gauge {
    pub(in crate::worker) fn raise(stats: &Arc<WorkerStats>, which: fn(&WorkerStats) -> &Stat) -> Self {
        which(stats).add(1);
        Self { stats: Arc::clone(stats), which }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        (self.which)(&self.stats).subtract(1);
    }
}
