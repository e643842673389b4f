//! A worker's handshakes that are not complete, from the oldest to the newest.
//!
//! Where there is no room, it is made for a client that has shown that it receives at its address: the
//! oldest one that is still open goes, of its own prefix where that has its share, else of all. So
//! clients that begin and never finish replace each other, and not the clients that come after them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use tokio::sync::Notify;

use crate::address::Prefix;

/// The handshakes of a worker.
#[derive(Default)]
pub(in crate::worker) struct HalfOpen(RefCell<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    all: BTreeMap<u64, (Prefix, Rc<Notify>)>,
    by_prefix: HashMap<Prefix, u32>,
}

/// The part of a worker's `max_handshakes` beyond which a client makes room by its own.
const SHARE: u32 = 4;

impl HalfOpen {
    /// How many there are.
    pub(in crate::worker) fn count(&self) -> usize {
        self.0.borrow().all.len()
    }

    /// Has the oldest one leave, if there is no room within `limit` for one more of `prefix`. Says
    /// whether one had to.
    pub(in crate::worker) fn make_room(&self, prefix: &Prefix, limit: u32) -> bool {
        let mut open = self.0.borrow_mut();
        if open.all.len() < limit as usize {
            return false;
        }
        let has_share = open.by_prefix.get(prefix).is_some_and(|of_prefix| *of_prefix >= limit.div_ceil(SHARE));
        let oldest = match has_share {
            true => open.all.iter().find(|(_, (of, _))| of == prefix),
            false => open.all.first_key_value(),
        };
        let oldest = oldest.map(|(number, _)| *number);
        oldest.and_then(|number| open.remove(number)).inspect(|leave| leave.notify_one()).is_some()
    }

    /// One more, until the result is dropped.
    pub(in crate::worker) fn enter(self: &Rc<Self>, prefix: Prefix) -> Entered {
        let mut open = self.0.borrow_mut();
        let (number, leave) = (open.next, Rc::<Notify>::default());
        open.next += 1;
        open.all.insert(number, (prefix, Rc::clone(&leave)));
        *open.by_prefix.entry(prefix).or_default() += 1;
        Entered { all: Rc::clone(self), number, leave }
    }
}

impl Open {
    fn remove(&mut self, number: u64) -> Option<Rc<Notify>> {
        let (prefix, leave) = self.all.remove(&number)?;
        if let Some(count) = self.by_prefix.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.by_prefix.remove(&prefix);
            }
        }
        Some(leave)
    }
}

/// A handshake that is counted.
pub(in crate::worker) struct Entered {
    all: Rc<HalfOpen>,
    number: u64,
    leave: Rc<Notify>,
}

impl Entered {
    /// Waits until it has to make room for another.
    pub(in crate::worker) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::{address::Validated, config::Limits};

    fn prefix(last: u8) -> Prefix {
        Validated::assumed(&format!("192.0.2.{last}:443")).prefix(&Limits::default())
    }

    fn leaves(entered: &Entered) -> bool {
        entered.has_to_leave().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_goes_and_not_the_newest_client() {
        let open = Rc::new(HalfOpen::default());
        let held: Vec<_> = (1..=8).map(|last| open.enter(prefix(last))).collect();
        assert!(!open.make_room(&prefix(9), 9), "there is room");
        assert!(open.make_room(&prefix(9), 8));
        let newest = open.enter(prefix(9));
        assert_eq!(open.count(), 8);
        assert!(leaves(&held[0]) && !leaves(&held[1]) && !leaves(&newest));
        drop(held);
        assert_eq!(open.count(), 1, "what has left is counted once");
    }

    #[test]
    fn who_has_its_share_makes_room_for_itself() {
        let open = Rc::new(HalfOpen::default());
        let neighbour = open.enter(prefix(1));
        let crowd: Vec<_> = (0..4).map(|_| open.enter(prefix(2))).collect();
        assert!(open.make_room(&prefix(2), 5));
        let next = open.enter(prefix(2));
        assert!(leaves(&crowd[0]) && !leaves(&crowd[1]) && !leaves(&neighbour));
        // A neighbour with less than its share takes the place of the oldest of all.
        assert!(open.make_room(&prefix(1), 5));
        assert!(leaves(&neighbour) && !leaves(&crowd[1]));
        drop((crowd, next, neighbour));
        assert_eq!((open.count(), open.0.borrow().by_prefix.len()), (0, 0));
    }
}
