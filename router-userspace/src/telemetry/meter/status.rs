//! How many requests had which status: exactly for the first that are met, and by class for more,
//! so that a server that makes up statuses fills neither the memory nor the metrics.

use std::{
    fmt,
    sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
};

/// A status as a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// There was none.
    None,
    /// This one.
    Exact(u16),
    /// One with this first digit, where there are too many different ones.
    Class(u8),
}

/// `none`, `200`, `2xx`
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Exact(status) => write!(f, "{status}"),
            Self::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

/// The table of a worker, a route and a protocol.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    none: AtomicU64,
    exact: [Exact; EXACT],
    classes: [AtomicU64; CLASSES],
}

/// A place in the table; the status is 0 as long as it is free, and then stays.
#[derive(Debug, Default)]
struct Exact {
    status: AtomicU16,
    count: AtomicU64,
}

impl Statuses {
    pub(super) fn count(&self, status: Option<u16>) {
        let counter = match status {
            Some(status) => self.place(status).unwrap_or(&self.classes[usize::from(class(status))]),
            None => &self.none,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Where a status is counted; none if it has no place and there is none left.
    fn place(&self, status: u16) -> Option<&AtomicU64> {
        let start = usize::from(status) % EXACT;
        let (after, before) = (&self.exact[start..], &self.exact[..start]);
        let mut places = after.iter().chain(before);
        let place = places.find(|place| match place.status.load(Relaxed) {
            0 => place.status.compare_exchange(0, status, Relaxed, Relaxed).is_ok_and(|_| status != 0),
            taken => taken == status,
        });
        place.map(|place| &place.count)
    }

    /// Those that were met.
    pub(super) fn counted(&self) -> impl Iterator<Item = (Status, u64)> + '_ {
        let none = [(Status::None, &self.none)];
        let exact = self.exact.iter().map(|place| (Status::Exact(place.status.load(Relaxed)), &place.count));
        let classes = (0..).map(Status::Class).zip(&self.classes);
        let all = none.into_iter().chain(exact).chain(classes);
        all.map(|(status, count)| (status, count.load(Relaxed))).filter(|(_, count)| *count > 0)
    }
}

/// The first of three digits.
fn class(status: u16) -> u8 {
    (status / 100 % CLASSES as u16) as u8
}

/// Different statuses that have a place. Few servers know more.
const EXACT: usize = 32;
const CLASSES: usize = 10;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_first_are_counted_each_and_the_rest_by_class() {
        let statuses = Statuses::default();
        // All of them fall on few places, so that those after them are taken, too.
        for round in 1..=3 {
            for status in (200..600).step_by(8) {
                (0..round).for_each(|_| statuses.count(Some(status)));
            }
            statuses.count(None);
        }
        let counted: BTreeMap<_, _> = statuses.counted().collect();
        let exact = counted.keys().filter(|status| matches!(status, Status::Exact(_))).count();
        assert_eq!(exact, EXACT);
        assert_eq!(counted[&Status::Exact(200)], 6);
        assert_eq!(counted[&Status::None], 3);
        // 456 to 496, and 504 to 592.
        assert_eq!((counted[&Status::Class(4)], counted[&Status::Class(5)]), (6 * 6, 6 * 12));
        assert_eq!(counted.values().sum::<u64>(), 6 * 50 + 3);
    }

    #[test]
    fn a_status_that_is_none_has_no_place() {
        let statuses = Statuses::default();
        statuses.count(Some(0));
        assert_eq!(statuses.counted().collect::<Vec<_>>(), [(Status::Class(0), 1)]);
        let names = [Status::None, Status::Exact(418), Status::Class(4)].map(|status| status.to_string());
        assert_eq!(names, ["none", "418", "4xx"]);
    }
}
