//! Workers that have crashed and have no successor yet.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use super::place::Place;

/// Where they were, and why they have no successor.
#[derive(Default)]
pub(super) struct Crashed {
    pending: RefCell<Vec<Place>>,
    tried: Cell<Option<Instant>>,
    trouble: RefCell<Option<String>>,
}

impl Crashed {
    /// One more has crashed.
    pub(super) fn add(&self, place: Place) {
        self.pending.borrow_mut().push(place);
    }

    /// The last one without a successor, if it is time to try: workers that crash at once are not started again and
    /// again without a pause.
    pub(super) fn due(&self) -> Option<Place> {
        let too_soon = self.tried.get().is_some_and(|tried| tried.elapsed() < RETRY_INTERVAL);
        self.pending.borrow().last().copied().filter(|_| !too_soon)
    }

    /// All of them have successors.
    pub(super) fn replaced(&self) {
        self.pending.borrow_mut().clear();
        self.trouble.take();
        self.tried.set(Some(Instant::now()));
    }

    /// They cannot be replaced yet.
    pub(super) fn failed(&self, why: String) {
        *self.trouble.borrow_mut() = Some(why);
        self.tried.set(Some(Instant::now()));
    }

    /// What is wrong, one sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        let trouble = self.trouble.borrow();
        let problem = |place: &Place| match trouble.as_deref() {
            Some(why) => format!("worker in slot {} crashed and cannot be replaced yet: {why}", place.slot),
            None => format!("worker in slot {} crashed; its successor is about to start", place.slot),
        };
        self.pending.borrow().iter().map(problem).collect()
    }
}

const RETRY_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use router_common::identifiers::{CpuId, SlotId};

    use super::*;

    #[test]
    fn a_crash_is_a_problem_until_it_has_a_successor() {
        let crashed = Crashed::default();
        assert_eq!(crashed.due(), None);
        let (one, two) =
            (Place { slot: SlotId::new(1), cpu: CpuId::new(0) }, Place { slot: SlotId::new(4), cpu: CpuId::new(1) });
        crashed.add(one);
        crashed.add(two);
        assert_eq!(crashed.due(), Some(two));
        assert_eq!(crashed.problems()[0], "worker in slot 1 crashed; its successor is about to start");
        crashed.failed("no memory".to_owned());
        assert_eq!(crashed.problems()[1], "worker in slot 4 crashed and cannot be replaced yet: no memory");
        // Not at once again.
        assert_eq!(crashed.due(), None);
        crashed.replaced();
        assert_eq!((crashed.due(), crashed.problems()), (None, Vec::new()));
    }
}
