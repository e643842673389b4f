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
    time::Duration,
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
        let (sender, found) = watch::channel(look(&mut routes, own, &first));
        let (wanted, changed) = mpsc::channel();
        let run = move || {
            let mut destinations = first;
            loop {
                match changed.recv_timeout(BETWEEN_LOOKS) {
                    Ok(wanted) => destinations = wanted,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                let ways = look(&mut routes, own, &destinations);
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

fn look(routes: &mut Routes, own: IpAddr, destinations: &Destinations) -> Ways {
    let way = |(&node, &to): (&NodeId, &IpAddr)| {
        // A neighbour that is stale is one that the next hello has the kernel look for.
        (node, Way { hop: routes.hop(own, to), mtu: routes.mtu(own, to) })
    };
    destinations.iter().map(way).collect()
}

/// Beside what the kernel announces: it may be lost.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

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
