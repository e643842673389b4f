//! How long something takes: histograms with the same buckets everywhere, so that they add up.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The buckets' upper bounds, included, in seconds; beyond the last there is one more bucket.
pub const BUCKETS: [f64; 16] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0];

/// The same in microseconds.
const BOUNDS: [u128; BUCKETS.len()] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
    10_000_000, 20_000_000, 30_000_000, 60_000_000,
];

/// A histogram that is being filled.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What a histogram holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many fell into each of [`BUCKETS`] and none below, and how many beyond the last.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// All of them together.
    pub nanoseconds: u64,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        let nanoseconds = duration.as_nanos();
        let bucket = BOUNDS.partition_point(|&bound| bound * 1_000 < nanoseconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(u64::try_from(nanoseconds).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn add_to(&self, sum: &mut Latency) {
        for (sum, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *sum += bucket.load(Relaxed);
        }
        sum.nanoseconds = sum.nanoseconds.saturating_add(self.nanoseconds.load(Relaxed));
    }
}

impl Latency {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together, in seconds.
    pub fn seconds(&self) -> f64 {
        self.nanoseconds as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        for (bound, micros) in BUCKETS.into_iter().zip(BOUNDS) {
            assert_eq!((bound * 1e6).round() as u128, micros);
        }
        for (nanoseconds, bucket) in [
            (0, 0),
            (1_000_000, 0),
            (1_000_001, 1),
            (2_000_000, 1),
            (1_000_000_000, 9),
            (60_000_000_000, 15),
            (60_000_000_001, 16),
        ] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_nanos(nanoseconds));
            let mut sum = Latency::default();
            histogram.add_to(&mut sum);
            assert_eq!((sum.buckets[bucket], sum.count(), sum.nanoseconds), (1, 1, nanoseconds), "{nanoseconds} ns");
        }
    }
}
