//! How much of its weight a server has that came back from being down or ejected.

use std::time::Duration;

use crate::edge::upstream::clock;

/// All of a weight.
pub(super) const WHOLE: u64 = 1000;

/// The share of its weight that a server has at the moment when it comes back, of [`WHOLE`].
const FIRST: u64 = 100;

/// A server's way back to all of its weight: in equal steps over a time.
pub(super) struct SlowStart {
    /// How long it takes in all: `slow_start`.
    pub(super) over: Duration,
    /// When the server came back, on [`clock`].
    pub(super) since: u64,
}

impl SlowStart {
    /// How long the weight still grows; none once the server has all of it.
    pub(super) fn left(&self, now: u64) -> Option<Duration> {
        self.over.checked_sub(clock::between(self.since, now)).filter(|left| !left.is_zero())
    }

    /// The part of its weight that the server has, from [`FIRST`] to [`WHOLE`].
    pub(super) fn share(&self, now: u64) -> u64 {
        let Some(left) = self.left(now) else { return WHOLE };
        let done = self.over.saturating_sub(left).as_millis() * u128::from(WHOLE - FIRST);
        FIRST + u64::try_from(done / self.over.as_millis().max(1)).unwrap_or(WHOLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_grows_from_a_tenth_to_all() {
        let start = SlowStart { over: Duration::from_secs(9), since: 50_000 };
        let shares = [50_000, 51_000, 54_500, 58_999, 59_000, 90_000].map(|now| start.share(now));
        assert_eq!(shares, [100, 200, 550, 999, 1000, 1000]);
        assert_eq!(start.left(58_000), Some(Duration::from_secs(1)));
        assert_eq!(start.left(59_000), None);
    }
}
