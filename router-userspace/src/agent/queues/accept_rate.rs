//! How many connections each worker took in lately: who takes in many short ones is busy, however few
//! of them are open when one looks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use router_common::identifiers::SlotId;

/// By slot, what was seen when it was last looked.
#[derive(Default)]
pub(super) struct Arrivals {
    seen: BTreeMap<SlotId, Seen>,
}

struct Seen {
    at: Instant,
    accepted: u64,
    lately: f64,
}

impl Arrivals {
    /// Connections that the worker of a slot took in lately, of `accepted` in all: those of the last
    /// moments whole, older ones ever less.
    pub(super) fn lately(&mut self, slot: SlotId, accepted: u64, now: Instant) -> u64 {
        let seen = self.seen.entry(slot).or_insert(Seen { at: now, accepted, lately: 0.0 });
        let passed = now.saturating_duration_since(seen.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        let lately = seen.lately * (-passed).exp2() + accepted.saturating_sub(seen.accepted) as f64;
        *seen = Seen { at: now, accepted, lately };
        lately as u64
    }

    /// Forgets slots that no worker has any more.
    pub(super) fn keep(&mut self, slots: &[SlotId]) {
        self.seen.retain(|slot, _| slots.contains(slot));
    }
}

/// After this a connection counts half.
const HALF_LIFE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: SlotId = SlotId::new(3);

    #[test]
    fn what_was_before_counts_for_nothing_and_then_less_and_less() {
        let (mut arrivals, begun) = (Arrivals::default(), Instant::now());
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(arrivals.lately(SLOT, 5_000, begun), 0, "long ago");
        assert_eq!(arrivals.lately(SLOT, 5_400, after(1)), 400);
        assert_eq!(arrivals.lately(SLOT, 5_400, after(2)), 200);
        assert_eq!(arrivals.lately(SLOT, 5_410, after(4)), 60);
        assert_eq!(arrivals.lately(SLOT, 5_410, after(60)), 0);
        // The slot is another worker's, which has counted from 0.
        arrivals.keep(&[]);
        assert_eq!(arrivals.lately(SLOT, 7, after(61)), 0);
        assert_eq!(arrivals.lately(SLOT, 9, after(61)), 2);
    }
}
