//! How many requests a client may cancel (CVE-2023-44487): each costs us, and servers behind us, more than the client.

use std::time::{Duration, Instant};

/// A token bucket of one connection.
#[derive(Debug)]
pub(super) struct ResetBudget {
    tokens: u32,
    refilled: Instant,
}

impl ResetBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: BURST, refilled: now }
    }

    /// A request was cancelled by its client. Whether that is still within the budget.
    pub(super) fn spend(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.refilled).as_nanos() / REFILL.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        if due > 0 {
            self.tokens = self.tokens.saturating_add(due).min(BURST);
            self.refilled = if self.tokens == BURST { now } else { self.refilled + REFILL * due };
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// Requests that may be cancelled at once. A browser that leaves a page of many pictures cancels some hundred; nginx
/// closes an HTTP/2 connection when cancelled requests outnumber others by its limit of concurrent streams (128), the
/// h2 crate at 20 that wait to be accepted.
const BURST: u32 = 200;

/// One more may be cancelled this often.
const REFILL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_hundred_a_second() {
        let begun = Instant::now();
        let mut budget = ResetBudget::new(begun);
        assert_eq!((0..1000).filter(|_| budget.spend(begun)).count(), 200);
        let later = |milliseconds| begun + Duration::from_millis(milliseconds);
        assert!(!budget.spend(later(9)));
        assert!(budget.spend(later(10)) && !budget.spend(later(19)), "what is left of an interval is kept");
        assert_eq!((0..1000).filter(|_| budget.spend(later(1010))).count(), 100);
        assert_eq!((0..1000).filter(|_| budget.spend(later(100_000))).count(), 200);
        assert!(!budget.spend(begun), "a clock that steps back");
    }
}
