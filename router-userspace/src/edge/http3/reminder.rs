//! Keeps a connection while a request on it is open.
//!
//! A response may take longer than the connection's idle timeout, and neither side has anything to say meanwhile
//! (curl#17057). So while a request is open something is sent now and then that its client has to acknowledge. quinn's
//! own keep-alive is for all of a connection's time, and one without requests has to end. What is sent is a frame of a
//! reserved type, without content, on the control stream: such frames mean nothing (RFC 9114 section 7.2.8).

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// Type 0x21, and no octets.
pub(super) const FRAME: &[u8] = &[0x21, 0];

/// When the next is due. A connection whose requests come and go sets no timer for each.
pub(super) struct Reminder {
    every: Duration,
    timer: Pin<Box<Sleep>>,
    runs: bool,
}

impl Reminder {
    /// Often enough that one may be lost on its way. A client may ask for a shorter idle timeout than ours, which quinn
    /// does not tell: 10 seconds is a third of what is usual.
    pub(super) fn new(idle_timeout: Duration) -> Self {
        let every = (idle_timeout / 3).min(Duration::from_secs(10));
        Self { every, timer: Box::pin(sleep(every)), runs: false }
    }

    /// A request has begun.
    pub(super) fn start(&mut self) {
        if !self.runs {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.runs = true;
        self.timer.as_mut().reset(Instant::now() + self.every);
    }

    /// Waits until one is due, if requests are in flight then.
    pub(super) async fn due(&mut self, in_flight: impl Fn() -> bool) {
        while self.runs {
            self.timer.as_mut().await;
            if in_flight() {
                return self.restart();
            }
            self.runs = false;
        }
        std::future::pending().await
    }
}
