//! Passive health: a server that fails requests in a row is ejected, which is to say left alone for a while.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{config, edge::upstream::clock};

/// Ejections in a row make each longer by its first length, up to this many times that.
const EJECTIONS_MAX: u32 = 10;

/// What requests have met on one server.
#[derive(Default)]
pub(super) struct Outlier {
    /// Failures since the last good answer, or the last ejection.
    failures_in_a_row: AtomicU32,
    /// Ejections since the last good answer.
    ejections: AtomicU32,
    /// On [`clock`]; zero: never.
    ejected_until: AtomicU64,
}

impl Outlier {
    pub(super) fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }

    /// How long it still is ejected.
    pub(super) fn ejected_for(&self, now: u64) -> Option<Duration> {
        Some(clock::between(now, self.ejected_until.load(Relaxed))).filter(|left| !left.is_zero())
    }

    /// When its last ejection ended, on [`clock`]; none if there was none, or if it lasts.
    pub(super) fn came_back(&self, now: u64) -> Option<u64> {
        Some(self.ejected_until.load(Relaxed)).filter(|end| (1..=now).contains(end))
    }

    /// A failure at `now`. Gives the time for which it ejects the server, if it does.
    pub(super) fn count_failure(&self, ejection: &config::Ejection, now: u64) -> Option<Duration> {
        let until = self.ejected_until.load(Relaxed);
        // What began before the ejection, and what was sent for want of another server.
        if until > now || self.failures_in_a_row.fetch_add(1, Relaxed) + 1 < ejection.failures {
            return None;
        }
        let times = (self.ejections.load(Relaxed) + 1).min(EJECTIONS_MAX);
        let time = ejection.time * times;
        let end = now + u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
        // Of workers that count the last failure at once, one ejects.
        self.ejected_until.compare_exchange(until, end, Relaxed, Relaxed).ok()?;
        self.failures_in_a_row.store(0, Relaxed);
        self.ejections.store(times, Relaxed);
        Some(time)
    }

    /// A good answer. True if it is the first after an ejection.
    pub(super) fn count_answer(&self) -> bool {
        // Looking first keeps the line of memory shared among the workers.
        if self.failures_in_a_row.load(Relaxed) != 0 {
            self.failures_in_a_row.store(0, Relaxed);
        }
        self.ejections.load(Relaxed) != 0 && self.ejections.swap(0, Relaxed) != 0
    }

    /// Ends an ejection at `now`, and forgets the failures in a row.
    pub(super) fn pardon(&self, now: u64) {
        self.ejected_until.fetch_min(now, Relaxed);
        self.failures_in_a_row.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EJECTION: config::Ejection = config::Ejection { failures: 3, time: Duration::from_secs(10), status: None };

    #[test]
    fn failures_in_a_row_eject_longer_each_time_and_a_good_answer_forgives() {
        let outlier = Outlier::default();
        let ejected_for = |outlier: &Outlier| outlier.ejected_for(NOW).map(|left| left.as_secs());
        let fail = |times| (0..times).filter_map(|_| outlier.count_failure(&EJECTION, NOW)).collect::<Vec<_>>();
        assert!(fail(2).is_empty());
        assert!(!outlier.count_answer());
        assert!(fail(2).is_empty());
        assert_eq!(ejected_for(&outlier), None);
        assert_eq!(fail(1), [Duration::from_secs(10)]);
        assert_eq!(ejected_for(&outlier), Some(10));
        // In the time itself nothing counts.
        assert!(fail(10).is_empty());
        assert_eq!(ejected_for(&outlier), Some(10));
        for times in [2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
            outlier.ejected_until.store(0, Relaxed);
            assert_eq!(fail(3), [Duration::from_secs(times * 10)]);
            assert_eq!(ejected_for(&outlier), Some(times * 10));
        }
        outlier.ejected_until.store(0, Relaxed);
        assert!(outlier.count_answer());
        assert!(!outlier.count_answer(), "said once");
        fail(3);
        assert_eq!(ejected_for(&outlier), Some(10));
    }

    #[test]
    fn an_ejection_ends_by_itself_or_by_pardon() {
        let outlier = Outlier::default();
        assert_eq!((outlier.is_ejected(NOW), outlier.came_back(NOW)), (false, None), "there was none");
        for _ in 0..3 {
            outlier.count_failure(&EJECTION, NOW);
        }
        assert_eq!((outlier.is_ejected(NOW + 9_999), outlier.came_back(NOW + 9_999)), (true, None));
        let end = NOW + 10_000;
        assert_eq!((outlier.is_ejected(end), outlier.came_back(end)), (false, Some(end)));
        outlier.pardon(NOW + 4_000);
        assert_eq!((outlier.is_ejected(NOW + 4_000), outlier.came_back(NOW + 4_000)), (false, Some(NOW + 4_000)));
        // One that has ended is not made longer.
        outlier.pardon(NOW + 8_000);
        assert_eq!(outlier.came_back(NOW + 9_000), Some(NOW + 4_000));
    }

    const NOW: u64 = 50_000;
}
