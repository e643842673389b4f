//! Congestion control that cannot stop a handshake over a bad path.
//!
//! quinn counts all packet number spaces against one congestion window, and sends what was lost only if there is room
//! in it. Handshake packets cannot be acknowledged before the client has the ServerHello, so they stay in flight, and
//! each probe adds to them; each lost ServerHello makes the window smaller. Soon there is no room to send it again: it
//! has no packet in flight that a probe timeout could be for (RFC 9002 section 6.2.1), and with data pending, not even
//! acknowledgements leave. The client's Initial packets then stay without an answer until the handshake's deadline.
//!
//! So while less than an initial window has been acknowledged, what was lost may be sent again at once, whatever else
//! is in flight. It is no more than was sent before, and probe timeouts still back off.

use std::{any::Any, sync::Arc, time::Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

/// Makes the congestion controllers of another factory, with room for a handshake.
pub struct HandshakeWindow<F>(Arc<F>);

impl<F> HandshakeWindow<F> {
    /// Those of `factory`.
    pub fn new(factory: F) -> Self {
        Self(Arc::new(factory))
    }
}

impl<F: ControllerFactory + Send + Sync + 'static> ControllerFactory for HandshakeWindow<F> {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Roomy::new(Arc::clone(&self.0).build(now, current_mtu)))
    }
}

/// A path's congestion controller.
struct Roomy {
    controller: Box<dyn Controller>,
    /// Octets sent and neither acknowledged nor lost.
    in_flight: u64,
    acknowledged: u64,
    /// The window is no smaller than this while the handshake may last; octets.
    floor: u64,
}

impl Roomy {
    fn new(controller: Box<dyn Controller>) -> Self {
        Self { controller, in_flight: 0, acknowledged: 0, floor: 0 }
    }

    fn may_be_handshaking(&self) -> bool {
        self.acknowledged < self.controller.initial_window()
    }
}

impl Controller for Roomy {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.in_flight = self.in_flight.saturating_add(bytes);
        self.controller.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.acknowledged = self.acknowledged.saturating_add(bytes);
        self.controller.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.controller.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.in_flight = self.in_flight.saturating_sub(lost_bytes);
        if self.may_be_handshaking() {
            // quinn counts the datagram that it is about to begin as a whole one.
            let room = lost_bytes + 2 * DATAGRAM;
            self.floor = (self.in_flight + room).min(FLOOR_MAX * self.controller.initial_window());
        }
        self.controller.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.controller.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        let floor = if self.may_be_handshaking() { self.floor } else { 0 };
        self.controller.window().max(floor)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.controller.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        let Self { ref controller, in_flight, acknowledged, floor } = *self;
        Box::new(Self { controller: controller.clone_box(), in_flight, acknowledged, floor })
    }

    fn initial_window(&self) -> u64 {
        self.controller.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// Octets of a datagram before a path's MTU is known (RFC 9000 section 14.1).
const DATAGRAM: u64 = 1200;
/// The floor is at most this many initial windows.
const FLOOR_MAX: u64 = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use quinn::congestion::{BbrConfig, CubicConfig, NewRenoConfig};

    use super::*;

    /// A server's flight is lost again and again, and its Handshake packets are never acknowledged.
    fn losing(factory: impl ControllerFactory + Send + Sync + 'static) -> Vec<(u64, u64)> {
        let begun = Instant::now();
        let mut controller = Arc::new(HandshakeWindow::new(factory)).build(begun, 1200);
        let (mut handshake, mut rooms) = (0, Vec::new());
        for second in 0..12 {
            let now = begun + Duration::from_secs(second);
            controller.on_sent(now, 1200, 2 * second);
            controller.on_sent(now, 1400, 2 * second + 1);
            handshake += 1400;
            controller.on_congestion_event(now + Duration::from_millis(500), now, false, 1200);
            rooms.push((controller.window(), handshake));
        }
        rooms
    }

    #[test]
    fn what_a_handshake_lost_can_be_sent_again_whatever_is_in_flight() {
        for rooms in [losing(CubicConfig::default()), losing(NewRenoConfig::default()), losing(BbrConfig::default())] {
            for (window, in_flight) in rooms {
                // quinn sends while `in_flight + datagram < window`.
                assert!(in_flight + 1200 < window, "{in_flight} in flight, a window of {window}");
            }
        }
    }

    #[test]
    fn afterwards_the_window_is_the_controllers_own() {
        let now = Instant::now();
        let mut roomy = Roomy::new(cubic(now));
        roomy.on_sent(now, 30_000, 1);
        roomy.on_congestion_event(now, now, true, 10_000);
        assert_eq!(roomy.window(), 20_000 + 10_000 + 2 * DATAGRAM);
        roomy.acknowledged = roomy.initial_window();
        assert_eq!(roomy.window(), 2 * DATAGRAM);
    }

    #[test]
    fn until_something_is_lost_too() {
        let now = Instant::now();
        let mut roomy = Roomy::new(cubic(now));
        roomy.on_sent(now, 30_000, 1);
        assert_eq!(roomy.window(), cubic(now).window());
    }

    fn cubic(now: Instant) -> Box<dyn Controller> {
        Arc::new(CubicConfig::default()).build(now, 1200)
    }
}
