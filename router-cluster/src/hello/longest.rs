//! The longest hello that arrived lately.

use std::time::{Duration, Instant};

/// How long an arrival is remembered at least, and at most twice that: two padded hellos in a row may be lost before the
/// other node is told that less arrives.
const WINDOW: Duration = Duration::from_secs(60);

/// The longest hello of the last one to two [windows](WINDOW). What a fabric carries may shrink.
#[derive(Debug, Default)]
pub(super) struct LongestHeard {
    current: Option<Window>,
    previous: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    longest: u16,
}

impl Window {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }
}

impl LongestHeard {
    /// A hello of `octets` of UDP payload arrived.
    pub(super) fn hear(&mut self, octets: usize, now: Instant) {
        let octets = u16::try_from(octets).unwrap_or(u16::MAX);
        match &mut self.current {
            Some(current) if current.age(now) < WINDOW => current.longest = current.longest.max(octets),
            current => self.previous = current.replace(Window { began: now, longest: octets }),
        }
    }

    /// Octets of the longest; 0 if none arrived lately.
    pub(super) fn at(&self, now: Instant) -> u16 {
        let windows = [self.current, self.previous].into_iter().flatten();
        windows.filter(|window| window.age(now) < 2 * WINDOW).map(|window| window.longest).max().unwrap_or(0)
    }
}
