//! For how long this node has listened.

use std::time::{Duration, Instant};

/// The longest time between two inputs in which this node surely listened. Inputs come once a second at least.
const LONGEST_STEP: Duration = Duration::from_secs(2);

/// A clock that stands still while this process does: one that was stopped, or whose host slept, has heard nobody, and
/// that says nothing about the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listening {
    last: Instant,
    listened: Duration,
}

impl Listening {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, listened: Duration::ZERO }
    }

    /// The time that this node has listened until `now`. A `now` before one that was given already changes nothing.
    pub(super) fn until(&mut self, now: Instant) -> Duration {
        self.listened += now.saturating_duration_since(self.last).min(LONGEST_STEP);
        self.last = self.last.max(now);
        self.listened
    }
}
