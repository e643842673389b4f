//! Where one server is.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use tokio::sync::watch;

/// What is known of where a server is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::edge::upstream) struct Addresses {
    /// The last good answer's; empty before the first.
    pub(in crate::edge::upstream) all: Arc<[SocketAddr]>,
    /// Why the last question had no good answer.
    pub(in crate::edge::upstream) trouble: Option<Arc<str>>,
}

impl Addresses {
    /// Of a server that needs no resolver.
    pub(in crate::edge::upstream) fn fixed(address: SocketAddr) -> Self {
        Self { all: Arc::new([address]), trouble: None }
    }

    /// Whether there is an answer, good or not.
    pub(in crate::edge::upstream) fn are_known(&self) -> bool {
        !self.all.is_empty() || self.trouble.is_some()
    }
}

/// A server's addresses as `resolve` keeps them, and whose turn it is among them.
pub(in crate::edge::upstream) struct AddressBook {
    known: watch::Sender<Addresses>,
    /// Moves on with every new connection.
    next: AtomicUsize,
}

/// What an answer of the resolver changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge::upstream) enum Learnt {
    /// Nothing.
    Nothing,
    /// The addresses.
    Addresses,
    /// The last question had no good answer.
    Recovered,
}

impl AddressBook {
    pub(super) fn new(known: Addresses) -> Self {
        Self { known: watch::Sender::new(known), next: AtomicUsize::new(0) }
    }

    /// What is known now.
    pub(in crate::edge::upstream) fn now(&self) -> Addresses {
        self.known.borrow().clone()
    }

    /// What is known, as soon as there is an answer, good or not.
    pub(in crate::edge::upstream) async fn known(&self) -> Addresses {
        // Cannot fail: the sender is ours.
        match self.known.subscribe().wait_for(Addresses::are_known).await {
            Ok(known) => known.clone(),
            Err(_closed) => Addresses::default(),
        }
    }

    /// A number that is one higher with each call: which of the addresses is to be tried first, modulo their number.
    pub(in crate::edge::upstream) fn turn(&self) -> usize {
        self.next.fetch_add(1, Relaxed)
    }

    /// Takes in a good answer of the resolver.
    pub(in crate::edge::upstream) fn learn(&self, all: &[SocketAddr]) -> Learnt {
        let mut learnt = Learnt::Nothing;
        self.known.send_if_modified(|known| {
            learnt = match &known.trouble {
                Some(_) => Learnt::Recovered,
                None if *known.all != *all => Learnt::Addresses,
                None => return false,
            };
            *known = Addresses { all: all.into(), trouble: None };
            true
        });
        learnt
    }

    /// Takes in that there was no good answer, and why; the addresses stay. True if the last answer was good.
    pub(in crate::edge::upstream) fn fail(&self, why: &str) -> bool {
        let mut is_new = false;
        self.known.send_modify(|known| is_new = known.trouble.replace(why.into()).is_none());
        is_new
    }

    #[cfg(test)]
    pub(in crate::edge::upstream) fn subscribe(&self) -> watch::Receiver<Addresses> {
        self.known.subscribe()
    }

    #[cfg(test)]
    pub(in crate::edge::upstream) fn set(&self, known: Addresses) {
        self.known.send_replace(known);
    }
}
