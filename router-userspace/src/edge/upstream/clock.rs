//! A clock that fits an atomic: what is stored of moments is read without a lock.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first look at this clock, and one: zero is left for "never".
pub(super) fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
}

/// From one moment on this clock to a later one; zero if it is not later.
pub(super) fn between(earlier: u64, later: u64) -> Duration {
    Duration::from_millis(later.saturating_sub(earlier))
}
