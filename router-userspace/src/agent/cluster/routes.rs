//! The way to each other node: by which interface, between which link addresses, and how long a packet may be. Asked of the
//! kernel again and again, on a thread of its own, because ways change and neighbours are forgotten.
//!
//! XDP programs cannot wait until the kernel has found out a neighbour's link address. Hellos to each node leave by the
//! kernel's stack every second, and so it has it.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use router_common::identifiers::NodeId;
use tokio::sync::watch;

use crate::datapath::{Hop, Routes};

/// What is known of the way to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// By which an XDP program can send; none where the kernel's stack has to, or has not found the neighbour yet.
    pub(super) hop: Option<Hop>,
    /// The longest packet that the interface carries, from its IP header on.
    pub(super) mtu: Option<u32>,
}

/// The ways to all other nodes, by number.
pub(super) type Ways = BTreeMap<NodeId, Way>;

/// The addresses of the nodes to which ways are wanted.
pub(super) type Destinations = BTreeMap<NodeId, IpAddr>;

/// Whoever looks for ways. Dropping it ends it.
pub(super) struct RouteWatch {
    wanted: mpsc::Sender<Destinations>,
    found: watch::Receiver<Ways>,
}

impl RouteWatch {
    /// Looks once, and then again and again on a thread of its own, for ways from this node's address `own`.
    ///
    /// # Errors
    /// If the kernel does not answer such questions, or the system gives no thread.
    pub(super) fn start(own: IpAddr, first: Destinations) -> io::Result<Self> {
        let mut routes = Routes::open()?;
        let ways = look(&mut routes, own, &first);
        let mut pause = Pause::new(Instant::now());
        pause.looked(&ways);
        let (sender, found) = watch::channel(ways);
        let (wanted, changed) = mpsc::channel();
        let run = move || {
            let mut destinations = first;
            loop {
                match changed.recv_timeout(pause.length(Instant::now())) {
                    Ok(wanted) => (destinations, pause) = (wanted, Pause::new(Instant::now())),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                let ways = look(&mut routes, own, &destinations);
                pause.looked(&ways);
                sender.send_if_modified(|known| {
                    let is_new = *known != ways;
                    *known = ways;
                    is_new
                });
            }
        };
        thread::Builder::new().name("node routes".to_owned()).spawn(run)?;
        Ok(Self { wanted, found })
    }

    /// What was found last.
    pub(super) fn ways(&self) -> watch::Ref<'_, Ways> {
        self.found.borrow()
    }

    /// Tells each change.
    pub(super) fn watch(&self) -> watch::Receiver<Ways> {
        self.found.clone()
    }

    /// Looks at once, for ways to these from now on.
    pub(super) fn want(&self, destinations: Destinations) {
        // Its thread ends with this.
        let _ = self.wanted.send(destinations);
    }
}

/// The pause between two looks. The first hello to a node has the kernel find out its link address, which takes no second.
#[derive(Clone, Copy, Debug)]
struct Pause {
    /// Since when ways to these nodes are wanted.
    since: Instant,
    are_all_found: bool,
}

impl Pause {
    fn new(now: Instant) -> Self {
        Self { since: now, are_all_found: false }
    }

    fn looked(&mut self, ways: &Ways) {
        self.are_all_found = ways.values().all(|way| way.hop.is_some());
    }

    fn length(self, now: Instant) -> Duration {
        let is_early = now.saturating_duration_since(self.since) < EARLY;
        if is_early && !self.are_all_found { BETWEEN_EARLY_LOOKS } else { BETWEEN_LOOKS }
    }
}

fn look(routes: &mut Routes, own: IpAddr, destinations: &Destinations) -> Ways {
    let way = |(&node, &to): (&NodeId, &IpAddr)| {
        // A neighbour that is stale is one that the next hello has the kernel look for.
        (node, Way { hop: routes.hop(own, to), mtu: routes.mtu(own, to) })
    };
    destinations.iter().map(way).collect()
}

/// Beside what the kernel announces: it may be lost.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// While a way to a node that is new has not been found.
const BETWEEN_EARLY_LOOKS: Duration = Duration::from_millis(50);
/// How long a node is new.
const EARLY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_to_a_new_node_is_looked_for_more_often() {
        let now = Instant::now();
        let hop = Hop {
            interface: router_common::identifiers::IfIndex::new(3),
            own: [1; 6],
            neighbour: [2; 6],
            mtu: 1_500,
            is_stale: false,
        };
        let [found, missing] = [Some(hop), None].map(|hop| Ways::from([(NodeId::new(2), Way { hop, mtu: None })]));
        let mut pause = Pause::new(now);
        pause.looked(&missing);
        assert_eq!(pause.length(now + EARLY - Duration::from_nanos(1)), BETWEEN_EARLY_LOOKS);
        assert_eq!(pause.length(now + EARLY), BETWEEN_LOOKS, "it may be dead");
        pause.looked(&found);
        assert_eq!(pause.length(now), BETWEEN_LOOKS);
    }

    #[test]
    fn what_is_wanted_is_looked_for_and_the_loopback_is_no_way() {
        let own = IpAddr::from([127, 0, 0, 1]);
        let watch = RouteWatch::start(own, BTreeMap::from([(NodeId::new(2), IpAddr::from([127, 0, 0, 2]))])).unwrap();
        assert_eq!(watch.ways()[&NodeId::new(2)], Way::default());
        watch.want(BTreeMap::new());
        let (mut changes, runtime) =
            (watch.watch(), tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap());
        let changed = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), changes.changed()).await });
        changed.unwrap().unwrap();
        assert!(watch.ways().is_empty());
    }
}
