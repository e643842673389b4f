//! Next-hop cache for AF_XDP transmit: output interface, source and neighbour link address, per destination.
//!
//! ```text
//! datagram ──► known? ──► yes: by AF_XDP
//!                └──────► no: by the UDP socket, and it is asked for meanwhile
//! ```
//!
//! Transmit never blocks on a look-up: one thread resolves for all workers, and each worker caches an answer for a
//! second. Entries in use are looked up again before they expire, so a change is noticed within a second.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        mpsc::{self, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use router_common::identifiers::IfIndex;

/// Knows routes and neighbours. It may take its time.
pub trait Routes: Send {
    /// The next hop of a datagram from the first address to the second; nothing where it has to take
    /// the kernel's stack.
    fn next_hop(&mut self, from: IpAddr, to: IpAddr) -> Option<NextHop>;
}

/// Where a datagram is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NextHop {
    /// The kernel's number of the interface.
    pub interface: IfIndex,
    /// The link address it is sent from.
    pub own: [u8; 6],
    /// The link address it is sent to.
    pub neighbour: [u8; 6],
    /// The longest packet that may go there, from its IP header on.
    pub mtu: u32,
    /// The neighbour may be gone. The kernel looks when it next sends something to it.
    pub is_stale: bool,
}

/// A thread that asks, for all workers.
#[derive(Clone)]
pub struct NextHopResolver(SyncSender<Lookup>);

struct Lookup {
    ends: Ends,
    known: Weak<Mutex<Known>>,
}

/// A datagram's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Ends {
    from: IpAddr,
    to: IpAddr,
}

impl NextHopResolver {
    /// Begins it. It ends with the last worker.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn begin(mut routes: impl Routes + 'static) -> io::Result<Self> {
        let (ask, asked) = mpsc::sync_channel::<Lookup>(QUESTIONS_MAX);
        thread::Builder::new().name("routes".to_owned()).spawn(move || {
            for Lookup { ends, known } in asked {
                let hop = routes.next_hop(ends.from, ends.to);
                if let Some(known) = known.upgrade() {
                    lock(&known).learn(ends, hop, Instant::now());
                }
            }
        })?;
        Ok(Self(ask))
    }
}

/// What one worker knows.
pub(in crate::worker) struct NextHopCache {
    known: Arc<Mutex<Known>>,
    enquiries: NextHopResolver,
}

impl NextHopCache {
    /// Nothing yet.
    pub(in crate::worker) fn new(enquiries: NextHopResolver) -> Self {
        Self { known: Arc::new(Mutex::new(Known::new(Instant::now()))), enquiries }
    }

    /// Where a datagram goes next; nothing if it has to take the UDP socket.
    pub(in crate::worker) fn find(&self, from: IpAddr, to: IpAddr) -> Option<NextHop> {
        let ends = Ends { from, to };
        let found = lock(&self.known).find(ends, Instant::now());
        if found.is_due {
            // Where too many wait already, it is asked for later.
            let _ = self.enquiries.0.try_send(Lookup { ends, known: Arc::downgrade(&self.known) });
        }
        found.hop
    }

    /// An interface does not send: everything is to be asked for anew.
    pub(in crate::worker) fn forget(&self) {
        lock(&self.known).entries.clear();
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Known {
    entries: HashMap<Ends, Entry>,
    swept: Instant,
}

#[derive(Clone, Copy)]
struct Entry {
    hop: Option<NextHop>,
    learnt: Instant,
    /// When it was last asked for.
    asked: Instant,
    /// One datagram has to take the stack, so that the kernel looks whether the neighbour is there.
    owes: bool,
}

/// What is known of a next hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    hop: Option<NextHop>,
    /// It is time to ask for it.
    is_due: bool,
}

impl Known {
    fn new(now: Instant) -> Self {
        Self { entries: HashMap::new(), swept: now }
    }

    fn find(&mut self, ends: Ends, now: Instant) -> Found {
        let Some(entry) = self.entries.get_mut(&ends) else {
            return Found { hop: None, is_due: self.begin(ends, now) };
        };
        let hop = entry.hop.filter(|_| now.duration_since(entry.learnt) < LIFE);
        let patience = if hop.is_some() { REFRESH } else { RETRY };
        let is_due = now.duration_since(entry.asked) >= patience;
        if is_due {
            entry.asked = now;
        }
        Found { hop: hop.filter(|_| !std::mem::take(&mut entry.owes)), is_due }
    }

    /// Makes room for one more, if there is any to be had.
    fn begin(&mut self, ends: Ends, now: Instant) -> bool {
        if self.entries.len() >= ENTRIES_MAX && now.duration_since(self.swept) >= RETRY {
            self.swept = now;
            self.entries.retain(|_, entry| now.duration_since(entry.asked) < LIFE);
        }
        let has_room = self.entries.len() < ENTRIES_MAX;
        if has_room {
            self.entries.insert(ends, Entry { hop: None, learnt: now, asked: now, owes: false });
        }
        has_room
    }

    fn learn(&mut self, ends: Ends, hop: Option<NextHop>, now: Instant) {
        // It may have been forgotten meanwhile.
        if let Some(entry) = self.entries.get_mut(&ends) {
            (entry.hop, entry.learnt, entry.owes) = (hop, now, hop.is_some_and(|hop| hop.is_stale));
        }
    }
}

/// How long what was learnt is good for.
const LIFE: Duration = Duration::from_secs(1);
/// After that time it is asked for again when it is used.
const REFRESH: Duration = Duration::from_millis(500);
/// The same where there was no next hop: a neighbour may be about to be found.
const RETRY: Duration = Duration::from_millis(100);
/// Clients of a worker that are sent to this way. A client that forges its address has datagrams sent to any: what
/// is kept, and how often is asked, has an end.
const ENTRIES_MAX: usize = 4_096;
/// Questions that may wait.
const QUESTIONS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOP: NextHop =
        NextHop { interface: IfIndex::new(3), own: [1; 6], neighbour: [2; 6], mtu: 1_500, is_stale: false };

    fn ends(client: usize) -> Ends {
        let client = u32::try_from(client).unwrap();
        Ends { from: Ipv4Addr::LOCALHOST.into(), to: Ipv4Addr::from(client).into() }
    }

    fn due(hop: Option<NextHop>) -> Found {
        Found { hop, is_due: true }
    }

    fn not_due(hop: Option<NextHop>) -> Found {
        Found { hop, is_due: false }
    }

    #[test]
    fn what_is_used_is_asked_for_again_and_what_is_old_is_not_used() {
        let begun = Instant::now();
        let mut known = Known::new(begun);
        assert_eq!(known.find(ends(1), begun), due(None));
        assert_eq!(known.find(ends(1), begun), not_due(None), "it was asked for");
        known.learn(ends(1), Some(HOP), begun);
        assert_eq!(known.find(ends(1), begun + REFRESH / 2), not_due(Some(HOP)));
        assert_eq!(known.find(ends(1), begun + REFRESH), due(Some(HOP)));
        assert_eq!(known.find(ends(1), begun + REFRESH), not_due(Some(HOP)));
        assert_eq!(known.find(ends(1), begun + LIFE), due(None), "the neighbour has not answered");
        known.learn(ends(1), None, begun + LIFE);
        assert_eq!(known.find(ends(1), begun + LIFE + RETRY), due(None));
    }

    #[test]
    fn of_a_stale_neighbour_the_kernel_gets_one_datagram_to_find_out() {
        let begun = Instant::now();
        let mut known = Known::new(begun);
        let stale = NextHop { is_stale: true, ..HOP };
        known.find(ends(1), begun);
        known.learn(ends(1), Some(stale), begun);
        assert_eq!(known.find(ends(1), begun), not_due(None));
        assert_eq!(known.find(ends(1), begun), not_due(Some(stale)));
    }

    #[test]
    fn there_is_an_end_to_it() {
        let begun = Instant::now();
        let mut known = Known::new(begun);
        for client in 0..ENTRIES_MAX {
            assert_eq!(known.find(ends(client), begun), due(None));
        }
        assert_eq!(known.find(ends(ENTRIES_MAX), begun), not_due(None));
        known.find(ends(7), begun + LIFE / 2);
        assert_eq!(known.find(ends(ENTRIES_MAX), begun + LIFE), due(None));
        assert_eq!(known.entries.len(), 2, "the client that is still sent to stays");
    }

    #[test]
    fn the_thread_answers() {
        struct Fixed;
        impl Routes for Fixed {
            fn next_hop(&mut self, _: IpAddr, to: IpAddr) -> Option<NextHop> {
                (to == ends(1).to).then_some(HOP)
            }
        }
        let hops = NextHopCache::new(NextHopResolver::begin(Fixed).unwrap());
        let Ends { from, to } = ends(1);
        assert_eq!(hops.find(from, to), None);
        let begun = Instant::now();
        while hops.find(from, to).is_none() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            thread::yield_now();
        }
        hops.forget();
        assert_eq!(hops.find(from, to), None);
    }
}
