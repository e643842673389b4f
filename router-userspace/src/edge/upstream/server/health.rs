//! What active health checks have found of one server.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::edge::upstream::clock;

/// What health checks find a server to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge::upstream) enum Condition {
    /// It answers them, and gets requests.
    Up,
    /// It does not, and gets none.
    Down,
}

/// Up or down, by health checks. Up before the first of them.
///
/// One task writes it (`probe`), all workers read it.
pub(super) struct Verdict {
    down: AtomicBool,
    /// Health checks have come to an opinion.
    judged: AtomicBool,
    /// When `down` last changed, on [`clock`]; zero: never.
    changed: AtomicU64,
    /// When the server became known, on [`clock`].
    known: u64,
}

impl Verdict {
    /// Of a server that becomes known at `now`, on [`clock`].
    pub(super) fn new(now: u64) -> Self {
        Self { down: AtomicBool::new(false), judged: AtomicBool::new(false), changed: AtomicU64::new(0), known: now }
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Relaxed)
    }

    /// What health checks have found, if they have found anything.
    pub(super) fn opinion(&self) -> Option<Condition> {
        let found = || if self.is_down() { Condition::Down } else { Condition::Up };
        self.judged.load(Relaxed).then(found)
    }

    /// Takes in what health checks find at `now`. True if it is a change.
    pub(super) fn set(&self, condition: Condition, now: u64) -> bool {
        let down = condition == Condition::Down;
        self.judged.store(true, Relaxed);
        let has_changed = self.down.swap(down, Relaxed) != down;
        if has_changed {
            self.changed.store(now, Relaxed);
        }
        has_changed
    }

    /// When it last changed, on [`clock`]; none: never.
    pub(super) fn changed(&self) -> Option<u64> {
        Some(self.changed.load(Relaxed)).filter(|at| *at > 0)
    }

    /// How long the server has been up or down, or known.
    pub(super) fn lasts(&self, now: u64) -> Duration {
        clock::between(self.changed().unwrap_or(self.known), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_up_until_checks_find_it_down() {
        let verdict = Verdict::new(1_000);
        assert_eq!((verdict.is_down(), verdict.opinion(), verdict.changed()), (false, None, None));
        assert_eq!(verdict.lasts(1_500), Duration::from_millis(500));
        assert!(!verdict.set(Condition::Up, 2_000), "it counted as up");
        assert_eq!((verdict.opinion(), verdict.changed()), (Some(Condition::Up), None));
        assert!(verdict.set(Condition::Down, 3_000));
        assert!(!verdict.set(Condition::Down, 4_000), "once only");
        assert_eq!(
            (verdict.is_down(), verdict.opinion(), verdict.changed()),
            (true, Some(Condition::Down), Some(3_000))
        );
        assert!(verdict.set(Condition::Up, 5_000));
        assert_eq!((verdict.is_down(), verdict.changed()), (false, Some(5_000)));
        assert_eq!(verdict.lasts(5_750), Duration::from_millis(750));
    }
}
