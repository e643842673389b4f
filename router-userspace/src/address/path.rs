//! Where a connection's client is: the last of its addresses at which it has been shown to receive.
//!
//! quinn follows a client to a new address with the first packet that comes from there, and reports it
//! by `Connection::remote_address`; only then does it ask, by PATH_CHALLENGE, whether the client receives
//! there (RFC 9000 section 8.2). It does not say what came of that, and its count of PATH_RESPONSE
//! frames takes in those that answer nothing. But it gives a congestion controller to each path, and
//! lets that learn of acknowledgements only while the path has no challenge outstanding
//! (`on_packet_acked` in quinn-proto's `connection/mod.rs`). The challenge goes out of force when it is
//! answered from the path's own address, or when it has expired, and then the connection is back on
//! the path before. So a path that was begun by a move and whose controller has heard of an
//! acknowledgement is validated. [`Witnessing`] makes controllers that remember that.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use quinn::{
    Connection,
    congestion::{Controller, ControllerFactory, ControllerMetrics},
};
use quinn_proto::RttEstimator;

use super::{Unvalidated, Validated};

/// A connection's client, wherever it is.
pub struct Path {
    connection: Connection,
    last: Validated,
}

impl Path {
    /// It began at `address`.
    pub fn new(connection: Connection, address: Validated) -> Self {
        Self { connection, last: address }
    }

    /// Where it is now, as far as that is known. A client that has just moved is told of where it was
    /// before: what carried a request from a new address may have been forged.
    pub fn address(&mut self) -> Validated {
        let now = Unvalidated::new(self.connection.remote_address()).0;
        // The second look: nothing has moved between the other two.
        if now != self.last.0
            && is_validated(&self.connection)
            && now == Unvalidated::new(self.connection.remote_address()).0
        {
            self.last = Validated(now);
        }
        self.last
    }
}

/// Whether the path that `connection` is on has been validated since it moved there. Without a
/// [`Witnessing`] controller nothing is known.
fn is_validated(connection: &Connection) -> bool {
    // A copy of the path's own controller, which knows whose copy it is.
    let copy = connection.congestion_state().into_any().downcast::<Witness>();
    copy.ok().and_then(|copy| copy.original).is_some_and(|original| original.load(Relaxed))
}

/// Makes the congestion controllers of another factory, each with a memory of its path.
pub struct Witnessing<F>(Arc<F>);

impl<F> Witnessing<F> {
    /// Those of `factory`.
    pub fn new(factory: F) -> Arc<Self> {
        Arc::new(Self(Arc::new(factory)))
    }
}

impl<F: ControllerFactory + Send + Sync + 'static> ControllerFactory for Witnessing<F> {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let controller = Arc::clone(&self.0).build(now, current_mtu);
        Box::new(Witness { controller, acknowledged: Arc::default(), original: None })
    }
}

/// A path's congestion controller.
struct Witness {
    controller: Box<dyn Controller>,
    /// Whether this one has heard of an acknowledgement.
    acknowledged: Arc<AtomicBool>,
    /// What the one has heard that this one was copied of: by [`is_validated`], or for a new path to
    /// the same IPv4 address.
    original: Option<Arc<AtomicBool>>,
}

impl Controller for Witness {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.controller.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.acknowledged.store(true, Relaxed);
        self.controller.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.controller.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.controller.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.controller.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.controller.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.controller.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            controller: self.controller.clone_box(),
            acknowledged: Arc::default(),
            original: Some(Arc::clone(&self.acknowledged)),
        })
    }

    fn initial_window(&self) -> u64 {
        self.controller.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
